// SPDX-License-Identifier: Apache-2.0
// A real admin server on a thread of its own, and the rude clients that speak to it.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "agent/admin/server.h"
#include "test/support/io_thread.h"
#include "test/support/temp_folder.h"
#include "underpass/unique_fd.h"
#include "underpass/unix_address.h"

namespace underpass::test {

class AdminServer {
 public:
  explicit AdminServer(admin::Handler handler, admin::ServerLimits limits = {})
      : AdminServer(std::make_unique<TempFolder>(), std::move(handler), limits) {}
  ~AdminServer() { stop(); }
  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

  void stop() {
    thread.run([this] { server_.reset(); });
  }
  [[nodiscard]] std::string run_dir() const { return folder->path().string(); }
  [[nodiscard]] std::string path() const { return admin::socket_path(run_dir()); }

  std::unique_ptr<TempFolder> folder;
  IoThread thread;

 private:
  AdminServer(std::unique_ptr<TempFolder> made, admin::Handler handler, admin::ServerLimits limits)
      : folder(std::move(made)) {
    auto server = thread.run([&] { return admin::Server::listen(thread.io, path(), std::move(handler), limits); });
    if (!server) throw std::runtime_error(server.error().message);
    server_ = std::move(*server);
  }

  std::unique_ptr<admin::Server> server_;
};

// A client that does as it is told, byte by byte. Every wait ends at the deadline, by an exception.
class RawClient {
 public:
  explicit RawClient(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval limit{.tv_sec = kDeadline.count(), .tv_usec = 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    const sockaddr_un address = to_unix_address(path).value();
    require(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0, "connect " + path);
  }

  void send(std::string_view text) {
    require(::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()), "send");
  }
  void shut_writing() { require(::shutdown(fd_.get(), SHUT_WR) == 0, "shutdown"); }
  void close() { fd_.reset(); }

  // The next line without its line feed; nothing at the end of the stream (a reset is an end too).
  std::optional<std::string> read_line() {
    for (;;) {
      if (const auto end = received_.find('\n'); end != std::string::npos) {
        std::string line = received_.substr(0, end);
        received_.erase(0, end + 1);
        return line;
      }
      char chunk[4096];
      const ssize_t got = ::recv(fd_.get(), chunk, sizeof(chunk), 0);
      if (got < 0 && errno == ECONNRESET) return std::nullopt;
      require(got >= 0, "recv");
      if (got == 0) return std::nullopt;
      received_.append(chunk, static_cast<std::size_t>(got));
    }
  }

  std::optional<std::string> ask(const std::string& line) {
    send(line + "\n");
    return read_line();
  }

  // Waits until the server has closed the connection, without reading anything.
  bool is_hung_up() {
    pollfd wait{.fd = fd_.get(), .events = 0, .revents = 0};
    return ::poll(&wait, 1, static_cast<int>(kDeadline.count()) * 1000) == 1 && (wait.revents & POLLHUP) != 0;
  }

 private:
  UniqueFd fd_;
  std::string received_;
};

}  // namespace underpass::test
