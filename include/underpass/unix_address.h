// SPDX-License-Identifier: Apache-2.0
// A path as a unix socket's address.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>

#include "underpass/result.h"

namespace underpass {

inline Result<sockaddr_un> to_unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty()) return fail("path of a unix socket: is empty");
  if (path.size() >= sizeof(address.sun_path)) {
    return fail(path + ": too long for a unix socket (at most " + std::to_string(sizeof(address.sun_path) - 1) +
                " bytes): choose a shorter --run-dir");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

}  // namespace underpass
