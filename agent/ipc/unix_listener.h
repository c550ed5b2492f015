// SPDX-License-Identifier: Apache-2.0
// A listening unix socket at a path that an earlier process may have left behind. A stale one is replaced, a live one
// is respected, one that was handed over listens on, and at no time can anyone but the owner connect.
#pragma once

#include <sys/types.h>

#include <string>

#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace underpass::ipc {

enum class SocketType { kStream, kPackets };  // SOCK_STREAM, SOCK_SEQPACKET

class UnixListener {
 public:
  // The socket is non-blocking and 0600; missing folders of `path` are made (0755). `handed`: by the process that
  // listened there; closed where it is another socket than what is asked for.
  static Result<UnixListener> bind(const std::string& path, SocketType type = SocketType::kStream,
                                   UniqueFd handed = {});

  UnixListener(UnixListener&&) = default;
  UnixListener& operator=(UnixListener&&) = default;

  // Gives the descriptor away; the path stays this object's to remove.
  [[nodiscard]] int release_fd() { return fd_.release(); }

  // Removes the socket file if it is still the one that was made here.
  void remove_path() const;
  // The same question: a process that is handed the descriptor may have the path too, which then stays.
  [[nodiscard]] bool give_path_away();

 private:
  [[nodiscard]] bool owns_path() const;
  UnixListener(UniqueFd fd, std::string path, dev_t device, ino_t inode)
      : fd_(std::move(fd)), path_(std::move(path)), device_(device), inode_(inode) {}

  UniqueFd fd_;
  std::string path_;
  dev_t device_;
  ino_t inode_;
};

}  // namespace underpass::ipc
