// SPDX-License-Identifier: Apache-2.0
// Listening sockets that an agent hands to the one that follows it on its node: whoever connects in between waits in
// the backlog and is never refused. They travel beside the answer to the admin command `retire` (SCM_RIGHTS), in the
// order of the names in it.
#pragma once

#include <sys/socket.h>

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "underpass/unique_fd.h"

namespace underpass::ipc {

inline constexpr std::string_view kAdminListener = "admin";
inline constexpr std::string_view kCniListener = "cni";
inline constexpr std::string_view kMetricsListener = "metrics";
inline constexpr std::string_view kReadyListener = "ready";

using Listeners = std::map<std::string, UniqueFd, std::less<>>;

inline int socket_option(int fd, int name) {
  int value = -1;
  socklen_t size = sizeof(value);
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

// None where it was not handed over.
inline UniqueFd take_listener(Listeners& listeners, std::string_view name) {
  const auto found = listeners.find(name);
  return found == listeners.end() ? UniqueFd() : std::exchange(found->second, {});
}

}  // namespace underpass::ipc
