// SPDX-License-Identifier: Apache-2.0
// One stream of a tunnel as a Transport: what a connection of an application goes through between two nodes. It
// outlives its tunnel, as a connection that was reset does.
#pragma once

#include <cstdint>
#include <string_view>

#include "userspace_proxy/http2/stream.h"
#include "userspace_proxy/net/transport.h"
#include "userspace_proxy/session/tunnel.h"

namespace underpass::session {

class TunnelStream final : public net::Transport {
 public:
  // `is_answered`: both ends know that it is open.
  TunnelStream(net::Loop& loop, Tunnel& tunnel, http::StreamId id, bool is_answered);
  ~TunnelStream() override;
  TunnelStream(const TunnelStream&) = delete;
  TunnelStream& operator=(const TunnelStream&) = delete;

  bool watch(std::uint32_t events, net::Watcher& watcher) override;
  bool rewatch(std::uint32_t events, net::Watcher& watcher) override { return watch(events, watcher); }
  void unwatch() override { signal_.watch(nullptr); }
  ssize_t receive(char* to, std::size_t most) override;
  ssize_t peek(char* to, std::size_t most) override;
  ssize_t send(const char* bytes, std::size_t size) override;
  int shut_write() override;
  int take_error() override;
  void close(bool in_order) override;
  void answer(Answer answer) override;

  // --- for its tunnel ---
  void on_data(std::string_view bytes);
  void on_end();
  void on_writable() { signal_.raise(EPOLLOUT); }
  // It is over, by a reset or with its tunnel.
  void on_gone(int error);

 private:
  [[nodiscard]] std::uint32_t ready() const;
  [[nodiscard]] bool is_full() const;

  net::Signal signal_;
  Tunnel* tunnel_;  // null: it is over
  const http::StreamId id_;
  http2::ByteQueue in_;
  int error_ = 0;  // why it is over
  bool error_told_ = false;
  bool ended_ = false;  // by the peer
  bool is_shut_ = false;
  bool is_answered_;
};

}  // namespace underpass::session
