// SPDX-License-Identifier: Apache-2.0
// Supervises the workers: one for each plan, started when it is first needed, restarted with the same listeners when it
// dies, given up for a while when it dies again and again, drained when nobody needs it. An agent that comes later
// finds those of an earlier one and goes on with them.
//
// A pod is a worker's, for the programs, from when the worker has it in its routing table until it leaves; in between,
// whatever becomes of the worker, what its listeners have queued is kept for the next.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/compile/workers.h"
#include "underpass/ids.h"
#include "underpass/result.h"
#include "underpass/routing_table.h"
#include "underpass/worker_protocol.h"

namespace boost::asio {
class io_context;
}

namespace underpass::dataplane {
class Dataplane;
}

namespace underpass::workers {

struct Options {
  std::string binary;  // underpass-proxy
  std::string run_dir;
  std::string cgroup_root;
  std::string log_level;
  // What a worker, by its name, says of requests; also one that is to go. Called on the io_context.
  std::function<void(const std::string& worker, const worker::Metrics&)> on_metrics;
  std::function<void(const std::string& worker, worker::Requests)> on_requests;
};

// A worker as operators see it.
struct Status {
  enum class State { kStarting, kReady, kBackingOff, kDraining };

  std::string name;
  State state = State::kStarting;
  int pid = 0;  // 0: there is none
  std::string version;
  std::chrono::system_clock::time_point since;
  std::uint64_t restarts = 0;
  std::string cgroup;
  std::string problem;  // empty: none
  RoutingTable table;
  worker::Report report;

  struct Listening {
    worker::Listener listener;
    std::uint16_t port = 0;
  };
  std::map<NetnsCookie, std::vector<Listening>> listeners;
};

class Workers {
 public:
  Workers(boost::asio::io_context& io, Options options);
  // Those that run go on, for the next agent.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // After each new state of the objects. `netns_paths`: of the pods that are on this node, captured or not. A null
  // dataplane (the node is detached) needs no worker.
  void update(const std::map<std::string, compile::WorkerPlan>& plans,
              const std::map<NetnsCookie, std::string>& netns_paths, dataplane::Dataplane* dataplane);
  // Once a second.
  void tick();
  // Somebody follows requests, and goes on if this is called again within a few seconds.
  void follow_requests();
  // This agent ends, and another is about to take its place: connections go to workers that have no dial socket left,
  // too, which wait until there are more.
  void expect_successor();
  // Before the dataplane goes: takes every pod out of its worker's hands, and drains.
  void leave_all();

  [[nodiscard]] std::vector<Status> status() const;
  // The pods whose workers take tunnels: they have a routing table and the pod's certificate.
  [[nodiscard]] std::set<NetnsCookie> tunnelling() const;
  // What is not as the objects ask for.
  [[nodiscard]] std::vector<std::string> problems() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace underpass::workers
