// SPDX-License-Identifier: Apache-2.0
// A node on which the worker of namespace "shop" is hostile (hostile_worker.cpp) and that of "bank", whose pod is "c",
// is the real one; and how a test talks to the hostile one: over connections that it takes.
#pragma once

#include <string>

#include "test/netns/proxy/scene.h"

namespace underpass::test {

// A connection of a pod's that the hostile worker has accepted.
class Dialogue {
 public:
  // Whoever is at `to` hears nothing of it: the worker keeps the connection.
  Dialogue(const Place& from, const Address& to) : fd_(connect_from(from, to)) {}

  // A command and its answer; throws when none comes.
  [[nodiscard]] std::string ask(const std::string& command) const;
  // A command that is not answered.
  void tell(const std::string& command) const { send_all(fd_.get(), command + "\n"); }
  // By which the programs know it.
  [[nodiscard]] std::uint64_t id() const { return socket_cookie(fd_.get()); }
  [[nodiscard]] int fd() const { return fd_.get(); }
  void close() { fd_.reset(); }

 private:
  UniqueFd fd_;
};

// "dial 4 …" for `to`, with a new socket of the pod that the connection was accepted in, or as `rest` says.
struct Dial {
  std::string ip;
  std::uint16_t port = 0;
  std::string carries = "own";
  std::string how = "connect";
  std::string netns = "own";
  std::string which = "new";
  int socket_family = 0;  // 0: that of the address
  std::string client{};   // "IP PORT": of whom it is said to be

  [[nodiscard]] std::string to_string() const;
};
Dial dial_to(const Address& to);

class Stage {
 public:
  explicit Stage(const Agent::Options& options = {});

  [[nodiscard]] const Place& at(const std::string& name) const { return scene.at(name); }
  // The worker of "bank" still carries connections of its pod.
  void check_bank_is_served() const;

  Scene scene;
};

// "10.77.0.1" of "10.77.0.1:80".
std::string ip_of(const Address& address);

}  // namespace underpass::test
