// SPDX-License-Identifier: Apache-2.0
// The kernel's side of tunnels: pods "a" and "b" of this node, and "far" of another, which is what it is by its object
// alone: who listens and dials there is the test. The worker of "shop" does what it is told over the connections that
// it takes (test/netns/hostile/hostile_worker.cpp), and so is each tunnel's other end.
#pragma once

#include <string>

#include "test/netns/hostile/stage.h"
#include "test/support/world.h"

namespace underpass::test {

class TunnelScene : public World {
 public:
  // `settings` of the namespace: without capture nothing but tunnels needs a worker.
  explicit TunnelScene(const Settings& settings = {.mesh = "enabled", .short_circuit = "off"});

  // A pod of another node, of namespace shop.
  void put_far(const Strings& annotations = {}) const;
  void put_peer_authentication(const std::string& name, const std::string& spec) const;
  void wait_in_hands(const std::string& name) const;
  // The row of up_remotes; waits for it to be so.
  void wait_remote(const std::string& ip, std::uint16_t port, up_tunnel tunnel) const;
  // Ends the worker, and its agent before that, so that there is no other.
  void end_worker();
  // {source: {…}, destination: {…}, …} of the connection with this client, as `connections` tells it.
  [[nodiscard]] boost::json::object told(const Address& client) const;
};

// Refused at once, as a port on which nobody listens.
bool is_refused_at(const Place& from, const Address& to);

}  // namespace underpass::test
