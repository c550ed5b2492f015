// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/tunnel_stream.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace underpass::session {
namespace {

constexpr std::uint32_t kGone = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLERR | EPOLLHUP;

// As ztunnel answers.
constexpr unsigned status_of(net::Transport::Answer answer) {
  switch (answer) {
    case net::Transport::Answer::kReached:
      return 200;
    case net::Transport::Answer::kDenied:
      return 401;
    case net::Transport::Answer::kUnreachable:
      break;
  }
  return 503;
}

}  // namespace

TunnelStream::TunnelStream(net::Loop& loop, Tunnel& tunnel, http::StreamId id, bool is_answered)
    : signal_(loop), tunnel_(&tunnel), id_(id), is_answered_(is_answered) {}

TunnelStream::~TunnelStream() { close(false); }

// --- readiness ------------------------------------------------------------------------------------------------------

bool TunnelStream::is_full() const {
  return tunnel_ != nullptr && tunnel_->codec().buffered(id_) > kTunnelLimits.max_buffered;
}

std::uint32_t TunnelStream::ready() const {
  if (error_ != 0) return kGone;
  std::uint32_t out = 0;
  if (!in_.empty() || ended_) out |= EPOLLIN;
  if (ended_) out |= EPOLLRDHUP;
  if (!is_full()) out |= EPOLLOUT;
  return out;
}

bool TunnelStream::watch(std::uint32_t events, net::Watcher& watcher) {
  signal_.watch(&watcher);
  signal_.raise(ready() & (events | EPOLLERR | EPOLLHUP));
  return true;
}

// --- bytes ----------------------------------------------------------------------------------------------------------

ssize_t TunnelStream::peek(char* to, std::size_t most) {
  if (!in_.empty()) {
    const auto bytes = in_.view().substr(0, most);
    std::memcpy(to, bytes.data(), bytes.size());
    return static_cast<ssize_t>(bytes.size());
  }
  if (ended_) return 0;
  errno = error_ != 0 ? error_ : EAGAIN;
  return -1;
}

ssize_t TunnelStream::receive(char* to, std::size_t most) {
  const ssize_t got = peek(to, most);
  if (got <= 0) return got;
  const auto bytes = static_cast<std::size_t>(got);
  in_.take(bytes);
  if (tunnel_ == nullptr) return got;
  tunnel_->codec().consume(id_, bytes);
  tunnel_->touch();
  return got;
}

ssize_t TunnelStream::send(const char* bytes, std::size_t size) {
  if (tunnel_ == nullptr || is_shut_) {
    errno = EPIPE;
    return -1;
  }
  if (!is_answered_ || is_full()) {
    errno = EAGAIN;
    return -1;
  }
  tunnel_->codec().send_data(id_, {bytes, size});
  if (tunnel_ != nullptr) tunnel_->touch();
  return static_cast<ssize_t>(size);
}

int TunnelStream::shut_write() {
  if (tunnel_ == nullptr) {
    errno = ENOTCONN;
    return -1;
  }
  if (std::exchange(is_shut_, true)) return 0;
  tunnel_->codec().send_end(id_, nullptr);
  if (tunnel_ != nullptr) tunnel_->touch();
  return 0;
}

int TunnelStream::take_error() { return std::exchange(error_told_, true) ? 0 : error_; }

// --- its end --------------------------------------------------------------------------------------------------------

void TunnelStream::answer(Answer answer) {
  if (std::exchange(is_answered_, true) || tunnel_ == nullptr) return;
  auto* tunnel = tunnel_;
  if (answer != Answer::kReached) tunnel_ = nullptr;
  tunnel->answer(id_, status_of(answer));
  if (answer != Answer::kReached) return tunnel->forget(id_);
  signal_.raise(EPOLLOUT);
}

void TunnelStream::close(bool in_order) {
  signal_.watch(nullptr);
  answer(Answer::kUnreachable);
  auto* tunnel = std::exchange(tunnel_, nullptr);
  if (tunnel == nullptr) return;
  auto& codec = tunnel->codec();
  if (in_order && !std::exchange(is_shut_, true)) codec.send_end(id_, nullptr);
  if (!in_order)
    codec.reset(id_, http::Fault::kCancelled);
  else if (!ended_)  // the rest of what the peer says is of no interest
    codec.reset(id_, http::Fault::kNone);
  else
    codec.consume(id_, in_.size());
  tunnel->touch();
  tunnel->forget(id_);
}

void TunnelStream::on_data(std::string_view bytes) {
  in_.append(bytes);
  signal_.raise(EPOLLIN);
}

void TunnelStream::on_end() {
  ended_ = true;
  signal_.raise(EPOLLIN | EPOLLRDHUP);
}

void TunnelStream::on_gone(int error) {
  tunnel_ = nullptr;
  error_ = error;
  signal_.raise(kGone);
}

}  // namespace underpass::session
