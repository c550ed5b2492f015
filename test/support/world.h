// SPDX-License-Identifier: Apache-2.0
// The usual scene: a sandbox, pods "a" and "b" of namespace "shop", labelled into the mesh with short-circuit on, and
// the real agent. Other pods and namespaces can be added.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "test/support/agent.h"
#include "test/support/ctl.h"
#include "test/support/objects.h"
#include "test/support/pinned.h"
#include "test/support/pod_net.h"
#include "test/support/sandbox.h"

namespace underpass::test {

// A namespace whose new connections are to be short-circuited.
inline const Settings kAccelerated{.mesh = "enabled", .short_circuit = "on"};

class World {
 public:
  // Starts the agent, waits until it is in that state, and until both pods are enrolled as `settings` of the namespace
  // say.
  explicit World(const Settings& settings = kAccelerated, const std::string& state = usual_state(),
                 const Agent::Options& options = {});

  // A pod with its network namespace and its object; `settings` are the pod's own.
  const Place& add_pod(const std::string& ns, const std::string& name, const Settings& settings = {});
  [[nodiscard]] PodObject pod_object(const std::string& ns, const std::string& name) const;
  [[nodiscard]] const Place& at(const std::string& name) const { return net.at(name); }

  // Waits; throws with what `pods` says when it does not come.
  void wait_enrolled(const std::string& ns, const std::string& name, const std::string& short_circuit = "on") const;
  void wait_not_enrolled(const std::string& ns, const std::string& name) const;

  // Connections established since the maps were made, by way, and bytes that went socket to socket.
  [[nodiscard]] std::uint64_t established(up_way way) const { return pinned.stats().connections[way]; }
  [[nodiscard]] std::uint64_t redirected() const { return pinned.stats().redirected_bytes; }

  Sandbox sandbox;
  PodNet net;
  Objects objects{sandbox.objects()};
  Agent agent;
  Ctl ctl{sandbox};
  Pinned pinned{sandbox};
};

// Sends a few messages there and back, and reads them: the first of each direction goes by TCP, the others need not.
void exchange(int client, int server, int messages = 8, std::size_t size = 100);
// The `way` of a new connection between the two as `underpassctl connections` tells it, after bytes went both ways.
std::string way_of_new_connection(const World& world, const Place& client, const Place& server, int family = AF_INET);

}  // namespace underpass::test
