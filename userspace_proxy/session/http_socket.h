// SPDX-License-Identifier: Apache-2.0
// A transport and the codec that speaks over it: moves bytes between the two for as long as the codec takes and has
// some. What the codec says of them is told from within pump(). Knows no streams.
#pragma once

#include <string>
#include <utility>

#include <memory>
#include "userspace_proxy/http/codec.h"
#include "userspace_proxy/net/transport.h"
#include "userspace_proxy/session/buffer_pool.h"

namespace underpass::session {

class HttpSocket {
 public:
  enum class Outcome { kWaits, kMore, kEnded, kFailed };
  struct Step {
    Outcome outcome = Outcome::kWaits;
    int error = 0;       // errno of kFailed
    bool moved = false;  // a byte came or went
  };

  // `events` of epoll, edge-triggered, that are of interest from the beginning; false with errno.
  bool attach(std::unique_ptr<net::Transport> transport, std::uint32_t events, net::Watcher& watcher);
  // What epoll told.
  void note(std::uint32_t events);
  // kMore: others want their turn; the loop will tell again. kEnded: the codec is over, and everything is written.
  Step pump(http::Codec& codec, BufferPool& buffers);
  // Nothing is read into a codec any more, but thrown away: so that a last answer is not lost by a reset. False: its
  // end has come.
  bool discard(BufferPool& buffers);
  // After kFailed: what came before.
  void hear_out(http::Codec& codec, BufferPool& buffers);
  void shut_write();
  // Gives it away, not watched any more; nothing was read from it.
  std::unique_ptr<net::Transport> release();
  // By RST, unless it ends in order.
  void close(bool in_order);

  [[nodiscard]] bool is_open() const { return transport_ != nullptr; }
  [[nodiscard]] net::Transport& transport() { return *transport_; }
  // The peer has sent its end, and the codec knows.
  [[nodiscard]] bool heard_end() const { return told_end_; }
  [[nodiscard]] bool heard_any() const { return heard_any_; }
  // epoll said that something came which was not read yet.
  [[nodiscard]] bool may_read() const { return readable_; }
  [[nodiscard]] std::uint64_t bytes_sent() const { return bytes_sent_; }
  [[nodiscard]] std::uint64_t bytes_received() const { return bytes_received_; }

 private:
  bool flush(http::Codec& codec, Step& step);
  static bool fail_closed(Step& step);
  bool read_once(http::Codec& codec, BufferPool& buffers, Step& step);
  void rewatch();

  net::Watcher* watcher_ = nullptr;
  std::unique_ptr<net::Transport> transport_;
  std::string rest_;  // came, and was not taken yet
  std::uint64_t bytes_sent_ = 0;
  std::uint64_t bytes_received_ = 0;
  std::uint32_t watched_ = 0;
  bool readable_ = false;
  bool writable_ = true;   // until a send says otherwise: epoll is asked only then
  bool ended_ = false;     // FIN was read
  bool is_shut_ = false;   // FIN was sent
  bool told_end_ = false;  // ... and told
  bool heard_any_ = false;
};

}  // namespace underpass::session
