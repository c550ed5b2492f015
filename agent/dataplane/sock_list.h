// SPDX-License-Identifier: Apache-2.0
// The TCP sockets of a network namespace, as `ss -tan` shows them: sock_diag (man 7 sock_diag).
#pragma once

#include <vector>

#include "underpass/abi.h"
#include "underpass/result.h"

namespace underpass::dataplane {

struct TcpSocket {
  up_end local;   // with the socket's cookie and state; netns_cookie is 0
  up_end remote;  // address and port
};

// Of both families. Half-open ones (SYN_RECV) and those that only wait out their time (TIME_WAIT) are left out.
Result<std::vector<TcpSocket>> list_tcp_sockets(int netns_fd);

}  // namespace underpass::dataplane
