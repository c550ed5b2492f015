// SPDX-License-Identifier: Apache-2.0
#include "agent/detaching.h"

#include <spdlog/spdlog.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <utility>

#include "agent/admin/views.h"
#include "agent/admin/wall_clock.h"

namespace underpass {
namespace {

constexpr std::chrono::seconds kLabelTimeout(30);

std::string name_of(const admin::Scope& scope) { return scope.ns ? "namespace " + *scope.ns : "node"; }

}  // namespace

Detaching::Detaching(boost::asio::io_context& io, std::string state_dir, Hooks hooks)
    : io_(io), state_dir_(std::move(state_dir)), hooks_(std::move(hooks)), self_(std::make_shared<Detaching*>(this)) {}

Detaching::~Detaching() {
  *self_ = nullptr;
  if (thread_.joinable()) thread_.join();
}

Result<void> Detaching::load() {
  auto marker = admin::load_detached_marker(state_dir_);
  if (!marker) return std::unexpected(marker.error());
  marker_ = std::move(*marker);
  return {};
}

Result<void> Detaching::save(admin::DetachedMarker marker) {
  if (marker.is_empty())
    marker.since.clear();
  else if (marker.since.empty())
    marker.since = admin::to_rfc3339(std::chrono::system_clock::now());
  if (auto done = admin::save_detached_marker(state_dir_, marker); !done) return done;
  marker_ = std::move(marker);
  return {};
}

void Detaching::detach(const boost::json::object& request, std::string pin_dir, admin::Reply reply) {
  const auto scope = admin::decode_scope(request);
  if (!scope) return reply(std::unexpected(scope.error()));
  if (thread_.joinable())
    return reply(admin::refuse(admin::ErrorCode::kFailed, "a detach of this node is under way already"));
  auto marker = marker_;
  if (scope->ns) {
    if (!hooks_.knows_namespace(*scope->ns))
      return reply(admin::refuse(admin::ErrorCode::kNotFound, "Namespace " + *scope->ns + ": not found"));
    marker.namespaces.insert(*scope->ns);
  } else {
    marker.node = true;
  }
  if (auto saved = save(std::move(marker)); !saved)
    return reply(admin::refuse(admin::ErrorCode::kFailed, saved.error().message));
  spdlog::info("detach scope={}", name_of(*scope));
  if (scope->ns) {
    hooks_.recompile();
    return reply(admin::detach_view({}));
  }
  start(std::move(pin_dir), scope->timeout, [reply = std::move(reply)](const auto& result) {
    if (!result) return reply(admin::refuse(admin::ErrorCode::kFailed, result.error().message));
    reply(admin::detach_view(*result));
  });
}

void Detaching::attach(const boost::json::object& request, const admin::Reply& reply) {
  const auto scope = admin::decode_scope(request);
  if (!scope) return reply(std::unexpected(scope.error()));
  const auto refuse = [&](std::string why) { reply(admin::refuse(admin::ErrorCode::kFailed, std::move(why))); };
  if (thread_.joinable()) return refuse("a detach of this node is under way");
  auto marker = marker_;
  if (scope->ns)
    marker.namespaces.erase(*scope->ns);
  else
    marker.node = false;
  const bool label_forbids = !scope->ns && marker.node_label;
  if (!scope->ns && !label_forbids && !hooks_.attached()) {
    if (auto done = hooks_.attach(); !done) return refuse(done.error().message);
  }
  if (auto saved = save(std::move(marker)); !saved) return refuse(saved.error().message);
  if (label_forbids) return refuse("the label underpass.dev/mesh: disabled of the Node keeps it detached");
  spdlog::info("attach scope={}", name_of(*scope));
  hooks_.recompile();
  reply(boost::json::object{});
}

void Detaching::follow_label(bool detached, std::string pin_dir) {
  if (thread_.joinable()) {
    label_due_ = detached;
    label_pins_ = std::move(pin_dir);
    return;
  }
  if (detached == marker_.node_label) return;
  auto marker = marker_;
  marker.node_label = detached;
  const bool was_detached = marker_.detached();
  if (auto saved = save(std::move(marker)); !saved) spdlog::error("save-failed {}", saved.error().message);
  marker_.node_label = detached;  // the label counts even where it cannot be remembered
  spdlog::info("{} scope=node reason=\"label underpass.dev/mesh of the Node\"", detached ? "detach" : "attach");
  if (detached && !was_detached) {
    start(std::move(pin_dir), kLabelTimeout, [](const auto& result) {
      if (!result) spdlog::error("detach-failed {}", result.error().message);
    });
  } else if (!marker_.detached() && !hooks_.attached()) {
    if (auto done = hooks_.attach(); !done) spdlog::error("attach-failed {}", done.error().message);
    hooks_.recompile();
  }
}

void Detaching::remove(std::string pin_dir, std::chrono::milliseconds timeout, std::function<void()> done) {
  if (thread_.joinable()) return done();  // it is being taken away already
  if (auto saved = save({}); !saved) spdlog::error("save-failed {}", saved.error().message);
  start(std::move(pin_dir), timeout, [done = std::move(done)](const auto& result) {
    if (!result) spdlog::error("detach-failed {}", result.error().message);
    done();
  });
}

void Detaching::start(std::string pin_dir, std::chrono::milliseconds timeout, Done done) {
  hooks_.let_go();  // what is pinned is all the detach needs
  hooks_.recompile();
  thread_ =
      std::thread([self = self_, &io = io_, pins = std::move(pin_dir), timeout, done = std::move(done)]() mutable {
        auto result = dataplane::detach_node(pins, timeout,
                                             [](std::string_view progress) { spdlog::info("detaching {}", progress); });
        boost::asio::post(io, [self, result = std::move(result), done = std::move(done)]() mutable {
          if (*self != nullptr) (*self)->finish(std::move(result), done);
        });
      });
}

void Detaching::finish(Result<dataplane::DetachResult> result, const Done& done) {
  thread_.join();
  if (result) spdlog::info("detached pins={} cut={}", result->removed.size(), result->cut.size());
  const auto self = self_;
  done(std::move(result));
  if (*self == nullptr) return;  // the agent ends with it
  if (const auto label = std::exchange(label_due_, std::nullopt)) follow_label(*label, std::exchange(label_pins_, ""));
}

}  // namespace underpass
