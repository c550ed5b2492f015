// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/http_socket.h"

#include <cerrno>
#include <string_view>
#include <utility>

#include "userspace_proxy/net/non_blocking.h"

namespace underpass::session {
namespace {

// Blocks that are read before others have their turn.
constexpr int kTurn = 8;
constexpr std::uint32_t kGone = EPOLLERR | EPOLLHUP;

}  // namespace

bool HttpSocket::attach(std::unique_ptr<net::Transport> transport, std::uint32_t events, net::Watcher& watcher) {
  watcher_ = &watcher;
  transport_ = std::move(transport);
  watched_ = events;
  return transport_->watch(events, watcher);
}

std::unique_ptr<net::Transport> HttpSocket::release() {
  transport_->unwatch();
  return std::move(transport_);
}

void HttpSocket::note(std::uint32_t events) {
  if ((events & (EPOLLIN | EPOLLRDHUP | kGone)) != 0) readable_ = true;
  if ((events & (EPOLLOUT | kGone)) != 0) writable_ = true;
}

bool HttpSocket::flush(http::Codec& codec, Step& step) {
  for (auto out = codec.output(); transport_ && writable_ && !out.empty(); out = codec.output()) {
    const ssize_t sent = transport_->send(out.data(), out.size());
    if (sent >= 0) {
      bytes_sent_ += static_cast<std::uint64_t>(sent);
      codec.sent(static_cast<std::size_t>(sent));
      step.moved = true;
    } else if (net::would_block(errno)) {
      writable_ = false;
      // Most peers take whatever comes, so that asking to be told is worth a call when one does not.
      if ((watched_ & EPOLLOUT) == 0) rewatch();
    } else if (errno != EINTR) {
      step = {.outcome = Outcome::kFailed, .error = errno, .moved = step.moved};
      return false;
    }
  }
  return transport_ != nullptr || fail_closed(step);
}

// What the codec told has closed it.
bool HttpSocket::fail_closed(Step& step) {
  step = {.outcome = Outcome::kFailed, .error = EBADF, .moved = step.moved};
  return false;
}

bool HttpSocket::read_once(http::Codec& codec, BufferPool& buffers, Step& step) {
  if (!transport_) return fail_closed(step);
  auto block = buffers.take();
  const ssize_t got = transport_->receive(block.get(), BufferPool::kBlock);
  bool fine = true;
  if (got > 0) {
    step.moved = heard_any_ = true;
    bytes_received_ += static_cast<std::uint64_t>(got);
    const std::string_view bytes(block.get(), static_cast<std::size_t>(got));
    const auto taken = codec.receive(bytes);
    if (taken < bytes.size()) rest_ = bytes.substr(taken);
  } else if (got == 0) {
    step.moved = ended_ = true;
    readable_ = false;
  } else if (net::would_block(errno)) {
    readable_ = false;
  } else if (errno != EINTR) {
    step = {.outcome = Outcome::kFailed, .error = errno, .moved = step.moved};
    fine = false;
  }
  buffers.give_back(std::move(block));
  return fine;
}

HttpSocket::Step HttpSocket::pump(http::Codec& codec, BufferPool& buffers) {
  Step step;
  for (int turn = 0; turn < kTurn; ++turn) {
    if (!rest_.empty() && codec.wants_input()) {
      const auto taken = codec.receive(rest_);
      rest_.erase(0, taken);
    }
    if (rest_.empty() && ended_ && !told_end_) {
      told_end_ = true;
      codec.receive_end();
    }
    if (!flush(codec, step)) return step;
    if (!rest_.empty() || ended_ || !readable_ || !codec.wants_input()) break;
    if (!read_once(codec, buffers, step)) return step;
  }
  if (!flush(codec, step)) return step;
  if (codec.is_silent() && !codec.is_over() && codec.output().empty()) shut_write();
  if (codec.is_over() && codec.output().empty()) {
    step.outcome = Outcome::kEnded;
  } else if ((!rest_.empty() || (readable_ && !ended_)) && codec.wants_input()) {
    step.outcome = Outcome::kMore;
    rewatch();
  }
  return step;
}

void HttpSocket::hear_out(http::Codec& codec, BufferPool& buffers) {
  Step step;
  readable_ = true;
  for (int turn = 0; turn < kTurn && readable_ && !ended_ && rest_.empty() && codec.wants_input(); ++turn)
    if (!read_once(codec, buffers, step)) return;
}

bool HttpSocket::discard(BufferPool& buffers) {
  auto block = buffers.take();
  for (int turn = 0; turn < kTurn && readable_ && !ended_; ++turn) {
    const ssize_t got = transport_->receive(block.get(), BufferPool::kBlock);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && net::would_block(errno))
      readable_ = false;
    else if (got <= 0)
      ended_ = true;
  }
  buffers.give_back(std::move(block));
  if (readable_ && !ended_) rewatch();
  return !ended_;
}

// Telling epoll again makes it tell us again.
void HttpSocket::rewatch() {
  watched_ |= EPOLLOUT;
  (void)transport_->rewatch(watched_, *watcher_);
}

void HttpSocket::shut_write() {
  if (!std::exchange(is_shut_, true)) (void)transport_->shut_write();
}

void HttpSocket::close(bool in_order) {
  if (!transport_) return;
  transport_->close(in_order);
  transport_.reset();
}

}  // namespace underpass::session
