// SPDX-License-Identifier: Apache-2.0
// Ends a socket from outside, as `ss -K` does: SOCK_DESTROY over sock_diag (Linux 4.5,
// CONFIG_INET_DIAG_DESTROY). The application sees ECONNABORTED, a TCP peer a RST.
#pragma once

#include "underpass/abi.h"
#include "underpass/result.h"

namespace underpass::dataplane {

// The socket of `local`, found by addresses and cookie in its own namespace. A socket that is gone already is no error.
Result<void> destroy_socket(int netns_fd, const up_end& local, const up_end& remote);

// The same for a datagram socket that is connected: its next call fails (ECONNABORTED), and it is not connected any
// more.
Result<void> destroy_socket(int netns_fd, const up_udp_socket& socket);

}  // namespace underpass::dataplane
