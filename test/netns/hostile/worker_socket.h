// SPDX-License-Identifier: Apache-2.0
// What a hostile worker does with its sockets: dials in every way that its system calls leave it, to wherever it is
// told. Each try says how it ended, by the name of the error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "underpass/unique_fd.h"

namespace underpass::test {

// "EPERM"; "ok" for 0.
std::string error_name(int error);
// "ok", or the name of errno.
std::string outcome(bool done);

struct DialTry {
  std::optional<std::uint64_t> carries;  // announced first, if any
  bool errand = false;                   // announced instead: that it carries nothing
  std::string client_ip;                 // said of whom it is (UP_SO_CLIENT), if anybody
  std::uint16_t client_port = 0;
  std::string ip;
  std::uint16_t port = 0;
  // "connect"; "fastopen", "sendto", "sendmsg": by a send that names the address; "unspec": after it was disconnected.
  std::string how = "connect";
};

// "announced=EPERM claimed=ok connected=EPERM"; of what is not announced or claimed only the rest. Waits for the
// connection to stand.
std::string try_dial(int fd, const DialTry& what);

}  // namespace underpass::test
