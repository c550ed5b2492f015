// SPDX-License-Identifier: Apache-2.0
// Real TCP sockets between places, as a test needs them one by one: listeners on port 0, connected pairs, and the few
// getsockopt() values that tests look at.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "test/support/eventually.h"
#include "test/support/pod_net.h"
#include "underpass/unique_fd.h"

namespace underpass::test {

// Sets an int option; throws with its number where the kernel refuses.
void set_option(int fd, int level, int option, int value);
int get_option(int fd, int level, int option);
void set_nonblocking(int fd, bool on);
std::uint64_t socket_cookie(int fd);
Address local_address(int fd);

// A socket to be prepared before it is used: options that must be set before listen() or connect().
using Prepare = std::function<void(int fd)>;

// A listener of `place` on its address of `family`, on `port` (0: any). Not accepted connections wait, up to 512.
UniqueFd listen_at(const Place& place, int family, const Prepare& prepare = {}, std::uint16_t port = 0);
// One connection of the listener; throws when none comes before the deadline.
UniqueFd accept_from(int listener, milliseconds deadline = seconds(20));
// Connects a socket of `place`; throws when the connection is refused or takes longer than the kernel's own patience.
UniqueFd connect_from(const Place& place, const Address& to, const Prepare& prepare = {});

// One established connection.
struct Pair {
  UniqueFd client;
  UniqueFd server;
};
Pair make_pair_between(const Place& client, const Place& server, int family, const Prepare& prepare_client = {},
                       const Prepare& prepare_server = {});

// Exactly these bytes, however many calls it takes; throws on an error or an early end.
void send_all(int fd, const std::string& bytes);
std::string receive_exactly(int fd, std::size_t count, milliseconds deadline = seconds(20));
// Can be read now or before the deadline.
[[nodiscard]] bool readable(int fd, milliseconds deadline);
// The next recv() fails, before the deadline: no byte, and no end of stream.
bool ends_with_error(int fd, milliseconds deadline = seconds(5));

}  // namespace underpass::test
