// SPDX-License-Identifier: Apache-2.0
// The ground of a run: pods on a bridge, the agent, and the proof that a connection went the way its row says.
//
// The pods of `shop` are enrolled with short-circuit on, those of `learned` with auto, those of `tcp` with it off.
// Those of `plain` are not enrolled and live in a cgroup beside the agent's: no hook of a cgroup runs for them, as if
// there were no mesh. The process whose calls are measured with the agent on and off is not enrolled either, but inside
// the agent's cgroup.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "test/bench/stream.h"
#include "test/support/world.h"

namespace underpass::bench {

// A folder below the cgroup2 mount, beside the sandbox.
class PlainCgroup {
 public:
  PlainCgroup();
  PlainCgroup(const PlainCgroup&) = delete;
  PlainCgroup& operator=(const PlainCgroup&) = delete;
  ~PlainCgroup();

  [[nodiscard]] std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
};

class Node {
 public:
  // With the agent running and the pods enrolled. `bridge_netfilter`: packets on the bridge meet iptables as they do on
  // most nodes (where br_netfilter is loaded); otherwise direct veth is as fast as it can be.
  explicit Node(bool bridge_netfilter);

  // The two CPUs of client and server, equal for "same CPU".
  struct Cpus {
    int client = 0;
    int server = 0;
  };
  [[nodiscard]] Pair direct(Cpus cpus) const;
  [[nodiscard]] Pair loopback(Cpus cpus) const;
  [[nodiscard]] Pair unix_socket(Cpus cpus) const;
  [[nodiscard]] Pair short_circuit(Cpus cpus) const;  // mode `on`
  // Mode `auto`, after learning; mode `on` where this machine leaves `auto` on TCP: auto_problem() says why.
  [[nodiscard]] Pair learned(Cpus cpus) const;
  [[nodiscard]] const std::string& auto_problem() const { return auto_problem_; }
  [[nodiscard]] Pair enrolled_tcp(Cpus cpus) const;  // enrolled, short-circuit off
  [[nodiscard]] Place unenrolled(int cpu) const;     // inside the agent's cgroup
  enum class Mode { kOff, kAuto, kOn };
  [[nodiscard]] Pair through_service(Cpus cpus, Mode mode) const;  // kAuto: only where there is no auto_problem()
  // So many other Services, with ten endpoints each; waits until they are in the maps.
  void have_services(int count);

  // A client that is not enrolled, and the server of learned().
  [[nodiscard]] Pair from_outside(Cpus cpus) const;
  // So many policies for that server, of which the last lets in both of its clients; waits until they are in force.
  void have_policies(int count);

  // As `underpassctl connections` tells it, of every connection to the pair's server that stands.
  struct Way {
    std::string way;
    std::string fallback_reason;
    std::uint64_t bytes = 0;  // both directions
  };
  [[nodiscard]] std::vector<Way> ways_of(const Pair& pair, std::uint16_t server_port) const;
  [[nodiscard]] up_stats stats() const { return world_.pinned.stats(); }

  // Takes every program of the agent away and ends it; starts it again, up to the enrolled pods.
  void agent_off();
  void agent_on();
  [[nodiscard]] std::string cgroup() const { return world_.sandbox.cgroup(); }  // where it attaches its programs

  [[nodiscard]] std::filesystem::path folder() const { return world_.sandbox.root() / "bench"; }
  [[nodiscard]] double agent_rss_mib() const;  // VmRSS
  [[nodiscard]] double maps_mib() const;       // what the kernel charges for the pinned maps

 private:
  using Pods = std::array<const char*, 2>;  // client, server

  [[nodiscard]] Pair between(const std::string& variant, const Pods& pods, const std::string& cgroup, Cpus cpus) const;
  void wait_enrolled() const;
  void teach() const;
  void put_service(const std::string& ns, const Pods& pods, const std::string& address) const;
  [[nodiscard]] std::string find_auto_problem() const;

  test::World world_{test::kAccelerated, "ready", {.watchpoints = "auto"}};
  std::string auto_problem_;
  int services_ = 0;  // as have_services() wants them
  PlainCgroup plain_cgroup_;
};

}  // namespace underpass::bench
