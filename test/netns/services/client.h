// SPDX-License-Identifier: Apache-2.0
// What an application sees of a Service: whether it is answered, by whom, and from which address.
#pragma once

#include <set>
#include <string>

#include "test/support/eventually.h"
#include "test/support/pod_net.h"
#include "underpass/unique_fd.h"

namespace underpass::test {

struct Answer {
  int error = 0;        // errno of the call that failed; ETIMEDOUT: nothing came
  std::string backend;  // who answered
  std::string peer;     // TCP and connected UDP: getpeername(); else recvmsg()'s source

  [[nodiscard]] std::string to_string() const;
};

// A connection that stands, and what the backend said of itself.
struct Connection {
  UniqueFd fd;
  Answer answer;
};

Connection open_tcp(const Place& from, const Address& to, milliseconds deadline = seconds(5));
// The same, closed again.
Answer ask_tcp(const Place& from, const Address& to, milliseconds deadline = seconds(5));

UniqueFd udp_socket(const Place& from, int family);
// Connects the socket: 0 or errno.
int connect_udp(const UniqueFd& fd, const Address& to);
// One datagram of a connected socket and the answer.
Answer ask_connected(const UniqueFd& fd, milliseconds deadline = seconds(5));
// sendto() and recvmsg() of a socket that is not connected.
Answer ask_udp(const UniqueFd& fd, const Address& to, milliseconds deadline = seconds(5));

// Who answers `count` new TCP connections; what failed is named by its error.
std::set<std::string> who_answers(const Place& from, const Address& to, int count = 40);

}  // namespace underpass::test
