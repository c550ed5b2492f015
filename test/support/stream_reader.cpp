// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "test/support/stream_state.h"

namespace underpass::test {

StreamReader::StreamReader(StreamState& state, int end, int fd)
    : state_(state),
      direction_(1 - end),
      fd_(fd),
      wait_(state.plan.wait[end]),
      plan_(state.plan.direction[direction_]),
      random_(Random::mix(state.plan.seed * 4 + 2 + static_cast<std::uint64_t>(end))) {
  if (wait_ != Wait::kEpollLevel && wait_ != Wait::kEpollEdge) return;
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | (wait_ == Wait::kEpollEdge ? EPOLLET : 0);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd_, &event);
}

void StreamReader::run() {
  const char* who = direction_ == kClient ? "server" : "client";
  while (!state_.failed.load()) {
    const std::size_t chunk = random_.log_uniform(1, plan_.max_chunk);
    const ssize_t n = read_some(chunk);
    if (n > 0) {
      if (!enough(chunk, static_cast<std::size_t>(n)) || !check(buffer_.data(), static_cast<std::size_t>(n))) return;
      pause_sometimes(random_, plan_.pause_one_in);
    } else if (n == 0) {
      const std::uint64_t sent = state_.sent[direction_].load();
      const std::uint64_t received = state_.received[direction_].load();
      if (sent != received || (plan_.bytes != kUntilStopped && received != plan_.bytes)) {
        state_.fail(std::string(who) + " reads the end of the stream after " + std::to_string(received) + " bytes, " +
                    std::to_string(sent) + " were sent");
      }
      return;
    } else if (errno != EAGAIN || !wait_readable()) {
      if (!state_.failed.load()) {
        state_.fail(std::string(who) + " reads at " + std::to_string(state_.received[direction_].load()) + ": " +
                    std::strerror(errno));
      }
      return;
    }
  }
}

// Only an event lets it read on: a wakeup that is lost leaves the stream stuck, for the watchdog to see.
bool StreamReader::wait_readable() {
  if (wait_ == Wait::kBlocking) {
    ++state_.false_eagain;
    return true;
  }
  while (!state_.failed.load()) {
    if (wait_ == Wait::kPoll) {
      pollfd waiting{fd_, POLLIN, 0};
      if (::poll(&waiting, 1, 500) == 1) return true;
    } else {
      epoll_event event{};
      if (::epoll_wait(epoll_.get(), &event, 1, 500) == 1) return true;
    }
  }
  return false;
}

ssize_t StreamReader::read_some(std::size_t chunk) {
  if (buffer_.size() < chunk) buffer_.resize(chunk);
  if (state_.received[direction_].load() >= plan_.wait_all_from) return ::recv(fd_, buffer_.data(), chunk, MSG_WAITALL);
  const std::size_t half = random_.below(chunk + 1);
  iovec parts[2] = {{buffer_.data(), half}, {buffer_.data() + half, chunk - half}};
  switch (random_.below(5)) {
    case 0:
      return ::recv(fd_, buffer_.data(), chunk, 0);
    case 1:
      return ::read(fd_, buffer_.data(), chunk);
    case 2:
      return ::readv(fd_, parts, 2);
    case 3: {
      msghdr message{};
      message.msg_iov = parts;
      message.msg_iovlen = 2;
      return ::recvmsg(fd_, &message, 0);
    }
    default: {
      if (peeked_.size() < chunk) peeked_.resize(chunk);
      const ssize_t seen = ::recv(fd_, peeked_.data(), chunk, MSG_PEEK);
      if (seen <= 0) return seen;
      const ssize_t n = ::recv(fd_, buffer_.data(), static_cast<std::size_t>(seen), 0);
      if (n <= 0 || std::memcmp(peeked_.data(), buffer_.data(), static_cast<std::size_t>(n)) == 0) {
        if (n > 0 || state_.failed.load()) return n;
        state_.fail("MSG_PEEK showed " + std::to_string(seen) + " bytes at " +
                    std::to_string(state_.received[direction_].load()) + ", recv() returned " + std::to_string(n));
        return n;
      }
      state_.fail("MSG_PEEK at " + std::to_string(state_.received[direction_].load()) + " showed " +
                  hex({peeked_.data(), static_cast<std::size_t>(n)}) + "…, recv() returned " +
                  hex({buffer_.data(), static_cast<std::size_t>(n)}) + "…");
      return -1;
    }
  }
}

// Did the read give as much as its flags and the socket's options promise?
bool StreamReader::enough(std::size_t chunk, std::size_t got) {
  const std::uint64_t received = state_.received[direction_].load();
  const std::uint64_t possible = std::min<std::uint64_t>(chunk, plan_.bytes - received);
  const bool all = plan_.wait_all_from == 0;
  const std::uint64_t least =
      all ? possible : std::min<std::uint64_t>(possible, static_cast<std::uint64_t>(plan_.low_water));
  if (got >= least) return true;
  state_.fail("a read of " + std::to_string(chunk) + (all ? " with MSG_WAITALL" : "") + " at byte " +
              std::to_string(received) + " gave " + std::to_string(got) + ", expected " + std::to_string(least));
  return false;
}

bool StreamReader::check(const char* data, std::size_t size) {
  const std::uint64_t offset = state_.received[direction_].load();
  const Payload& payload = state_.payload[direction_];
  const std::optional<std::size_t> wrong = payload.first_difference(offset, {data, size});
  if (!wrong) {
    state_.received[direction_] += size;
    return true;
  }
  std::string expected(std::min<std::size_t>(16, size - *wrong), '\0');
  payload.fill(offset + *wrong, expected);
  const std::span<const char> got(data + *wrong, expected.size());
  std::string text = std::string(direction_ == kClient ? "client → server" : "server → client") + ": byte " +
                     std::to_string(offset + *wrong) + " is wrong: expected " + hex(expected) + ", got " + hex(got);
  if (const auto place = got.size() == 16 ? payload.find(got) : std::nullopt) {
    const auto away = static_cast<std::int64_t>(*place - (offset + *wrong));
    text += ", which stands at byte " + std::to_string(*place) + " (" + std::to_string(away) + ")";
  } else if (got.size() == 16 && state_.payload[1 - direction_].find(got)) {
    text += ", which is of the other direction";
  }
  text += "; " + std::to_string(state_.sent[direction_].load()) + " bytes were sent by then";
  state_.fail(text);
  return false;
}

}  // namespace underpass::test
