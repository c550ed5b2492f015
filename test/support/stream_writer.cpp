// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "test/support/stream_state.h"

namespace underpass::test {

void pause_sometimes(Random& random, std::uint64_t one_in) {
  if (!random.one_in(one_in)) return;
  if (random.one_in(8)) {
    ::poll(nullptr, 0, 1);
  } else {
    ::sched_yield();
  }
}

StreamWriter::StreamWriter(StreamState& state, int end, int fd)
    : state_(state),
      end_(end),
      fd_(fd),
      plan_(state.plan.direction[end]),
      random_(Random::mix(state.plan.seed * 4 + static_cast<std::uint64_t>(end))) {}

// 0: there is none left.
std::uint64_t StreamWriter::next_message() {
  const std::uint64_t sent = state_.sent[end_].load();
  if (plan_.bytes == kUntilStopped) return state_.stop.load() ? 0 : random_.log_uniform(1, plan_.max_message);
  return std::min(plan_.bytes - sent, random_.log_uniform(1, plan_.max_message));
}

void StreamWriter::run() {
  const bool keeps_last = state_.plan.closes_last == end_;
  while (!state_.failed.load() && !ended_early_) {
    const std::uint64_t size = next_message();
    if (size == 0) return;
    const bool last = plan_.bytes != kUntilStopped && state_.sent[end_].load() + size == plan_.bytes;
    if (keeps_last && last) return;
    send_message(size);
    pause_sometimes(random_, plan_.pause_one_in);
  }
}

void StreamWriter::finish() {
  const std::uint64_t left = plan_.bytes == kUntilStopped ? plan_.max_message : plan_.bytes - state_.sent[end_].load();
  if (left > 0 && !state_.failed.load() && !ended_early_) send_message(left);
}

void StreamWriter::fast_open(const sockaddr* to, socklen_t size) {
  const std::uint64_t first = std::min<std::uint64_t>(1000, std::min(plan_.bytes, plan_.max_message));
  buffer_.resize(first);
  state_.payload[end_].fill(0, buffer_);
  const ssize_t n = ::sendto(fd_, buffer_.data(), buffer_.size(), MSG_FASTOPEN | MSG_NOSIGNAL, to, size);
  if (n < 0) return state_.fail(std::string("connect with data: ") + std::strerror(errno));
  state_.sent[end_] += static_cast<std::uint64_t>(n);
}

void StreamWriter::send_message(std::uint64_t size) {
  const std::uint64_t offset = state_.sent[end_].load();
  buffer_.resize(size);
  state_.payload[end_].fill(offset, buffer_);
  const std::size_t real = spoil(offset, size);
  // Counted before it is sent: a reader must never have received more than was sent.
  state_.sent[end_] += size;
  static constexpr std::uint64_t kFlavours = 6;
  const std::uint64_t flavour = random_.below(kFlavours);
  const bool sent = flavour == 0   ? send_by_file(buffer_.data(), real)
                    : flavour == 1 ? send_part(buffer_.data(), real, MSG_MORE)
                                   : send_part(buffer_.data(), real, 0);
  if (sent || state_.failed.load()) return;
  state_.fail(std::string(end_ == kClient ? "client" : "server") + " sends at " + std::to_string(offset) + ": " +
              std::strerror(errno));
}

bool StreamWriter::wait_writable() const {
  pollfd waiting{fd_, POLLOUT, 0};
  while (!state_.failed.load()) {
    if (::poll(&waiting, 1, 500) == 1) return true;
  }
  errno = ECANCELED;
  return false;
}

// One call for the whole message, of a kind chosen by chance; what the kernel did not take goes by further calls.
bool StreamWriter::send_part(const char* data, std::size_t size, int flags) {
  while (size > 0) {
    const std::size_t half = random_.below(size + 1);
    iovec parts[2] = {{const_cast<char*>(data), half}, {const_cast<char*>(data) + half, size - half}};
    ssize_t n = -1;
    switch (flags != 0 ? 0 : random_.below(4)) {
      case 0:
        n = ::send(fd_, data, size, flags | MSG_NOSIGNAL);
        break;
      case 1:
        n = ::write(fd_, data, size);
        break;
      case 2:
        n = ::writev(fd_, parts, 2);
        break;
      default: {
        msghdr message{};
        message.msg_iov = parts;
        message.msg_iovlen = 2;
        n = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
      }
    }
    if (n < 0 && errno == EAGAIN) {
      if (!wait_writable()) return false;
      continue;
    }
    if (n < 0) return false;
    data += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

bool StreamWriter::send_by_file(const char* data, std::size_t size) {
  if (!file_) file_.reset(::memfd_create("stream", MFD_CLOEXEC));
  if (::ftruncate(file_.get(), 0) != 0 || ::pwrite(file_.get(), data, size, 0) != static_cast<ssize_t>(size))
    return false;
  for (off_t at = 0; at < static_cast<off_t>(size);) {
    const ssize_t n = ::sendfile(fd_, file_.get(), &at, size - static_cast<std::size_t>(at));
    if (n < 0 && errno == EAGAIN) {
      if (!wait_writable()) return false;
      continue;
    }
    if (n < 0) return false;
  }
  return true;
}

// Makes the planned mistake if this message holds it; returns how many bytes of the message are to be sent.
std::size_t StreamWriter::spoil(std::uint64_t offset, std::size_t size) {
  const Fault& fault = state_.plan.fault;
  if (fault.kind == Fault::Kind::kNone || fault.direction != end_ || fault.offset < offset ||
      fault.offset >= offset + size) {
    return size;
  }
  const std::size_t at = fault.offset - offset;
  switch (fault.kind) {
    case Fault::Kind::kFlipByte:
      buffer_[at] = static_cast<char>(buffer_[at] ^ 1);
      break;
    case Fault::Kind::kDropByte:
      buffer_.erase(at, 1);
      return size - 1;
    case Fault::Kind::kRepeatByte:
      buffer_.insert(at, 1, buffer_[at]);
      return size + 1;
    case Fault::Kind::kSwapHalves:
      std::rotate(buffer_.begin(), buffer_.begin() + static_cast<long>(size / 2), buffer_.end());
      break;
    case Fault::Kind::kEndEarly:
      ended_early_ = true;
      return at;
    case Fault::Kind::kFallSilent:
      while (!state_.failed.load()) ::poll(nullptr, 0, 10);
      return at;
    case Fault::Kind::kNone:
      break;
  }
  return size;
}

}  // namespace underpass::test
