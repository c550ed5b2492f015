// SPDX-License-Identifier: Apache-2.0
#include "agent/admin/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <string_view>

#include "agent/admin/protocol.h"
#include "underpass/packet_socket.h"
#include "underpass/unix_address.h"

namespace underpass::admin {
namespace {

using Clock = std::chrono::steady_clock;
using Kind = CallError::Kind;

// More than the largest table makes; a stranger on the socket cannot fill our memory.
constexpr std::size_t kLongestAnswer = 512UL * 1024 * 1024;
constexpr std::size_t kMostDescriptors = 16;

std::unexpected<CallError> error(Kind kind, std::string message) {
  return std::unexpected(CallError{kind, std::move(message)});
}

std::unexpected<CallError> error_of_errno(Kind kind, const std::string& what, int number = errno) {
  return error(kind, what + ": " + std::strerror(number));
}

std::expected<UniqueFd, CallError> connect_to(const std::string& path, std::chrono::milliseconds timeout) {
  const Result<sockaddr_un> address = to_unix_address(path);
  if (!address) return error(Kind::kUnreachable, address.error().message);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return error_of_errno(Kind::kUnreachable, "make a unix socket");

  // For a unix socket this bounds connect() too, which waits while the agent's backlog is full.
  const timeval limit{.tv_sec = std::max<time_t>(timeout.count() / 1000, 0),
                      .tv_usec = std::max<suseconds_t>(timeout.count() % 1000 * 1000, 1)};
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  while (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0) {
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return error(Kind::kNoAnswer, path + ": the agent does not accept connections");
    const bool forbidden = errno == EACCES || errno == EPERM;
    return error_of_errno(forbidden ? Kind::kForbidden : Kind::kUnreachable, "connect to " + path);
  }
  return fd;
}

std::expected<void, CallError> send_all(int fd, std::string_view data, const std::string& path) {
  while (!data.empty()) {
    const ssize_t sent = ::send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      data.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return {};  // turned away: the reason may be there to read
    } else if (errno != EINTR) {
      return error_of_errno(Kind::kNoAnswer, "send to " + path);
    }
  }
  return {};
}

// The first line, without its line feed.
std::expected<std::string, CallError> read_line(int fd, Clock::time_point deadline, const std::string& path,
                                                std::vector<UniqueFd>& descriptors) {
  std::string line;
  std::array<char, 65536> chunk;  // NOLINT(cppcoreguidelines-pro-type-member-init): recvmsg() writes before we read
  while (line.size() < kLongestAnswer) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&wait, 1, static_cast<int>(std::max<std::int64_t>(left, 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return error_of_errno(Kind::kNoAnswer, "wait for an answer on " + path);
    if (ready == 0) return error(Kind::kNoAnswer, path + ": the agent did not answer in time");

    auto part = packet_socket::receive_with_fds<kMostDescriptors>(fd, chunk, 0);
    if (part.bytes < 0 && errno != ECONNRESET) return error_of_errno(Kind::kNoAnswer, "read from " + path);
    if (part.bytes <= 0) return error(Kind::kNoAnswer, path + ": the agent hung up without an answer");
    std::ranges::move(part.fds, std::back_inserter(descriptors));
    const std::string_view received(chunk.data(), static_cast<std::size_t>(part.bytes));
    if (const std::size_t end = received.find('\n'); end != std::string_view::npos) {
      line += received.substr(0, end);
      return line;
    }
    line += received;
  }
  return error(Kind::kNoAnswer, path + ": the answer does not end");
}

Kind to_kind(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNotFound:
      return Kind::kNotFound;
    case ErrorCode::kUsage:
      return Kind::kUsage;
    case ErrorCode::kFailed:
      break;
  }
  return Kind::kFailed;
}

}  // namespace

std::expected<Handed, CallError> call_for_descriptors(const std::string& path, const boost::json::object& request,
                                                      std::chrono::milliseconds timeout) {
  const Clock::time_point deadline = Clock::now() + timeout;
  auto fd = connect_to(path, timeout);
  if (!fd) return std::unexpected(fd.error());
  if (auto sent = send_all(fd->get(), encode_request(request), path); !sent) return std::unexpected(sent.error());
  std::vector<UniqueFd> descriptors;
  auto line = read_line(fd->get(), deadline, path, descriptors);
  if (!line) return std::unexpected(line.error());

  Result<Answer> answer = decode_answer(*line);
  if (!answer) return error(Kind::kNoAnswer, path + ": " + answer.error().message);
  if (!*answer) return error(to_kind(answer->error().code), answer->error().message);
  return Handed{.answer = std::move(**answer), .descriptors = std::move(descriptors), .connection = std::move(*fd)};
}

std::expected<boost::json::value, CallError> call(const std::string& path, const boost::json::object& request,
                                                  std::chrono::milliseconds timeout) {
  auto handed = call_for_descriptors(path, request, timeout);
  if (!handed) return std::unexpected(handed.error());
  return std::move(handed->answer);
}

}  // namespace underpass::admin
