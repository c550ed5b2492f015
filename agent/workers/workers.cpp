// SPDX-License-Identifier: Apache-2.0
#include "agent/workers/workers.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <list>
#include <set>
#include <utility>

#include "agent/dataplane/dataplane.h"
#include "agent/workers/cgroups.h"
#include "agent/workers/memfd.h"
#include "agent/workers/presence.h"
#include "agent/workers/seat.h"
#include "agent/workers/socket_maker.h"
#include "underpass/routing_table_json.h"

namespace underpass::workers {
namespace {

// So many dial sockets a pod gets of each of its families before a connection has asked for one.
constexpr std::size_t kFirstDials = 16;
// What a worker says that it has left counts up to here.
constexpr std::uint64_t kFewestUnbounded = 1u << 30;
// After it was to be gone.
constexpr auto kDrainGrace = std::chrono::seconds(5);

// Our copies of everybody's listeners are many.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

class Workers::Impl : public std::enable_shared_from_this<Workers::Impl> {
 public:
  Impl(boost::asio::io_context& io, Options options) : io_(io), options_(std::move(options)) {}

  void update(const std::map<std::string, compile::WorkerPlan>& plans,
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

  void tick() {
    if (dataplane_ == nullptr) return;
    beat();
    const auto now = Clock::now();
    // What an agent that was held up itself has not heard may be there to be read.
    const bool listened = now - std::exchange(last_tick_, now) < kSilence / 2;
    for (auto& [name, seat] : seats_) {
      seat.dials_made = 0;
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
    }
    for (const auto& leaving : draining_)
      if (now >= leaving.deadline) leaving.worker->kill();
  }

  void leave_all() {
    while (!seats_.empty()) retire(seats_.begin());
    maker_.reset();
    presence_.reset();
    dataplane_ = nullptr;
  }

  [[nodiscard]] std::vector<Status> status() const {
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

  [[nodiscard]] std::vector<std::string> problems() const {
    std::vector<std::string> out;
    for (const auto& [name, seat] : seats_) {
      if (const auto problem = problem_of(seat); !problem.empty()) out.push_back("worker " + name + ": " + problem);
      if (seat.current && seat.current->report().paused)
        out.push_back("worker " + name +
                      ": it has too many descriptors open, and accepts nobody until some are closed");
    }
    if (!seats_.empty() && dataplane_ != nullptr && dataplane_->records_nearly_full())
      out.emplace_back("up_conns is nearly full: new connections go without a worker");
    return out;
  }

 private:
  using Seats = std::map<std::string, Seat>;

  // Who was replaced, or is needed no more.
  struct Leaving {
    std::string name;
    std::unique_ptr<Worker> worker;
    Clock::time_point deadline;
  };

  [[nodiscard]] static std::string problem_of(const Seat& seat) {
    if (!seat.problem.empty()) return seat.problem;
    for (const auto& [netns, served] : seat.pods)
      if (!served.problem.empty()) return served.problem;
    return "";
  }

  [[nodiscard]] std::string socket_folder() const { return options_.run_dir + "/workers"; }
  [[nodiscard]] std::string socket_path(const std::string& name) const {
    return socket_folder() + "/" + name + ".sock";
  }

  // --- what all of them need ---

  dataplane::WorkerMaps& maps() { return dataplane_->worker_maps(); }

  // The programs hear that somebody is there who makes dial sockets.
  void beat() {
    if (auto done = maps().beat(dataplane_->records_nearly_full()); !done)
      spdlog::error("heartbeat-failed {}", done.error().message);
  }

  // Nobody pays for it who has no worker.
  Result<void> prepare() {
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

  Seat& seat_of(const std::string& name) {
    auto [seat, fresh] = seats_.try_emplace(name);
    if (fresh) {
      seat->second.plan.name = name;
      seat->second.number = next_number();
    }
    return seat->second;
  }

  std::uint32_t next_number() {
    if (next_number_ == 0)
      for (const auto& [netns, row] : maps().workers()) next_number_ = std::max(next_number_, row.number);
    return ++next_number_;
  }

  // Rows of an earlier agent's that no plan has any more.
  void remove_strange_rows() {
    if (rows_looked_at_) return;
    rows_looked_at_ = true;
    for (const auto& [netns, row] : maps().workers()) {
      const bool planned =
          std::ranges::any_of(seats_, [&](const auto& entry) { return entry.second.plan.pods.contains(netns); });
      if (!planned) maps().remove_worker(netns);
    }
  }

  // --- processes ---

  // Once: those that an earlier agent left, by their sockets. Who is there for no plan is drained by update().
  void adopt_running() {
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

  static std::vector<UniqueFd> own_logs() {
    std::vector<UniqueFd> out;
    for (const int fd : {STDOUT_FILENO, STDERR_FILENO})
      if (UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); copy) out.push_back(std::move(copy));
    return out;
  }

  void sit_down(Seat& seat, Launched launched, bool adopted) {
    seat.greeted = seat.ready = false;
    seat.seated = Clock::now();
    for (auto& [netns, served] : seat.pods) served.told = false;
    seat.current = start_worker(seat, std::move(launched), adopted);
  }

  Result<Launched> launch_for(Seat& seat) {
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

  // Sees that somebody is there, or, beside one of another version, a successor.
  void fill(Seat& seat) {
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

  void put_off(Seat& seat, const std::string& problem) {
    if (problem != seat.problem) spdlog::error("worker-failed worker={} {}", seat.plan.name, problem);
    seat.problem = problem;
    seat.retry_at = Clock::now() + seat.back_off;
    seat.back_off = std::min<std::chrono::seconds>(2 * seat.back_off, kLongestBackOff);
  }

  // Nobody is to be there any more: what it has it may finish.
  Seats::iterator retire(Seats::iterator at) {
    Seat& seat = at->second;
    for (auto& [netns, served] : seat.pods) served.take_out_of_force(maps());
    spdlog::info("worker-retired worker={}", seat.plan.name);
    for (auto* worker : {&seat.current, &seat.successor})
      if (*worker) drain(seat, std::move(*worker));
    return seats_.erase(at);
  }

  void drain(const Seat& seat, std::unique_ptr<Worker> worker) {
    worker->send(worker::Drain{});
    draining_.push_back({.name = seat.plan.name,
                         .worker = std::move(worker),
                         .deadline = Clock::now() + seat.plan.settings.drain_timeout + kDrainGrace});
  }

  // Events name the worker that they are of, since who is in a seat, or was, changes.
  std::unique_ptr<Worker> start_worker(const Seat& seat, Launched launched, bool adopted) {
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
    return std::make_unique<Worker>(io_, id, std::move(launched), adopted,
                                    Worker::Events{
                                        .hello = bind(&Impl::on_hello),
                                        .listeners = bind(&Impl::on_listeners),
                                        .ready = bind(&Impl::on_ready),
                                        .configured = bind(&Impl::on_configured),
                                        .want = bind(&Impl::on_want),
                                        .lost =
                                            [weak = weak_from_this(), id, lost](const std::string& why, bool ended) {
                                              const auto self = weak.lock();
                                              if (self && !self->forget_leaving(id, why, ended)) lost(why, ended);
                                            },
                                    });
  }

  // True: it is one of those that are to go.
  bool forget_leaving(std::uint64_t id, const std::string& why, bool ended) {
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

  // --- what a worker says ---

  void on_hello(Seat& seat, bool successor, const worker::Hello& hello) {
    auto& worker = successor ? seat.successor : seat.current;
    if (!worker || (hello.version == UNDERPASS_VERSION && hello.protocol == worker::kProtocol)) return;
    const std::string versions = "version " + hello.version + ", and this agent is " + std::string(UNDERPASS_VERSION);
    if (worker->adopted() && hello.protocol == worker::kProtocol) {
      spdlog::warn("worker-outdated worker={} reason=\"it is of {}\"", seat.plan.name, versions);
      return;
    }
    put_off(seat, options_.binary + " is of " + versions + ": install the two together");
    worker->kill();
  }

  // An adopted one has them.
  void on_listeners(Seat& seat, bool successor, const worker::Listeners& message, std::vector<UniqueFd> fds) {
    if (successor || !seat.current->adopted() || message.listeners.size() != fds.size()) return;
    // Whose pod it is, if it is not this one's any more, or never was, is in the maps and is not touched.
    if (!seat.plan.pods.contains(message.netns))
      return seat.current->send(worker::Forget{.netns = message.netns, .reset = !netns_paths_.contains(message.netns)});
    if (const auto row = maps().worker(message.netns)) seat.number = row->number;
    served_of(seat, message.netns).take_back(maps(), message, std::move(fds));
  }

  void on_ready(Seat& seat, bool successor) {
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

  void on_configured(Seat& seat, bool successor, const worker::Configured& message) {
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
    }
    if (!seat.ready || successor) spdlog::info("worker-ready worker={} pid={}", seat.plan.name, seat.current->pid());
    seat.ready = true;
    put_in_force(seat);
  }

  void on_want(Seat& seat, bool successor, const worker::Want& message) {
    auto& worker = successor ? seat.successor : seat.current;
    const auto pod = seat.pods.find(message.netns);
    if (!worker || pod == seat.pods.end()) return;
    // Who does not take what it got, or wants without end, asks again when there is time.
    if (worker->queued() > 0 || seat.dials_made >= kDialsASecond) return;
    const auto count = std::min<std::uint64_t>(message.count, worker::kMaxDescriptors);
    seat.dials_made += count;
    send_dials(*worker, message.netns, pod->second, message.v6, count);
  }

  void on_lost(Seat& seat, bool successor, const std::string& why, bool ended) {
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

  // The one that was to take over has the place now. What it was told of the pods was for later: it is told again.
  void promote(Seat& seat) {
    seat.current = std::move(seat.successor);
    for (auto& [netns, served] : seat.pods) served.told = false;
    seat.greeted = !seat.current->hello().version.empty();
    refresh(seat, true);
  }

  // Nobody is there for a while: what needs no worker goes on without.
  void give_up(Seat& seat, const std::string& why) {
    for (auto& [netns, served] : seat.pods) served.take_out_of_force(maps());
    seat.pods.clear();
    seat.crashes.clear();
    if (!seat.retry_at) put_off(seat, "it ended " + std::to_string(kCrashes) + " times in a minute: " + why);
  }

  // --- what a worker is told ---

  void settle(Seat& seat, const compile::WorkerPlan& plan) {
    const bool same = seat.plan == plan;
    seat.plan = plan;
    // A successor has been told of another plan.
    if (!same && seat.successor) drain(seat, std::move(seat.successor));
    fill(seat);
    refresh(seat, !same);
  }

  // Makes what the worker has equal to the plan.
  void refresh(Seat& seat, bool table_changed) {
    const bool fresh = update_pods(seat);
    if (!seat.greeted || !seat.current) return;
    if (table_changed) send_table(seat, *seat.current);
    if (table_changed || fresh) tell_pods(seat);
  }

  // Pods that came and went. True: the worker has not heard of some of them.
  bool update_pods(Seat& seat) {
    if (!seat.current) return false;
    if (!seat.greeted && seat.current->adopted()) return false;  // it may have their listeners
    for (auto& [netns, served] : seat.pods) {
      if (seat.plan.pods.contains(netns)) continue;
      served.take_out_of_force(maps());
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

  static Served& served_of(Seat& seat, NetnsCookie netns) { return seat.pods.try_emplace(netns, netns).first->second; }

  Result<bool> make_listeners(NetnsCookie netns, const compile::WorkerPod& pod, Served& served) {
    if (auto done = prepare(); !done) return std::unexpected(done.error());
    const auto path = netns_paths_.find(netns);
    if (path == netns_paths_.end()) return fail("its network namespace is gone");
    return served.make_listeners(*maker_, path->second, pod);
  }

  void send_table(Seat& seat, Worker& worker) {
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

  // The pods whose listeners it does not have yet.
  void tell_pods(Seat& seat) {
    for (auto& [netns, served] : seat.pods) {
      if (!served.told) send_pod(seat, *seat.current, netns, served);
      served.told = served.told || served.problem.empty();
    }
    if (seat.ready) put_in_force(seat);
  }

  void send_pod(Seat& seat, Worker& worker, NetnsCookie netns, const Served& served) {
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

  void send_dials(Worker& worker, NetnsCookie netns, const Served& served, bool v6, std::size_t count) {
    if (!maker_ || count == 0) return;
    auto made = served.make_dials(*maker_, v6, count);
    if (!made) return spdlog::warn("dial-sockets-failed netns={} {}", netns, made.error().message);
    worker.send(worker::Dials{.netns = netns, .v6 = v6}, std::move(*made));
  }

  // --- what the programs are told ---

  void put_in_force(Seat& seat) {
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

  // What is left when this agent is gone suddenly.
  void update_dials(Seat& seat) {
    if (!seat.current || !seat.ready) return;
    for (const auto& [netns, left] : seat.current->report().dials) {
      const auto served = seat.pods.find(netns);
      const auto pod = seat.plan.pods.find(netns);
      if (served == seat.pods.end() || pod == seat.plan.pods.end()) continue;
      const auto least = !pod->second.v6   ? left.first
                         : !pod->second.v4 ? left.second
                                           : std::min(left.first, left.second);
      served->second.update_dials(maps(), seat.number,
                                  static_cast<std::int32_t>(std::min<std::uint64_t>(least, kFewestUnbounded)));
    }
  }

  boost::asio::io_context& io_;
  Options options_;
  dataplane::Dataplane* dataplane_ = nullptr;
  std::map<NetnsCookie, std::string> netns_paths_;
  std::optional<Cgroups> cgroups_;
  std::unique_ptr<SocketMaker> maker_;
  UniqueFd presence_;
  Seats seats_;
  std::list<Leaving> draining_;
  std::uint64_t last_worker_ = 0;
  Clock::time_point last_tick_;
  std::uint32_t next_number_ = 0;
  bool adopted_ = false, rows_looked_at_ = false, told_unlimited_ = false;
};

Workers::Workers(boost::asio::io_context& io, Options options)
    : impl_(std::make_shared<Impl>(io, std::move(options))) {}
Workers::~Workers() = default;
void Workers::update(const std::map<std::string, compile::WorkerPlan>& plans,
                     const std::map<NetnsCookie, std::string>& netns_paths, dataplane::Dataplane* dataplane) {
  impl_->update(plans, netns_paths, dataplane);
}
void Workers::tick() { impl_->tick(); }
void Workers::leave_all() { impl_->leave_all(); }
std::vector<Status> Workers::status() const { return impl_->status(); }
std::vector<std::string> Workers::problems() const { return impl_->problems(); }

}  // namespace underpass::workers
