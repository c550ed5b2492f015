// SPDX-License-Identifier: Apache-2.0
// One connection's HTTP without its socket: bytes in, events out, and the other way round. http1/ and http2/ implement
// it, so that a session does not know in which version either side speaks, and both can be tested and fuzzed without
// I/O.
//
// Rules for all of them:
// - Events are told from within receive(), receive_end() and, where said so, send_...(); an event may call send_...(),
//   reset() and consume(), but not receive() and not the destructor.
// - A stream ends for both sides once: after both ends were told or sent, or after one reset in either direction. Its
//   number is never used again, and calls with the number of a stream that is over do nothing.
// - Memory is bounded by Limits: a codec holds a head that is not whole yet, what output() says, and for HTTP/2 what
//   its flow control let in or keeps back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "underpass/proxy_settings.h"
#include "userspace_proxy/http/message.h"

namespace underpass::http {

using StreamId = std::uint32_t;  // HTTP/1: 1, 2, 3, … in the order of the requests; HTTP/2: its own

// Why something was refused or given up. to_status() says what the client is told.
enum class Fault : std::uint8_t {
  kNone,
  kBadRequest,      // 400: not HTTP, or HTTP that two readers could read differently
  kTargetTooLong,   // 414
  kHeadTooLarge,    // 431: bytes or number of fields
  kNotImplemented,  // 501: a transfer coding that is not "chunked"
  kVersion,         // 505
  kTooLate,         // 408: the head did not come in time
  kBadResponse,     // 502: of the server's side
  kFlood,           // the connection asks for too much work: rapid resets, CONTINUATION, empty frames, pings
  kEndedEarly,      // the peer closed in the middle of a message
  kRefused,         // HTTP/2 REFUSED_STREAM: nothing was done, it may be sent again
  kCancelled,       // HTTP/2 CANCEL, or the other side went
  kInternal,
};
constexpr unsigned to_status(Fault fault) {
  switch (fault) {
    case Fault::kTargetTooLong:
      return 414;
    case Fault::kHeadTooLarge:
      return 431;
    case Fault::kNotImplemented:
      return 501;
    case Fault::kTooLate:
      return 408;
    case Fault::kVersion:
      return 505;
    case Fault::kBadResponse:
      return 502;
    case Fault::kInternal:
      return 500;
    default:
      return 400;
  }
}

// Envoy's edge defaults (https://www.envoyproxy.io/docs/envoy/latest/configuration/best_practices/edge), settable by
// spec.proxy.http of the Mesh.
struct Limits {
  std::size_t max_head_bytes = 60UL * 1024;  // request line and fields; of HTTP/2 after decompression
  std::size_t max_fields = 100;
  std::size_t max_target_bytes = 8UL * 1024;
  std::uint32_t max_streams = 100;                  // HTTP/2: at once, per connection
  std::uint32_t stream_window = 64UL * 1024;        // HTTP/2
  std::uint32_t connection_window = 1024UL * 1024;  // HTTP/2
  std::size_t max_buffered = 64UL * 1024;           // of one stream's body that goes out: see Codec::buffered()
  std::uint32_t max_resets_per_minute = 200;  // HTTP/2: of streams that the peer opened and reset (CVE-2023-44487)
  Underscores underscores = Underscores::kReject;
  // HTTP/2: what streams have not consumed counts against the connection's window too, so that all of them together
  // hold no more than that. Else one that stands still holds up no other.
  bool share_window = false;

  bool operator==(const Limits&) const = default;
};

class Codec {
 public:
  virtual ~Codec() = default;

  // Bytes from the socket. How many were taken: fewer than all only where it cannot take more now (HTTP/1: the answer
  // to the last request is not sent yet, or the stream is paused); offer the rest again, before newer bytes, when
  // wants_input() says so. After failed() everything is taken and ignored.
  virtual std::size_t receive(std::string_view bytes) = 0;
  // The peer's end of stream.
  virtual void receive_end() = 0;
  // Whether reading the socket makes sense now.
  [[nodiscard]] virtual bool wants_input() const = 0;

  // Bytes for the socket; the view is good until the next call. sent() takes them off.
  [[nodiscard]] virtual std::string_view output() = 0;
  virtual void sent(std::size_t bytes) = 0;
  // Nothing more will be said or heard: when output() is empty, close.
  [[nodiscard]] virtual bool is_over() const = 0;
  // Nothing more will be said, but something may be heard: when output() is empty, shut down writing. So one direction
  // of an HTTP/1 tunnel ends.
  [[nodiscard]] virtual bool is_silent() const { return is_over(); }

  // Body bytes of a stream whose head was sent; all are taken. Respect buffered(): whoever writes on while it is above
  // Limits::max_buffered uses memory without bound. In a tunnel these are its bytes.
  virtual void send_data(StreamId stream, std::string_view bytes) = 0;
  // The body is whole. `trailers` may be null; HTTP/1 sends them where the body is chunked, else leaves them out.
  virtual void send_end(StreamId stream, const Fields* trailers) = 0;
  // Gives the stream up: RST_STREAM, or in HTTP/1 the end of the connection where the message is not whole.
  virtual void reset(StreamId stream, Fault why) = 0;
  // How many bytes of this stream wait in the codec, in output() or for the peer's window.
  [[nodiscard]] virtual std::size_t buffered(StreamId stream) const = 0;
  // Bytes of on_data() that were handed on: opens the peer's window again (HTTP/2), or, in HTTP/1, lets receive() take
  // more once at most max_buffered bytes are outstanding.
  virtual void consume(StreamId stream, std::size_t bytes) = 0;

  // Asks the peer whether it is there: PING, in HTTP/2 alone.
  virtual void ping() {}
  // No new stream from now on: GOAWAY, or Connection: close with the next answer. Streams that are there may end.
  virtual void shut_down() = 0;
  [[nodiscard]] virtual std::size_t open_streams() const = 0;
};

// What both ends of a connection are told of a stream. `stream` is open, or was until this call.
class StreamEvents {
 public:
  virtual void on_data(StreamId stream, std::string_view bytes) = 0;
  virtual void on_end(StreamId stream, const Fields* trailers) = 0;  // the peer's message is whole
  virtual void on_reset(StreamId stream, Fault why) = 0;  // the stream is over, by the peer or by a fault of its
  // buffered() fell to half of Limits::max_buffered or below after it was above it.
  virtual void on_writable(StreamId stream) = 0;
  // The whole connection is in error; all its streams are over without further calls. `detail` is for the log. What
  // output() holds (an answer, a GOAWAY) is to be sent before the socket is closed.
  virtual void on_failed(Fault why, std::string_view detail) = 0;

 protected:
  ~StreamEvents() = default;
};

class ServerEvents : public StreamEvents {
 public:
  // The request may be changed and moved from. Without has_body its end is not told by on_end().
  // Whether 100 Continue is due is the session's business: see ServerCodec::send_interim().
  virtual void on_request(StreamId stream, Request& request) = 0;
  // A head that was refused: the codec answers by itself (to_status(), Connection: close), once. For the log and
  // metrics: `request` holds what was read of it, perhaps nothing.
  virtual void on_refused(StreamId stream, const Request& request, Fault why, std::string_view detail) = 0;
  // HTTP/1.1: the request offers to go on in HTTP/2 (RFC 7540 §3.2); `settings` is its HTTP2-Settings as it came. True:
  // it is taken as stream 1 of another codec, which takes this one's place when output() is empty. This one says 101,
  // and takes nothing more. False: on_request() follows.
  virtual bool on_http2_offered([[maybe_unused]] Request& request, [[maybe_unused]] std::string_view settings) {
    return false;
  }

 protected:
  ~ServerEvents() = default;
};

class ServerCodec : public Codec {
 public:
  // 1xx but 101.
  virtual void send_interim(StreamId stream, const Response& response) = 0;
  // Without has_body the stream's answer is whole. Answers to HEAD, 204 and 304 have none whatever content_length says.
  // 101, or 2xx to CONNECT or to an extended CONNECT: what follows is the tunnel.
  virtual void send_response(StreamId stream, const Response& response) = 0;
  // Part of a request's head came, and the rest is missing.
  [[nodiscard]] virtual bool is_in_head() const = 0;
  // It is not waited for: refused as kTooLate, with the connection.
  virtual void refuse_head() = 0;
};

class ClientEvents : public StreamEvents {
 public:
  // Interim ones (is_interim()) come any number of times before the last.
  virtual void on_response(StreamId stream, Response& response) = 0;
  // It can take another request: can_send() became true.
  virtual void on_room() = 0;

 protected:
  ~ClientEvents() = default;
};

class ClientCodec : public Codec {
 public:
  // Whether another request may be sent: HTTP/1: nothing is under way (never pipelined) and the connection lives on;
  // HTTP/2: below the peer's SETTINGS_MAX_CONCURRENT_STREAMS and no GOAWAY came.
  [[nodiscard]] virtual bool can_send() const = 0;
  // Whether a request with `protocol` can be sent. False: a server of HTTP/2 that did not say that it knows extended
  // CONNECT (RFC 8441).
  [[nodiscard]] virtual bool takes_upgrades() const { return true; }
  // Sends the head. `request.has_body`: send_data() and send_end() follow. 0: it cannot be said in this version.
  virtual StreamId send_request(const Request& request) = 0;
  // Whether the stream is known not to have been looked at by the server, so that the request may be sent again
  // elsewhere (GOAWAY with a lower last stream, REFUSED_STREAM, or a kept connection closed before a byte of an
  // answer).
  [[nodiscard]] virtual bool is_unseen(StreamId stream) const = 0;
};

}  // namespace underpass::http
