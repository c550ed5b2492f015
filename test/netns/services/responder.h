// SPDX-License-Identifier: Apache-2.0
// A backend of a Service: says its name at the begin of every TCP connection and returns what it gets, and answers
// every datagram with its name.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "test/support/pod_net.h"
#include "underpass/unique_fd.h"

namespace underpass::test {

class Responder {
 public:
  // On the place's addresses of both families, TCP and UDP. Without a name it says the address it was reached at.
  Responder(const Place& place, std::uint16_t port, std::string name);
  ~Responder();
  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;

  // Connections and datagrams that came.
  [[nodiscard]] std::uint64_t served() const { return served_.load(); }

 private:
  void run();
  void accept_all(int listener);
  void answer_all(int socket);
  static bool echo(int connection);
  [[nodiscard]] std::string name_of(int connection) const;

  const std::string name_;
  UniqueFd stop_;
  std::vector<UniqueFd> listeners_;
  std::vector<UniqueFd> datagrams_;
  std::list<UniqueFd> connections_;
  std::atomic<std::uint64_t> served_ = 0;
  std::thread thread_;
};

}  // namespace underpass::test
