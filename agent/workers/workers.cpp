// SPDX-License-Identifier: Apache-2.0
#include "agent/workers/workers.h"

#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "agent/workers/presence.h"
#include "agent/workers/workers_impl.h"

namespace underpass::workers {
namespace {

// More connections than are made until the next agent is there.
constexpr std::int32_t kSuccessorDials = 1 << 20;

// Our copies of everybody's listeners are many.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

void Workers::Impl::update(const std::map<std::string, compile::WorkerPlan>& plans,
                           const std::map<NetnsCookie, std::string>& netns_paths, dataplane::Dataplane* dataplane) {
  if (dataplane == nullptr) return leave_all();
  dataplane_ = dataplane;
  netns_paths_ = netns_paths;
  adopt_running();
  for (auto seat = seats_.begin(); seat != seats_.end();)
    seat = plans.contains(seat->first) ? std::next(seat) : retire(seat);
  for (const auto& [name, plan] : plans) settle(seat_of(name), plan);
  remove_strange_rows();
  // Not only at the next tick: until then a pod's connections would pass by a worker that has no dial socket left.
  beat();
}

void Workers::Impl::tick() {
  if (dataplane_ == nullptr) return;
  beat();
  const auto now = Clock::now();
  // What an agent that was held up itself has not heard may be there to be read.
  const bool listened = now - std::exchange(last_tick_, now) < kSilence / 2;
  for (auto& [name, seat] : seats_) {
    seat.dials_made = 0;
    std::erase_if(seat.left, [&](const auto& entry) { return now >= entry.second; });
    if (seat.retry_at && now >= *seat.retry_at) {
      seat.retry_at.reset();
      fill(seat);
    }
    // It reports every second: one that says nothing is none.
    if (listened && seat.current && now - seat.current->last_heard() > kSilence) {
      spdlog::error("worker-silent worker={} pid={}", seat.plan.name, seat.current->pid());
      seat.current->kill();
    }
    // It has been well for as long as crashes count.
    if (seat.ready && !seat.retry_at && now - seat.seated > kCrashWindow) seat.back_off = kFirstBackOff;
    refresh(seat, false);
    update_dials(seat);
    tell_who_follows(seat);
  }
  for (auto& leaving : draining_) {
    leaving.dials_made = 0;
    if (now >= leaving.deadline) leaving.worker->kill();
  }
}

void Workers::Impl::follow_requests() {
  followed_until_ = Clock::now() + kFollowed;
  for (auto& [name, seat] : seats_) tell_who_follows(seat);
}

void Workers::Impl::expect_successor() {
  for (auto& [name, seat] : seats_)
    for (const auto& [netns, served] : seat.pods) served.update_dials(maps(), seat.number, kSuccessorDials);
}

void Workers::Impl::leave_all() {
  while (!seats_.empty()) retire(seats_.begin());
  maker_.reset();
  presence_.reset();
  dataplane_ = nullptr;
}

std::vector<Status> Workers::Impl::status() const {
  std::vector<Status> out;
  for (const auto& [name, seat] : seats_) {
    auto& status = out.emplace_back();
    status.name = name;
    status.state = seat.current == nullptr ? Status::State::kBackingOff
                   : seat.ready            ? Status::State::kReady
                                           : Status::State::kStarting;
    status.restarts = seat.restarts;
    status.cgroup = seat.cgroup;
    status.problem = problem_of(seat);
    status.table = compile::table_of(seat.plan, seat.revision);
    for (const auto& [netns, served] : seat.pods)
      for (const auto& [listener, held] : served.listeners())
        status.listeners[netns].push_back({.listener = listener, .port = held.port});
    if (!seat.current) continue;
    status.pid = seat.current->pid();
    status.version = seat.current->hello().version;
    status.since = seat.current->since();
    status.report = seat.current->report();
  }
  return out;
}

std::set<NetnsCookie> Workers::Impl::tunnelling() const {
  std::set<NetnsCookie> out;
  for (const auto& [name, seat] : seats_) {
    if (!seat.ready || !seat.current) continue;
    for (const auto& [netns, served] : seat.pods) {
      const auto pod = seat.plan.pods.find(netns);
      if (served.in_force() && pod != seat.plan.pods.end() && pod->second.tunnels &&
          seat.plan.certificates.contains(pod->second.identity))
        out.insert(netns);
    }
  }
  return out;
}

std::vector<std::string> Workers::Impl::problems() const {
  std::vector<std::string> out;
  for (const auto& [name, seat] : seats_) {
    if (const auto problem = problem_of(seat); !problem.empty()) out.push_back("worker " + name + ": " + problem);
    if (seat.current && seat.current->report().paused)
      out.push_back("worker " + name + ": it has too many descriptors open, and accepts nobody until some are closed");
  }
  if (!seats_.empty() && dataplane_ != nullptr && dataplane_->records_nearly_full())
    out.emplace_back("up_conns is nearly full: new connections go without a worker");
  return out;
}

std::string Workers::Impl::problem_of(const Seat& seat) {
  if (!seat.problem.empty()) return seat.problem;
  for (const auto& [netns, served] : seat.pods)
    if (!served.problem.empty()) return served.problem;
  return "";
}

std::string Workers::Impl::socket_path(const std::string& name) const { return socket_folder() + "/" + name + ".sock"; }

// --- what all of them need ---

void Workers::Impl::beat() {
  if (auto done = maps().beat(dataplane_->records_nearly_full()); !done)
    spdlog::error("heartbeat-failed {}", done.error().message);
}

Result<void> Workers::Impl::prepare() {
  if (maker_) return {};
  raise_descriptor_limit();
  std::error_code error;
  std::filesystem::create_directories(socket_folder(), error);
  if (error) return fail("create " + socket_folder() + ": " + error.message());
  ::chmod(socket_folder().c_str(), 0700);
  auto cgroups = Cgroups::make(options_.cgroup_root);
  if (!cgroups) return std::unexpected(cgroups.error());
  if (auto done = dataplane_->attach_to_workers_sockets(cgroups->sockets()); !done) return done;
  auto presence = make_presence();
  if (!presence) return fail_in("presence", presence.error());
  if (auto done = maps().put_listener({}, presence->get()); !done) return done;
  presence_ = std::move(*presence);
  cgroups_ = std::move(*cgroups);
  maker_ = std::make_unique<SocketMaker>(cgroups_->sockets());
  return {};
}

Seat& Workers::Impl::seat_of(const std::string& name) {
  auto [seat, fresh] = seats_.try_emplace(name);
  if (fresh) {
    seat->second.plan.name = name;
    seat->second.number = next_number();
  }
  return seat->second;
}

std::uint32_t Workers::Impl::next_number() {
  if (next_number_ == 0)
    for (const auto& [netns, row] : maps().workers()) next_number_ = std::max(next_number_, row.number);
  return ++next_number_;
}

void Workers::Impl::remove_strange_rows() {
  if (rows_looked_at_) return;
  rows_looked_at_ = true;
  for (const auto& [netns, row] : maps().workers()) {
    const bool planned =
        std::ranges::any_of(seats_, [&](const auto& entry) { return entry.second.plan.pods.contains(netns); });
    if (!planned) maps().remove_worker(netns);
  }
}

Workers::Workers(boost::asio::io_context& io, Options options)
    : impl_(std::make_shared<Impl>(io, std::move(options))) {}
Workers::~Workers() = default;
void Workers::update(const std::map<std::string, compile::WorkerPlan>& plans,
                     const std::map<NetnsCookie, std::string>& netns_paths, dataplane::Dataplane* dataplane) {
  impl_->update(plans, netns_paths, dataplane);
}
void Workers::tick() { impl_->tick(); }
void Workers::follow_requests() { impl_->follow_requests(); }
void Workers::expect_successor() { impl_->expect_successor(); }
void Workers::leave_all() { impl_->leave_all(); }
std::vector<Status> Workers::status() const { return impl_->status(); }
std::set<NetnsCookie> Workers::tunnelling() const { return impl_->tunnelling(); }
std::vector<std::string> Workers::problems() const { return impl_->problems(); }

}  // namespace underpass::workers
