// SPDX-License-Identifier: Apache-2.0
// What both ends of an HTTP/2 connection do alike (RFC 9113): bytes through nghttp2, streams, flow control, and limits.
// nghttp2 does the framing, HPACK and the state machine; this decides how much of each a peer may ask for.
//
// Memory. Incoming: bytes of a body are told at once and not kept; the connection's window is given back as they come,
// a stream's only when they are consumed, so that a stream that nobody reads stops itself and not the others. Whoever
// keeps them holds at most max_streams × stream_window for a connection. Outgoing: each stream's body up to what
// buffered() lets its writer add, and kOutput bytes of frames for all, filled only as the socket takes them, so that a
// peer that does not read or opens no window costs no more. Heads: one at a time, 4 × the limits.
//
// Floods end the connection with GOAWAY(ENHANCE_YOUR_CALM). Two budgets: one of streams that the peer opened and reset,
// or made us reset by an error (CVE-2023-44487 and "MadeYouReset"); one of frames that move nothing (PING, SETTINGS,
// PRIORITY, WINDOW_UPDATE, empty DATA, interim answers), which frames that do move something fill up again.
#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "userspace_proxy/http/codec.h"
#include "userspace_proxy/http2/budget.h"
#include "userspace_proxy/http2/empty_frames.h"
#include "userspace_proxy/http2/error_code.h"
#include "userspace_proxy/http2/head_writer.h"
#include "userspace_proxy/http2/stream.h"

namespace underpass::http2 {

class Connection {
 public:
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

 protected:
  Connection(Side side, const http::Limits& limits, http::StreamEvents& events, Clock clock);
  ~Connection();

  // What http::Codec says of each.
  void take(std::string_view bytes);
  void take_end();
  [[nodiscard]] bool wants_more() const { return !is_finished(); }
  [[nodiscard]] std::string_view give();
  void given(std::size_t bytes);
  [[nodiscard]] bool is_finished() const;
  void append_data(http::StreamId id, std::string_view bytes);
  void append_end(http::StreamId id, const http::Fields* trailers);
  void say_before_reset();
  void give_up(http::StreamId id, http::Fault why);
  [[nodiscard]] std::size_t waiting(http::StreamId id) const;
  void hand_back(http::StreamId id, std::size_t bytes);
  void say_ping();
  [[nodiscard]] std::size_t count() const { return live_; }
  // Only the newest stream can be without its head: nothing else may come between the head's frames.
  [[nodiscard]] bool is_reading_head() const {
    return !streams_.empty() && !streams_.back()->has_head && !streams_.back()->silent;
  }

  // For the two ends.
  [[nodiscard]] nghttp2_session* session() const { return session_.get(); }
  [[nodiscard]] const http::Limits& limits() const { return limits_; }
  [[nodiscard]] HeadWriter& writer() { return writer_; }
  [[nodiscard]] bool has_failed() const { return failure_.has_value(); }
  Stream& open(http::StreamId id);
  [[nodiscard]] Stream* find(http::StreamId id) const;  // null also where it is over for the session
  // Over for the session, without a call of its.
  void silence(Stream& stream);
  // Where the body of `stream` comes from, for nghttp2_submit_...().
  [[nodiscard]] nghttp2_data_provider body_of(Stream& stream);
  // The stream is a tunnel from here on.
  void agree(Stream& stream);
  // Tells on_reset(), and the peer, or the former only.
  void refuse(Stream& stream, http::Fault why);
  void drop(Stream& stream, http::Fault why);
  // One that is silent, and of which nghttp2 knows nothing any more, or yet.
  void forget(http::StreamId id);
  void fail(http::Fault why, std::uint32_t code, std::string_view detail);
  void charge_reset();
  void charge_idle(double frames);
  [[nodiscard]] http::StreamId last_request_sent() const { return last_request_sent_; }

 private:
  // The ends' own parts.
  virtual void read_field(Stream& stream, http::Field field) = 0;
  virtual void on_head(Stream& stream) = 0;  // not for trailers
  // nghttp2 has refused the head, and the stream with it.
  virtual void on_bad_head(Stream& stream, std::string_view detail) = 0;
  virtual void on_closing(http::StreamId stream, http::Fault why) = 0;  // before on_reset()
  virtual void on_frame(const nghttp2_frame& frame) = 0;                // SETTINGS, PING, GOAWAY
  virtual void after_events() = 0;

  struct SessionDeleter {
    void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
  };
  struct Callbacks;  // nghttp2's, which call the functions below
  friend struct Callbacks;

  void submit_settings();
  // Of nghttp2's callbacks.
  void on_frame_begins(const nghttp2_frame_hd& frame);
  void on_head_begins(const nghttp2_frame& frame);
  int on_field(http::StreamId id, http::Field field);
  void on_frame_read(const nghttp2_frame& frame);
  void on_head_read(Stream& stream, bool is_end);
  void on_body(http::StreamId id, std::string_view bytes);
  void on_bad_frame(const nghttp2_frame& frame, int error);
  void on_stream_closed(http::StreamId id, std::uint32_t code);
  void on_frame_sent(const nghttp2_frame& frame);
  void on_frame_not_sent(const nghttp2_frame& frame, int error);
  ssize_t read_body(Stream& stream, std::size_t most, std::uint32_t& flags);
  int write_body(Stream& stream, const std::uint8_t* frame_head, std::size_t bytes);

  using Streams = std::vector<std::unique_ptr<Stream>>;  // by number, which only grows

  [[nodiscard]] Streams::const_iterator place_of(http::StreamId id) const;
  [[nodiscard]] Stream* find_any(http::StreamId id) const;
  void fill_output();
  void pump();
  void say_why();
  void open_window(std::size_t bytes);
  void tell();
  void tell_early(http::StreamId id);
  void end_by_peer(Stream& stream, const http::Fields* trailers);

  Side side_;
  http::Limits limits_;
  http::StreamEvents& events_;
  Clock clock_;
  Budget resets_;
  Budget idle_;
  EmptyFrames empty_frames_;
  bool is_padded_ = false;  // a DATA frame whose first byte of a body is still to come
  std::unique_ptr<nghttp2_session, SessionDeleter> session_;
  HeadWriter writer_;

  Streams streams_;
  mutable Stream* last_found_ = nullptr;  // a head is asked for once for each of its fields
  std::size_t live_ = 0;                  // of them, those that are not silent

  ByteQueue output_;  // whole frames
  http::StreamId last_request_sent_ = 0;
  bool within_head_ = false;  // but for CONTINUATION frames that are to follow
  std::vector<std::pair<http::StreamId, http::Fault>> resets_to_tell_;
  std::vector<http::StreamId> writable_to_tell_;
  std::vector<http::StreamId> agreed_to_tell_;

  struct Failure {
    http::Fault why;
    std::string detail;
    std::optional<std::uint32_t> code;  // for a GOAWAY that is not said yet
    bool told = false;
  };
  std::optional<Failure> failure_;
  bool telling_ = false;
  bool reading_ = false;  // nghttp2 reads, and must not be asked to write
  bool peer_gone_ = false;
};

}  // namespace underpass::http2
