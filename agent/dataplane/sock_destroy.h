// SPDX-License-Identifier: Apache-2.0
// Ends a TCP connection from outside, as `ss -K` does: SOCK_DESTROY over sock_diag (Linux 4.5,
// CONFIG_INET_DIAG_DESTROY). The application sees ECONNABORTED, its peer a RST.
#pragma once

#include "underpass/abi.h"
#include "underpass/result.h"

namespace underpass::dataplane {

// The socket of `local`, found by addresses and cookie in its own namespace. A socket that is gone already is no error.
Result<void> destroy_socket(int netns_fd, const up_end& local, const up_end& remote);

}  // namespace underpass::dataplane
