// SPDX-License-Identifier: Apache-2.0
// The ground of the rows between two nodes: pods whose workers speak HBONE to each other, pods whose workers speak
// plainly, and pods outside the mesh with a haproxy each as sidecars have it: the client dials its own at 127.0.0.1,
// which speaks mutual TLS 1.3 with the server's, which dials the server. The same certificates' authority, P-256.
//
// haproxies have one thread each and no log, workers one thread each and a log to /dev/null. Both relays of a pair, and
// all that is theirs, are on one CPU; client and server are on the other. So the relays are what is measured.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "test/bench/node.h"
#include "test/netns/mtls/scene.h"

namespace underpass::bench {

class Sidecars {
 public:
  enum class Speak : std::uint8_t { kTcp, kHttp };  // what haproxies relay

  Sidecars(int relay_cpu, int ends_cpu, Speak speak);

  [[nodiscard]] Pair direct() const;
  [[nodiscard]] Pair haproxies() const;
  [[nodiscard]] Pair workers() const;  // through a tunnel
  [[nodiscard]] Pair plain_workers() const;

  // CPU time that the relays of this pair have used so far, in seconds.
  [[nodiscard]] double cpu_seconds(const Pair& pair) const;
  // Throws unless a connection of this pair goes as its variant says: by both nodes' `connections`.
  void check_way(const Pair& pair) const;

  [[nodiscard]] std::filesystem::path folder() const { return nodes_.folder("bench"); }
  [[nodiscard]] std::string cpus_text() const;

 private:
  [[nodiscard]] Pair between(const std::string& variant, const std::string& client, const std::string& server) const;
  [[nodiscard]] std::vector<pid_t> ours() const;
  void start_haproxies(Speak speak);
  test::Process start_haproxy(const std::string& name, const Place& place, const std::string& config) const;

  int relay_cpu_;
  int ends_cpu_;
  test::TwoNodes nodes_;
  PlainCgroup plain_cgroup_;
  std::vector<test::Process> haproxies_;
};

}  // namespace underpass::bench
