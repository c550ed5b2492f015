// SPDX-License-Identifier: Apache-2.0
// The ground of the rows of the proxy: pairs of pods with the worker between them, and a pair without a mesh with
// haproxy or nghttpx in the worker's place: in the client's network namespace, one thread, no log.
//
// Workers write a line for each request or connection, to /dev/null; the others write none.
//
// Relays are on one CPU, with everything that is theirs: for the worker that is the agent too, which makes its sockets.
// Client and server are on the other.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "test/bench/node.h"
#include "test/support/process.h"

namespace underpass::bench {

class Relays {
 public:
  enum class Speak { kTcp, kHttp };  // what haproxy relays

  Relays(int relay_cpu, int ends_cpu, Speak speak);

  // Pods of `ns` with so many rules for HTTP, of which the last lets the client in; waits until they are in force.
  void have_rules(const std::string& ns, int rules);

  [[nodiscard]] Pair direct() const;
  [[nodiscard]] Pair haproxy() const;
  [[nodiscard]] Pair haproxy_in_mesh() const;  // ... between enrolled pods: the mesh's own part is in it too
  [[nodiscard]] Pair worker() const;           // its legs are TCP
  [[nodiscard]] Pair short_circuit() const;    // ... or socket to socket where they may be
  [[nodiscard]] Pair nghttpx() const;          // only with Speak::kHttp
  [[nodiscard]] Pair of_namespace(const std::string& variant, const std::string& ns) const;  // of have_rules()

  // CPU time that the relay of this pair has used so far, in seconds.
  [[nodiscard]] double cpu_seconds(const Pair& pair) const;
  // Throws unless connections made since `before` were proxied by the worker, or, without the mesh, are not known to
  // it.
  void check_way(const Pair& pair, const up_stats& before) const;
  [[nodiscard]] up_stats stats() const { return world_.pinned.stats(); }
  [[nodiscard]] double worker_rss_kib() const;  // VmRSS of the one of worker()

  [[nodiscard]] std::filesystem::path folder() const { return world_.sandbox.root() / "bench"; }
  [[nodiscard]] std::string cpus_text() const;

 private:
  [[nodiscard]] Pair between(const std::string& variant, const std::string& client, const std::string& server,
                             const std::string& cgroup) const;
  void wait_captured(const std::string& pod) const;
  [[nodiscard]] std::vector<pid_t> ours() const;
  [[nodiscard]] std::vector<std::string> haproxy_command(const Pair& pair, Speak speak) const;
  void start(const Pair& pair, std::vector<std::string> argv);

  int relay_cpu_;
  int ends_cpu_;
  test::World world_;
  PlainCgroup plain_cgroup_;
  std::map<std::string, test::Process> others_;  // haproxy and nghttpx, by variant
};

}  // namespace underpass::bench
