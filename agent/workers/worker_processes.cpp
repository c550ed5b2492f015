// SPDX-License-Identifier: Apache-2.0
// Who is there: workers that are found, started, replaced and let go.
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "agent/workers/workers_impl.h"

namespace underpass::workers {
namespace {

// After it was to be gone.
constexpr auto kDrainGrace = std::chrono::seconds(5);

}  // namespace

void Workers::Impl::adopt_running() {
  if (std::exchange(adopted_, true)) return;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(socket_folder(), none)) {
    if (entry.path().extension() != ".sock") continue;
    auto running = find_running(entry.path());
    if (!running) {
      std::filesystem::remove(entry.path(), none);
      continue;
    }
    if (auto done = prepare(); !done) {
      spdlog::error("workers-not-adopted {}", done.error().message);
      return;
    }
    auto& seat = seat_of(entry.path().stem());
    spdlog::info("worker-adopted worker={} pid={}", seat.plan.name, running->pid);
    sit_down(seat, std::move(*running), true);
    seat.current->send(worker::Logs{}, own_logs());
  }
}

std::vector<UniqueFd> Workers::Impl::own_logs() {
  std::vector<UniqueFd> out;
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO})
    if (UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); copy) out.push_back(std::move(copy));
  return out;
}

void Workers::Impl::sit_down(Seat& seat, Launched launched, bool adopted) {
  seat.greeted = seat.ready = seat.follows = false;
  seat.seated = Clock::now();
  for (auto& [netns, served] : seat.pods) served.told = false;
  seat.current = start_worker(seat, std::move(launched), adopted);
}

Result<Launched> Workers::Impl::launch_for(Seat& seat) {
  if (auto done = prepare(); !done) return std::unexpected(done.error());
  auto place = cgroups_->add_worker(seat.plan.name);
  if (!place) return std::unexpected(place.error());
  if (!place->unlimited.empty() && !std::exchange(told_unlimited_, true))
    spdlog::warn("workers-unlimited resources=\"{}\" reason=\"no such cgroup controller here\"", place->unlimited);
  seat.cgroup = place->cgroup;
  return launch({.binary = options_.binary,
                 .socket_path = socket_path(seat.plan.name),
                 .cgroup_procs = place->procs,
                 .log_level = options_.log_level});
}

void Workers::Impl::fill(Seat& seat) {
  const bool outdated = seat.current && seat.greeted && seat.current->hello().version != UNDERPASS_VERSION;
  if (seat.retry_at || seat.successor || (seat.current && !outdated)) return;
  auto launched = launch_for(seat);
  if (!launched) return put_off(seat, launched.error().message);
  spdlog::info("worker-started worker={} pid={}{}", seat.plan.name, launched->pid, outdated ? " successor=true" : "");
  if (outdated)
    seat.successor = start_worker(seat, std::move(*launched), false);
  else
    sit_down(seat, std::move(*launched), false);
}

void Workers::Impl::put_off(Seat& seat, const std::string& problem) {
  if (problem != seat.problem) spdlog::error("worker-failed worker={} {}", seat.plan.name, problem);
  seat.problem = problem;
  seat.retry_at = Clock::now() + seat.back_off;
  seat.back_off = std::min<std::chrono::seconds>(2 * seat.back_off, kLongestBackOff);
}

Workers::Impl::Seats::iterator Workers::Impl::retire(Seats::iterator at) {
  Seat& seat = at->second;
  for (auto& [netns, served] : seat.pods) served.take_out_of_force(maps());
  spdlog::info("worker-retired worker={}", seat.plan.name);
  for (auto* worker : {&seat.current, &seat.successor})
    if (*worker) drain(seat, std::move(*worker));
  return seats_.erase(at);
}

// Of connections that it has now, and somewhat later.
Clock::time_point Workers::Impl::end_of_drain(const Seat& seat) {
  return Clock::now() + seat.plan.settings.drain_timeout + kDrainGrace;
}

void Workers::Impl::drain(const Seat& seat, std::unique_ptr<Worker> worker) {
  worker->send(worker::Drain{});
  auto& leaving = draining_.emplace_back();
  leaving.name = seat.plan.name;
  leaving.worker = std::move(worker);
  leaving.deadline = end_of_drain(seat);
  for (const auto& [netns, served] : seat.pods) leaving.pods.insert(netns);
  for (const auto& [netns, until] : seat.left) leaving.pods.insert(netns);
}

std::unique_ptr<Worker> Workers::Impl::start_worker(const Seat& seat, Launched launched, bool adopted) {
  const auto id = ++last_worker_;
  const auto bind = [weak = weak_from_this(), id, name = seat.plan.name](auto member) {
    return [weak, id, name, member](auto&&... arguments) {
      const auto self = weak.lock();
      if (!self) return;
      const auto seat = self->seats_.find(name);
      if (seat == self->seats_.end()) return;
      auto& successor = seat->second.successor;
      const bool is_successor = successor && successor->id() == id;
      const auto& worker = is_successor ? successor : seat->second.current;
      if (!worker || worker->id() != id) return;
      ((*self).*member)(seat->second, is_successor, std::forward<decltype(arguments)>(arguments)...);
    };
  };
  const auto lost = bind(&Impl::on_lost);
  const auto want = bind(&Impl::on_want);
  return std::make_unique<Worker>(io_, id, std::move(launched), adopted,
                                  Worker::Events{
                                      .hello = bind(&Impl::on_hello),
                                      .listeners = bind(&Impl::on_listeners),
                                      .ready = bind(&Impl::on_ready),
                                      .configured = bind(&Impl::on_configured),
                                      .want =
                                          [weak = weak_from_this(), id, want](const worker::Want& message) {
                                            const auto self = weak.lock();
                                            if (self && !self->on_leaving_want(id, message)) want(message);
                                          },
                                      .metrics =
                                          [weak = weak_from_this(), name = seat.plan.name](const auto& message) {
                                            const auto self = weak.lock();
                                            if (self && self->options_.on_metrics)
                                              self->options_.on_metrics(name, message);
                                          },
                                      .requests =
                                          [weak = weak_from_this(), name = seat.plan.name](worker::Requests message) {
                                            const auto self = weak.lock();
                                            if (self && self->options_.on_requests)
                                              self->options_.on_requests(name, std::move(message));
                                          },
                                      .lost =
                                          [weak = weak_from_this(), id, lost](const std::string& why, bool ended) {
                                            const auto self = weak.lock();
                                            if (self && !self->forget_leaving(id, why, ended)) lost(why, ended);
                                          },
                                  });
}

bool Workers::Impl::forget_leaving(std::uint64_t id, const std::string& why, bool ended) {
  const auto at = std::ranges::find(draining_, id, [](const Leaving& leaving) { return leaving.worker->id(); });
  if (at == draining_.end()) return false;
  if (!ended) return true;
  spdlog::info("worker-gone worker={} pid={} reason=\"{}\"", at->name, at->worker->pid(), why);
  const std::string name = at->name;
  draining_.erase(at);
  if (!seats_.contains(name)) {
    std::error_code none;
    std::filesystem::remove(socket_path(name), none);
    if (cgroups_) cgroups_->remove_worker(name);
  }
  if (seats_.empty() && draining_.empty()) {
    maker_.reset();
    if (cgroups_) cgroups_->remove_all();
  }
  return true;
}

}  // namespace underpass::workers
