// SPDX-License-Identifier: Apache-2.0
// What a worker says and is told, and what the programs are told of it.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "agent/workers/memfd.h"
#include "agent/workers/workers_impl.h"
#include "underpass/routing_table_json.h"

namespace underpass::workers {
namespace {

// So many dial sockets a pod gets of each of its families before a connection has asked for one.
constexpr std::size_t kFirstDials = 16;
// What a worker says that it has left counts up to here.
constexpr std::uint64_t kFewestUnbounded = 1u << 30;

}  // namespace

// --- what a worker says ---

void Workers::Impl::on_hello(Seat& seat, bool successor, const worker::Hello& hello) {
  auto& worker = successor ? seat.successor : seat.current;
  if (!worker || (hello.version == UNDERPASS_VERSION && hello.protocol == worker::kProtocol)) return;
  const auto named = [](const std::string& version, std::uint64_t protocol) {
    return version + " with protocol " + std::to_string(protocol);
  };
  const std::string versions = "version " + named(hello.version, hello.protocol) + ", and this agent is " +
                               named(UNDERPASS_VERSION, worker::kProtocol);
  if (worker->adopted() && hello.protocol == worker::kProtocol) {
    spdlog::warn("worker-outdated worker={} reason=\"it is of {}\"", seat.plan.name, versions);
    return;
  }
  put_off(seat, options_.binary + " is of " + versions + ": install the two together");
  worker->kill();
}

void Workers::Impl::on_listeners(Seat& seat, bool successor, const worker::Listeners& message,
                                 std::vector<UniqueFd> fds) {
  if (successor || !seat.current->adopted() || message.listeners.size() != fds.size()) return;
  // Whose pod it is, if it is not this one's any more, or never was, is in the maps and is not touched.
  if (!seat.plan.pods.contains(message.netns))
    return seat.current->send(worker::Forget{.netns = message.netns, .reset = !netns_paths_.contains(message.netns)});
  if (const auto row = maps().worker(message.netns)) seat.number = row->number;
  served_of(seat, message.netns).take_back(maps(), message, std::move(fds));
}

void Workers::Impl::on_ready(Seat& seat, bool successor) {
  auto& worker = successor ? seat.successor : seat.current;
  if (!worker) return;
  seat.revision = std::max(seat.revision, worker->hello().revision);
  if (successor) {
    send_table(seat, *worker);
    for (const auto& [netns, served] : seat.pods) send_pod(seat, *worker, netns, served);
    return;
  }
  seat.greeted = true;
  refresh(seat, true);
  fill(seat);
}

void Workers::Impl::on_configured(Seat& seat, bool successor, const worker::Configured& message) {
  if (!message.cause.empty()) {
    seat.problem = "routing table " + std::to_string(message.revision) + " refused: " + message.cause;
    spdlog::error("worker-table-refused worker={} {}", seat.plan.name, seat.problem);
    return;
  }
  if (!seat.retry_at) seat.problem.clear();
  if (successor) {
    spdlog::info("worker-replaced worker={} from={} to={}", seat.plan.name, seat.current ? seat.current->pid() : 0,
                 seat.successor->pid());
    if (seat.current) drain(seat, std::move(seat.current));
    seat.current = std::move(seat.successor);
    seat.greeted = true;
    seat.follows = false;
  }
  if (!seat.ready || successor) spdlog::info("worker-ready worker={} pid={}", seat.plan.name, seat.current->pid());
  seat.ready = true;
  put_in_force(seat);
}

void Workers::Impl::on_want(Seat& seat, bool successor, const worker::Want& message) {
  auto& worker = successor ? seat.successor : seat.current;
  if (!worker) return;
  if (const auto pod = seat.pods.find(message.netns); pod != seat.pods.end())
    answer_want(*worker, seat.dials_made, message, pod->second);
  else if (seat.left.contains(message.netns))
    answer_last_want(*worker, seat.dials_made, message);
}

bool Workers::Impl::on_leaving_want(std::uint64_t id, const worker::Want& message) {
  const auto leaving = std::ranges::find(draining_, id, [](const Leaving& one) { return one.worker->id(); });
  if (leaving == draining_.end()) return false;
  if (leaving->pods.contains(message.netns)) answer_last_want(*leaving->worker, leaving->dials_made, message);
  return true;
}

void Workers::Impl::answer_last_want(Worker& worker, std::size_t& made, const worker::Want& message) {
  const auto path = netns_paths_.find(message.netns);
  Served pod(message.netns);
  if (path != netns_paths_.end() && pod.enter(path->second)) answer_want(worker, made, message, pod);
}

// Who does not take what it got, or wants without end, asks again when there is time.
void Workers::Impl::answer_want(Worker& worker, std::size_t& made, const worker::Want& message, const Served& pod) {
  if (worker.queued() > 0 || made >= kDialsASecond) return;
  const auto count = std::min<std::uint64_t>(message.count, worker::kMaxDescriptors);
  made += count;
  send_dials(worker, message.netns, pod, message.v6, count);
}

void Workers::Impl::on_lost(Seat& seat, bool successor, const std::string& why, bool ended) {
  auto& worker = successor ? seat.successor : seat.current;
  if (!worker) return;
  if (!ended) {
    spdlog::warn("worker-misbehaves worker={} pid={} reason=\"{}\"", seat.plan.name, worker->pid(), why);
    worker->kill();  // its end comes here, too
    return;
  }
  spdlog::warn("worker-ended worker={} pid={} reason=\"{}\"", seat.plan.name, worker->pid(), why);
  worker.reset();
  if (successor) {
    if (!seat.retry_at) put_off(seat, "the new one ended: " + why);
    return;
  }
  seat.greeted = seat.ready = false;
  if (seat.successor) return promote(seat);
  ++seat.restarts;
  if (seat.retry_at || crashed_too_often(seat, Clock::now())) return give_up(seat, why);
  fill(seat);
}

void Workers::Impl::promote(Seat& seat) {
  seat.current = std::move(seat.successor);
  seat.follows = false;
  for (auto& [netns, served] : seat.pods) served.told = false;
  seat.greeted = !seat.current->hello().version.empty();
  refresh(seat, true);
}

void Workers::Impl::give_up(Seat& seat, const std::string& why) {
  for (auto& [netns, served] : seat.pods) served.take_out_of_force(maps());
  seat.pods.clear();
  seat.crashes.clear();
  if (!seat.retry_at) put_off(seat, "it ended " + std::to_string(kCrashes) + " times in a minute: " + why);
}

// --- what a worker is told ---

void Workers::Impl::settle(Seat& seat, const compile::WorkerPlan& plan) {
  const bool same = seat.plan == plan;
  seat.plan = plan;
  // A successor has been told of another plan.
  if (!same && seat.successor) drain(seat, std::move(seat.successor));
  fill(seat);
  refresh(seat, !same);
}

void Workers::Impl::refresh(Seat& seat, bool table_changed) {
  const bool fresh = update_pods(seat);
  if (!seat.greeted || !seat.current) return;
  if (table_changed) send_table(seat, *seat.current);
  if (table_changed || fresh) tell_pods(seat);
}

bool Workers::Impl::update_pods(Seat& seat) {
  if (!seat.current) return false;
  if (!seat.greeted && seat.current->adopted()) return false;  // it may have their listeners
  for (auto& [netns, served] : seat.pods) {
    if (seat.plan.pods.contains(netns)) continue;
    served.take_out_of_force(maps());
    seat.left[netns] = end_of_drain(seat);
    if (seat.greeted) seat.current->send(worker::Forget{.netns = netns, .reset = !netns_paths_.contains(netns)});
  }
  std::erase_if(seat.pods, [&](const auto& entry) { return !seat.plan.pods.contains(entry.first); });
  bool fresh = false;
  for (const auto& [netns, pod] : seat.plan.pods) {
    auto& served = served_of(seat, netns);
    const auto made = make_listeners(netns, pod, served);
    const std::string problem = made ? "" : "Pod " + pod.id.to_string() + ": " + made.error().message;
    if (!problem.empty() && problem != served.problem)
      spdlog::warn("pod-not-captured pod={} reason=\"{}\"", pod.id.to_string(), problem);
    served.problem = problem;
    fresh = fresh || (made && *made);
  }
  return fresh;
}

Result<bool> Workers::Impl::make_listeners(NetnsCookie netns, const compile::WorkerPod& pod, Served& served) {
  if (auto done = prepare(); !done) return std::unexpected(done.error());
  const auto path = netns_paths_.find(netns);
  if (path == netns_paths_.end()) return fail("its network namespace is gone");
  return served.make_listeners(*maker_, path->second, pod);
}

void Workers::Impl::send_table(Seat& seat, Worker& worker) {
  const std::string text = to_text(compile::table_of(seat.plan, ++seat.revision));
  auto fd = sealed_memfd("underpass-routing-table", text);
  if (!fd) {
    spdlog::error("worker-table-failed worker={} {}", seat.plan.name, fd.error().message);
    return;
  }
  std::vector<UniqueFd> fds;
  fds.push_back(std::move(*fd));
  worker.send(worker::Config{.revision = seat.revision, .size = text.size()}, std::move(fds));
}

void Workers::Impl::tell_who_follows(Seat& seat) {
  const bool follows = Clock::now() < followed_until_;
  if (!seat.ready || !seat.current || seat.follows == follows) return;
  seat.current->send(worker::FollowRequests{.on = follows});
  seat.follows = follows;
}

void Workers::Impl::tell_pods(Seat& seat) {
  for (auto& [netns, served] : seat.pods) {
    if (!served.told) send_pod(seat, *seat.current, netns, served);
    served.told = served.told || served.problem.empty();
  }
  if (seat.ready) put_in_force(seat);
}

void Workers::Impl::send_pod(Seat& seat, Worker& worker, NetnsCookie netns, const Served& served) {
  if (!served.problem.empty()) return;
  auto fds = served.copies();
  if (!fds) return spdlog::error("worker-listeners-failed worker={} {}", seat.plan.name, fds.error().message);
  worker::Listeners message{.netns = netns, .listeners = {}};
  for (const auto& [listener, held] : served.listeners()) message.listeners.push_back(listener);
  worker.send(message, std::move(*fds));
  const auto& pod = seat.plan.pods.at(netns);
  if (pod.v4) send_dials(worker, netns, served, false, kFirstDials);
  if (pod.v6) send_dials(worker, netns, served, true, kFirstDials);
}

void Workers::Impl::send_dials(Worker& worker, NetnsCookie netns, const Served& served, bool v6, std::size_t count) {
  if (!maker_ || count == 0) return;
  auto made = served.make_dials(*maker_, v6, count);
  if (!made) return spdlog::warn("dial-sockets-failed netns={} {}", netns, made.error().message);
  worker.send(worker::Dials{.netns = netns, .v6 = v6}, std::move(*made));
}

// --- what the programs are told ---

void Workers::Impl::put_in_force(Seat& seat) {
  for (auto& [netns, served] : seat.pods) {
    if (served.in_force() || !served.told) continue;
    if (auto done = served.put_in_force(maps(), seat.number, kFirstDials); !done) {
      served.problem = done.error().message;
      spdlog::error("worker-not-in-force worker={} netns={} {}", seat.plan.name, netns, served.problem);
      continue;
    }
    spdlog::info("pod-captured pod={} worker={}", seat.plan.pods.at(netns).id.to_string(), seat.plan.name);
  }
}

void Workers::Impl::update_dials(Seat& seat) {
  if (!seat.current || !seat.ready) return;
  for (const auto& [netns, left] : seat.current->report().dials) {
    const auto served = seat.pods.find(netns);
    const auto pod = seat.plan.pods.find(netns);
    if (served == seat.pods.end() || pod == seat.plan.pods.end()) continue;
    const auto least = !pod->second.v6 ? left.first : !pod->second.v4 ? left.second : std::min(left.first, left.second);
    served->second.update_dials(maps(), seat.number,
                                static_cast<std::int32_t>(std::min<std::uint64_t>(least, kFewestUnbounded)));
  }
}

}  // namespace underpass::workers
