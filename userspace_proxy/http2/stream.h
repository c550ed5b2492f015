// SPDX-License-Identifier: Apache-2.0
// One request and its answer within a connection: the head that is coming in, and the body that waits to go out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "userspace_proxy/http2/head_reader.h"

namespace underpass::http2 {

// Bytes that are taken from the front in pieces.
class ByteQueue {
 public:
  void append(std::string_view bytes) {
    if (begin_ > text_.size() / 2) {
      text_.erase(0, begin_);
      begin_ = 0;
    }
    text_ += bytes;
  }
  void take(std::size_t bytes) {
    begin_ += std::min(bytes, size());
    if (begin_ < text_.size()) return;
    begin_ = 0;
    if (text_.capacity() > kKept) text_ = {};  // memory is for who needs it now
    text_.clear();
  }
  [[nodiscard]] std::string_view view() const { return std::string_view(text_).substr(begin_); }
  [[nodiscard]] std::size_t size() const { return text_.size() - begin_; }
  [[nodiscard]] bool empty() const { return size() == 0; }
  void clear() { take(size()); }

 private:
  static constexpr std::size_t kKept = 128UL * 1024;

  std::string text_;
  std::size_t begin_ = 0;
};

struct Stream {
  explicit Stream(http::StreamId number) : id(number) {}

  http::StreamId id;

  // What comes in.
  HeadReader reader;
  http::Request request;    // of a server
  http::Response response;  // of a client
  http::Fields trailers_in;
  bool is_head = false;    // the request's method is HEAD
  bool is_tunnel = false;  // the request's is_tunnel()
  // A tunnel's bytes are told once the answer has agreed to it: `early` until then, at most the stream's window.
  bool is_agreed = false;
  bool is_untold = false;  // agreed, and what came early is not told yet
  ByteQueue early;
  bool has_head = false;       // a request, or a response that is not interim, is whole
  bool peer_ended = false;     // with END_STREAM
  bool peer_reset = false;     // with RST_STREAM
  std::size_t unconsumed = 0;  // bytes of on_data() that still count against the stream's window

  // What goes out.
  ByteQueue out;
  http::Fields trailers_out;
  bool answered = false;         // of a server: its last head is submitted
  bool ended = false;            // nothing more is to be appended to `out`
  bool end_sent = false;         // END_STREAM is in the connection's output
  bool was_full = false;         // above max_buffered, and on_writable() not yet told
  bool awaits_settings = false;  // of a server, after an upgrade: its body waits for the client's
  bool is_held = false;          // of a client: its head waits for the server's SETTINGS
  bool is_upgrade = false;       // ... and came as Upgrade of HTTP/1.1, with this key if it is a WebSocket:
  std::string websocket_key;
  bool leave_when_sent = false;  // then RST_STREAM(NO_ERROR): the rest of the peer's message is of no interest

  bool silent = false;   // over for the session: nothing more is told, nothing more is taken
  bool counted = false;  // among the resets
};

}  // namespace underpass::http2
