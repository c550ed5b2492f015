// SPDX-License-Identifier: Apache-2.0
#include "agent/certificates.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <utility>

#include "agent/admin/certs_view.h"
#include "agent/ca/remembered.h"
#include "agent/metric_family.h"

namespace underpass {
namespace asio = boost::asio;

using std::chrono::milliseconds;

namespace {

constexpr milliseconds kLongestLook(2000);
constexpr milliseconds kShortestLook(100);

double seconds_left(ca::WallTime end, ca::WallTime now) { return std::chrono::duration<double>(end - now).count(); }

}  // namespace

struct Certificates::State : std::enable_shared_from_this<State> {
  State(asio::io_context& io, Options options, std::function<void()> told)
      : look(std::clamp(std::chrono::duration_cast<milliseconds>(options.keeper.svid_life) / 20, kShortestLook,
                        kLongestLook)),
        keeper(with_wake(std::move(options.keeper))),
        remembered(std::move(options.remembered)),
        changed(std::move(told)),
        timer(io) {}

  ca::KeeperOptions with_wake(ca::KeeperOptions options) {
    options.wake = [this] {
      if (!closed) schedule(milliseconds(0));
    };
    return options;
  }

  void schedule(milliseconds pause);
  void step();
  void log_problems();
  void remember();

  milliseconds look;  // often enough for the shortest lives
  ca::Keeper keeper;
  std::string remembered;
  std::function<void()> changed;
  asio::steady_timer timer;
  std::set<std::string> wanted;
  std::vector<ca::Problem> logged;
  bool untold = false;  // there is something that `changed` was not called for
  bool closed = false;
};

void Certificates::State::schedule(milliseconds pause) {
  timer.expires_after(pause);
  timer.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    const auto state = weak.lock();
    if (!error && state && !state->closed) state->step();
  });
}

void Certificates::State::step() {
  const auto step = keeper.step();
  for (const auto& news : step.news) spdlog::info("{}", news);
  log_problems();
  untold = untold || step.changed;
  if (!wanted.empty()) schedule(step.more ? milliseconds(0) : look);
  // Hundreds that are renewed together go to the workers together.
  if (step.more || !std::exchange(untold, false)) return;
  remember();
  if (changed) changed();
}

void Certificates::State::remember() {
  if (remembered.empty()) return;
  const auto done = ca::save_remembered(remembered, keeper.trust_bundle(), keeper.certificates());
  if (!done) spdlog::warn("save-failed {}", done.error().message);
}

void Certificates::State::log_problems() {
  auto problems = keeper.problems();
  for (const auto& problem : problems)
    if (std::ranges::find(logged, problem) == logged.end())
      spdlog::log(problem.urgent ? spdlog::level::err : spdlog::level::warn, "certificate-problem reason=\"{}\"",
                  problem.text);
  logged = std::move(problems);
}

std::set<std::string> wanted_certificates(const std::map<std::string, compile::WorkerPlan>& plans) {
  std::set<std::string> out;
  for (const auto& [name, plan] : plans)
    for (const auto& [netns, pod] : plan.pods)
      if (pod.tunnels) out.insert(pod.identity);
  return out;
}

Certificates::Certificates(asio::io_context& io, Options options, std::function<void()> changed)
    : state_(std::make_shared<State>(io, std::move(options), std::move(changed))) {}

Certificates::~Certificates() {
  state_->closed = true;
  state_->timer.cancel();
}

void Certificates::set_wanted(const std::set<std::string>& identities) {
  if (identities == state_->wanted) return;
  state_->wanted = identities;
  state_->keeper.set_wanted(identities);
  state_->schedule(milliseconds(0));
}

void Certificates::fill(compile::WorkerPlan& plan) const {
  const auto& all = state_->keeper.certificates();
  for (const auto& [netns, pod] : plan.pods) {
    if (!pod.tunnels) continue;
    plan.trust_bundle = state_->keeper.trust_bundle();
    if (const auto found = all.find(pod.identity); found != all.end()) plan.certificates.insert(*found);
  }
}

std::vector<std::string> Certificates::problems() const {
  std::vector<std::string> out;
  for (const auto& problem : state_->keeper.problems()) out.push_back(problem.text);
  return out;
}

admin::Answer Certificates::view(const boost::json::object& request) const {
  const auto* pem = request.if_contains("pem");
  return admin::certs_view(state_->keeper.rows(), state_->keeper.now(),
                           pem != nullptr && pem->is_bool() && pem->get_bool());
}

admin::Answer Certificates::rotate_root() {
  if (const auto done = state_->keeper.rotate_root(); !done)
    return admin::refuse(admin::ErrorCode::kFailed, done.error().message);
  spdlog::info("root-rotation-begun");
  if (!state_->wanted.empty()) state_->schedule(milliseconds(0));
  return boost::json::object{};
}

std::vector<prometheus::MetricFamily> Certificates::collect() const {
  prometheus::MetricFamily expiry{.name = "underpass_certificate_expiry_seconds",
                                  .help = "How long a certificate is still valid; below 0: how long it is not.",
                                  .type = prometheus::MetricType::Gauge};
  const auto now = state_->keeper.now();
  for (const auto& row : state_->keeper.rows())
    if (row.details)
      expiry.metric.push_back(gauge_metric({{"identity", row.identity.empty() ? row.details->subject : row.identity},
                                            {"kind", std::string(admin::to_text(row.kind))}},
                                           seconds_left(row.details->not_after, now)));
  const auto counts = state_->keeper.counts();
  return {std::move(expiry),
          {.name = "underpass_certificate_renewals_total",
           .help = "Certificates that were to be made, the first of a pod among them, by what came of it.",
           .type = prometheus::MetricType::Counter,
           .metric = {counter_metric({{"result", "success"}}, counts.succeeded),
                      counter_metric({{"result", "failure"}}, counts.failed)}}};
}

}  // namespace underpass
