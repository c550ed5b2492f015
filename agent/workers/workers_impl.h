// SPDX-License-Identifier: Apache-2.0
// Inside of Workers, for the files that make it up: workers.cpp, worker_processes.cpp, who is there, and
// worker_dialogue.cpp, what workers say and are told.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/dataplane/dataplane.h"
#include "agent/workers/cgroups.h"
#include "agent/workers/launch.h"
#include "agent/workers/seat.h"
#include "agent/workers/socket_maker.h"
#include "agent/workers/workers.h"

namespace underpass::workers {

class Workers::Impl : public std::enable_shared_from_this<Workers::Impl> {
 public:
  Impl(boost::asio::io_context& io, Options options) : io_(io), options_(std::move(options)) {}

  void update(const std::map<std::string, compile::WorkerPlan>& plans,
              const std::map<NetnsCookie, std::string>& netns_paths, dataplane::Dataplane* dataplane);
  void tick();
  void follow_requests();
  void expect_successor();
  void leave_all();
  [[nodiscard]] std::vector<Status> status() const;
  [[nodiscard]] std::set<NetnsCookie> tunnelling() const;
  [[nodiscard]] std::vector<std::string> problems() const;

 private:
  using Seats = std::map<std::string, Seat>;

  // Who was replaced, or is needed no more.
  struct Leaving {
    std::string name;
    std::unique_ptr<Worker> worker;
    Clock::time_point deadline;
    std::set<NetnsCookie> pods;  // that were its
    std::size_t dials_made = 0;
  };

  [[nodiscard]] static std::string problem_of(const Seat& seat);
  [[nodiscard]] std::string socket_folder() const { return options_.run_dir + "/workers"; }
  [[nodiscard]] std::string socket_path(const std::string& name) const;

  // --- what all of them need (workers.cpp) ---

  dataplane::WorkerMaps& maps() { return dataplane_->worker_maps(); }

  // The programs hear that somebody is there who makes dial sockets.
  void beat();
  // Nobody pays for it who has no worker.
  Result<void> prepare();
  Seat& seat_of(const std::string& name);
  std::uint32_t next_number();
  // Rows of an earlier agent's that no plan has any more.
  void remove_strange_rows();

  // --- processes (worker_processes.cpp) ---

  // Once: those that an earlier agent left, by their sockets. Who is there for no plan is drained by update().
  void adopt_running();
  static std::vector<UniqueFd> own_logs();
  void sit_down(Seat& seat, Launched launched, bool adopted);
  Result<Launched> launch_for(Seat& seat);
  // Sees that somebody is there, or, beside one of another version, a successor.
  void fill(Seat& seat);
  void put_off(Seat& seat, const std::string& problem);
  // Nobody is to be there any more: what it has it may finish.
  Seats::iterator retire(Seats::iterator at);
  void drain(const Seat& seat, std::unique_ptr<Worker> worker);
  [[nodiscard]] static Clock::time_point end_of_drain(const Seat& seat);
  // Events name the worker that they are of, since who is in a seat, or was, changes.
  std::unique_ptr<Worker> start_worker(const Seat& seat, Launched launched, bool adopted);
  // True: it is one of those that are to go.
  bool forget_leaving(std::uint64_t id, const std::string& why, bool ended);

  // --- what a worker says (worker_dialogue.cpp) ---

  void on_hello(Seat& seat, bool successor, const worker::Hello& hello);
  // An adopted one has them.
  void on_listeners(Seat& seat, bool successor, const worker::Listeners& message, std::vector<UniqueFd> fds);
  void on_ready(Seat& seat, bool successor);
  void on_configured(Seat& seat, bool successor, const worker::Configured& message);
  void on_want(Seat& seat, bool successor, const worker::Want& message);
  // Of one that drains, for connections that it had taken in. False: it is none of these.
  bool on_leaving_want(std::uint64_t id, const worker::Want& message);
  // For a pod that was this worker's. `made`: so many sockets the worker got in this second.
  void answer_last_want(Worker& worker, std::size_t& made, const worker::Want& message);
  void answer_want(Worker& worker, std::size_t& made, const worker::Want& message, const Served& pod);
  void on_lost(Seat& seat, bool successor, const std::string& why, bool ended);
  // The one that was to take over has the place now. What it was told of the pods was for later: it is told again.
  void promote(Seat& seat);
  // Nobody is there for a while: what needs no worker goes on without.
  void give_up(Seat& seat, const std::string& why);

  // --- what a worker is told (worker_dialogue.cpp) ---

  void settle(Seat& seat, const compile::WorkerPlan& plan);
  // Makes what the worker has equal to the plan.
  void refresh(Seat& seat, bool table_changed);
  // Pods that came and went. True: the worker has not heard of some of them.
  bool update_pods(Seat& seat);
  static Served& served_of(Seat& seat, NetnsCookie netns) { return seat.pods.try_emplace(netns, netns).first->second; }
  Result<bool> make_listeners(NetnsCookie netns, const compile::WorkerPod& pod, Served& served);
  void send_table(Seat& seat, Worker& worker);
  void tell_who_follows(Seat& seat);
  // The pods whose listeners it does not have yet.
  void tell_pods(Seat& seat);
  void send_pod(Seat& seat, Worker& worker, NetnsCookie netns, const Served& served);
  void send_dials(Worker& worker, NetnsCookie netns, const Served& served, bool v6, std::size_t count);

  // --- what the programs are told (worker_dialogue.cpp) ---

  void put_in_force(Seat& seat);
  // What is left when this agent is gone suddenly.
  void update_dials(Seat& seat);

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
  Clock::time_point followed_until_;
  std::uint32_t next_number_ = 0;
  bool adopted_ = false, rows_looked_at_ = false, told_unlimited_ = false;
};

}  // namespace underpass::workers
