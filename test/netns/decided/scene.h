// SPDX-License-Identifier: Apache-2.0
// A pod "b" of namespace "shop" about which its worker decides, since a policy asks for HTTP; "a" of the same
// namespace, "out" outside the mesh, and "c" of namespace "bank", whose connections go through the worker of "bank".
// The bridge's network namespace stands for the node's.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "test/netns/policy/scene.h"

namespace underpass::test {

// The policy "get" on b: GET alone is allowed, at the port too if it is not 0.
std::string allow_get(std::uint16_t port = 0);

// A request of the client's, and its answer by whoever listens; returns the server's end, which may be asked again.
UniqueFd ask(int client, int listener);
void ask_again(int client, int server);

class Decided {
 public:
  explicit Decided(const Agent::Options& options = {});

  [[nodiscard]] const Place& at(const std::string& name) const { return net.at(name); }
  [[nodiscard]] Place host() const;
  void put_policy(const std::string& text) const { objects.put_text("policy.yaml", text); }
  void remove_policy() const { objects.remove_text("policy.yaml"); }
  // Puts b's object with these annotations, and a probe at the port if it is not 0.
  void put_b(const Strings& annotations = {}, std::uint16_t probe_port = 0) const;
  [[nodiscard]] PodObject object_of(const std::string& ns, const std::string& name,
                                    const Settings& settings = {}) const;

  // UP_CAPTURE_... of the pod's row.
  [[nodiscard]] std::uint32_t capture_of(const std::string& name) const;
  [[nodiscard]] bool has_worker(const std::string& name) const;
  // b is led to its worker, which is there.
  void wait_decided() const;

  [[nodiscard]] std::vector<pid_t> workers(const std::string& ns) const;
  // Nobody is there in its place until wait_decided() says so.
  void kill_for_good(const std::string& ns) const;

  // A request over a new connection, by the counts of the programs: "proxied", "direct".
  [[nodiscard]] std::string way(const Place& from, const Place& to, int family = AF_INET, std::uint16_t port = 0) const;
  // Of the connections that no worker was there to decide about, as the metric tells.
  [[nodiscard]] bool metric_says_no_worker() const;

  Sandbox sandbox;
  PodNet net;
  Objects objects{sandbox.objects()};
  Agent agent;
  Ctl ctl{sandbox};
  Pinned pinned{sandbox};
};

}  // namespace underpass::test
