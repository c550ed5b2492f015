// SPDX-License-Identifier: Apache-2.0
// Pods whose connections go through a worker: "a" and "b" of namespace "shop" (annotation capture: always), and "out",
// outside the mesh.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "test/support/sockets.h"
#include "test/support/world.h"

namespace underpass::test {

inline constexpr int kFamilies[] = {AF_INET, AF_INET6};

class Scene {
 public:
  // `mode`: annotation short-circuit of the namespace. Both pods are in their worker's hands.
  explicit Scene(const std::string& mode = "off", const Agent::Options& options = {},
                 const std::string& mesh_spec = "");

  [[nodiscard]] const Place& at(const std::string& name) const { return world.at(name); }
  // Waits; throws with the agent's log.
  void wait_captured(const std::string& name) const;
  void wait_not_captured(const std::string& name) const;
  // Another pod of this namespace, captured unless `settings` say otherwise.
  const Place& add(const std::string& ns, const std::string& name, const Settings& settings);

  // The processes of the worker with this name, as the machine numbers them.
  [[nodiscard]] std::vector<pid_t> worker(const std::string& name = "shop") const;
  // The one process of it; throws when there is none or more.
  [[nodiscard]] pid_t worker_pid(const std::string& name = "shop") const;

  World world;

 private:
  [[nodiscard]] bool is_captured(const std::string& name) const;
};

// The objects of a namespace that is captured.
Settings captured(const std::string& mode = "off");

// Lines of the access log that the workers of this agent wrote so far.
std::vector<std::string> access_log(const Scene& scene);

// What a socket of the application is told about its ends.
Address peer_of(int fd);

struct Accepted {
  UniqueFd fd;
  Address said;  // of its peer, by accept() itself
};
Accepted accept_and_hear(int listener);

}  // namespace underpass::test
