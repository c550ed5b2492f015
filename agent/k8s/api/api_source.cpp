// SPDX-License-Identifier: Apache-2.0
// Brings the reflectors of all kinds together, and decides when what they have is told.
#include "agent/k8s/api/api_source.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <set>
#include <utility>

#include "agent/k8s/api/api_kind.h"
#include "agent/k8s/api/channel.h"
#include "agent/k8s/api/contents_book.h"
#include "agent/k8s/api/reflector.h"

namespace underpass::k8s {
namespace asio = boost::asio;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

namespace {

constexpr milliseconds kCheck(500);                // how often is asked who is stale
constexpr std::chrono::minutes kVersionAgain(60);  // the server may be upgraded under us
constexpr std::chrono::seconds kVersionRetry(5);

// Handlers hold it alive; stop() makes them end.
class Mirror : public std::enable_shared_from_this<Mirror> {
 public:
  Mirror(asio::io_context& io, ApiClient& client, ApiSourceOptions options, Source::Listener listener)
      : client_(client),
        options_(std::move(options)),
        listener_(std::move(listener)),
        settle_timer_(io),
        check_timer_(io),
        version_timer_(io) {
    definitions_ = add(io, definitions_kind());
    for (const auto& kind : told_kinds()) add(io, kind);
    if (options_.daemon_set) daemon_set_ = add(io, daemon_set_kind(*options_.daemon_set));
  }

  void start() {
    for (const auto& reflector : reflectors_) reflector->start();
    ask_version();
    wait_for_check();
  }

  void stop() {
    stopped_ = true;
    for (const auto& reflector : reflectors_) reflector->stop();
    settle_timer_.cancel();
    check_timer_.cancel();
    version_timer_.cancel();
  }

  [[nodiscard]] std::vector<KindState> kinds() const {
    std::vector<KindState> states;
    for (const auto& reflector : reflectors_) states.push_back(reflector->state());
    return states;
  }

  [[nodiscard]] bool synced() const {
    return std::ranges::all_of(reflectors_, [](const auto& r) { return !r->kind().told || r->synced(); });
  }

  [[nodiscard]] bool daemon_set_removed() const { return daemon_set_removed_; }

 private:
  Reflector* add(asio::io_context& io, const ApiKind& kind) {
    Reflector::Hooks hooks;
    hooks.state_changed = [this] { note_state(); };
    hooks.defined = [this, name = kind.crd] { return defined(name); };
    if (kind.told) {
      if (!kind.crd.empty()) custom_.insert(kind.crd);
      hooks.decode = [kind](Received&& received) { return decode_received(kind, std::move(received)); };
      hooks.changed = [this](const std::string& path, const std::shared_ptr<const File>& file) {
        book_.change(path, file);
        settle();
      };
    } else {
      // Only that they are there counts, and of the definitions only ours.
      hooks.decode = [this, kind](Received&& received) -> std::shared_ptr<const File> {
        if (kind.metadata_only && !custom_.contains(received.name)) return nullptr;
        const auto path = api_path(kind, kind.versions.front(), received.ns, received.name);
        // Never the same twice, so that each event is news: a definition is served only some time after it is there.
        return std::make_shared<const File>(File{path, {}, {{path, received.resource_version}}});
      };
      hooks.changed = [this](const std::string& /*path*/, const std::shared_ptr<const File>& /*file*/) {
        note_state();
        wake_custom();
      };
    }
    reflectors_.push_back(
        std::make_shared<Reflector>(io, client_.open_channel(), kind, options_.tuning, std::move(hooks)));
    return reflectors_.back().get();
  }

  Defined defined(const std::string& name) const {
    if (definitions_->forbidden()) return Defined::kMayNotAsk;
    if (!definitions_->synced()) return Defined::kUnknown;
    return definitions_->replica().find({"", name}) != nullptr ? Defined::kYes : Defined::kNo;
  }

  // Those that wait for their definition.
  void wake_custom() {
    for (const auto& reflector : reflectors_) {
      if (!reflector->kind().crd.empty() && (reflector->absent() || !reflector->synced())) reflector->wake();
    }
  }

  void note_state() {
    if (daemon_set_ != nullptr) note_daemon_set();
    const bool asked = definitions_->synced() || definitions_->forbidden();
    if (asked != std::exchange(asked_definitions_, asked) && asked) wake_custom();
    if (!told_ && synced()) settle();
  }

  void note_daemon_set() {
    const auto* entry = daemon_set_->replica().find(*options_.daemon_set);
    daemon_set_seen_ |= entry != nullptr;
    daemon_set_removed_ = daemon_set_seen_ && daemon_set_->synced() && (entry == nullptr || entry->deleting);
  }

  void settle() {
    if (stopped_) return;
    const auto now = Clock::now();
    if (!settling_) burst_started_ = now;
    settling_ = true;
    settle_timer_.expires_at(std::min(now + options_.tuning.settle, burst_started_ + options_.tuning.settle_most));
    settle_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (error || self->stopped_) return;
      self->settling_ = false;
      self->tell();
    });
  }

  // Not before all is there: what is missing from the first contents would be taken for not existing.
  void tell() {
    if (!told_ && !synced()) return;
    told_ = true;
    book_.settle();
    auto lost = loss();
    told_lost_ = lost ? lost->cause : "";
    book_.set_lost(std::move(lost));
    listener_(book_.contents());
  }

  // The first kind that has been stale for too long.
  [[nodiscard]] std::optional<Unreadable> loss() const {
    const auto now = Clock::now();
    for (const auto& reflector : reflectors_) {
      const auto since = reflector->stale_since();
      if (!reflector->kind().told || !since || now - *since < options_.tuning.stale_after) continue;
      const auto& problem = reflector->problem();
      return Unreadable{client_.server(), reflector->kind().kind + ": " + (problem.empty() ? "not watched" : problem)};
    }
    return std::nullopt;
  }

  void wait_for_check() {
    check_timer_.expires_after(std::min(kCheck, options_.tuning.stale_after));
    check_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (error || self->stopped_) return;
      const auto lost = self->loss();
      if (self->told_ && !self->settling_ && (lost ? lost->cause : "") != self->told_lost_) self->tell();
      if (!self->stopped_) self->wait_for_check();
    });
  }

  // The client notes it.
  void ask_version() {
    client_.request("GET", "/version", nullptr, [weak = weak_from_this()](const Result<ApiAnswer>& answer) {
      const auto self = weak.lock();
      if (!self || self->stopped_) return;
      const bool good = answer && answer->status == 200;
      self->version_timer_.expires_after(good ? Clock::duration(kVersionAgain) : Clock::duration(kVersionRetry));
      self->version_timer_.async_wait([weak](const boost::system::error_code& error) {
        const auto again = weak.lock();
        if (!error && again && !again->stopped_) again->ask_version();
      });
    });
  }

  ApiClient& client_;
  ApiSourceOptions options_;
  Source::Listener listener_;
  std::vector<std::shared_ptr<Reflector>> reflectors_;
  std::set<std::string> custom_;  // names of the definitions of our kinds
  Reflector* definitions_ = nullptr;
  Reflector* daemon_set_ = nullptr;
  bool daemon_set_seen_ = false;
  bool daemon_set_removed_ = false;
  bool asked_definitions_ = false;

  asio::steady_timer settle_timer_;
  asio::steady_timer check_timer_;
  asio::steady_timer version_timer_;
  bool stopped_ = false;
  bool settling_ = false;
  bool told_ = false;
  Clock::time_point burst_started_;
  std::string told_lost_;  // its cause; empty: not lost
  ContentsBook book_;
};

class KubernetesSource : public ApiSource {
 public:
  explicit KubernetesSource(std::shared_ptr<Mirror> mirror) : mirror_(std::move(mirror)) {}
  ~KubernetesSource() override { mirror_->stop(); }
  KubernetesSource(const KubernetesSource&) = delete;
  KubernetesSource& operator=(const KubernetesSource&) = delete;

  void start() override { mirror_->start(); }
  [[nodiscard]] std::vector<KindState> kinds() const override { return mirror_->kinds(); }
  [[nodiscard]] bool synced() const override { return mirror_->synced(); }
  [[nodiscard]] bool daemon_set_removed() const override { return mirror_->daemon_set_removed(); }

 private:
  std::shared_ptr<Mirror> mirror_;
};

}  // namespace

std::unique_ptr<ApiSource> ApiSource::make(asio::io_context& io, ApiClient& client, ApiSourceOptions options,
                                           Listener listener) {
  return std::make_unique<KubernetesSource>(
      std::make_shared<Mirror>(io, client, std::move(options), std::move(listener)));
}

}  // namespace underpass::k8s
