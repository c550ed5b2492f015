// SPDX-License-Identifier: Apache-2.0
// What tests of policy have in common: namespace "shop" with the server "b", whom only the service account shop/web may
// dial. "web" has it, "evil" is of the mesh and has another one, "out" is outside the mesh.
#pragma once

#include <string>

#include "test/support/sockets.h"
#include "test/support/world.h"

namespace underpass::test {

inline constexpr int kFamilies[] = {AF_INET, AF_INET6};

// An AuthorizationPolicy of namespace "shop"; `spec` is JSON.
std::string policy_of(const std::string& name, const std::string& spec);
// "who" is an ALLOW of these: "\"web\", \"api\"".
std::string allow_accounts(const std::string& list);
std::string allow_account(const std::string& account);

class Scene {
 public:
  // `mode`: annotation short-circuit of the namespace. The policy is in force.
  explicit Scene(const std::string& mode = "off", const Agent::Options& options = {});

  // Puts a pod's object with this account.
  void put(const std::string& name, const std::string& account, const Settings& settings = {}) const;
  // Writes the policy "who" anew, and waits until it is in force for both.
  void allow(const std::string& account) const;
  [[nodiscard]] const Place& at(const std::string& name) const { return world.at(name); }

  World world;
};

// How a connect() of a socket of `from` ends; empty: well.
std::string dial(const Place& from, const Address& to, const Prepare& prepare = {});
bool is_refused(const Place& from, const Address& to, const Prepare& prepare = {});
// Connects, is accepted by `listener`, and bytes go both ways.
void check_passes(const Place& from, int listener, const Prepare& prepare = {});
// Not accepted by anybody, and nothing waits at the listener.
void check_refused(const Place& from, int listener, const Prepare& prepare = {});

// Takes whoever waits at the listener, and lets them go.
void empty_queue(int listener);

// Binds to this address and port before connect(), as somebody would who re-uses a 4-tuple.
Prepare bound_to(const std::string& ip, std::uint16_t port);

// The identity that `underpassctl connections` tells of who dialled from this address; empty: none.
std::string identity_of_client(const Scene& scene, const Address& client);
Address peer_address(int fd);

// It is over, whatever there is still to be read.
bool hangs_up(int fd, milliseconds deadline = seconds(5));

}  // namespace underpass::test
