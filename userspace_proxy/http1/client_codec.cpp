// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/http1/client_codec.h"

#include <algorithm>
#include <string>

#include "userspace_proxy/http/chars.h"
#include "userspace_proxy/http1/body_reader.h"
#include "userspace_proxy/http1/body_writer.h"
#include "userspace_proxy/http1/head.h"
#include "userspace_proxy/http1/line_reader.h"
#include "userspace_proxy/http1/output.h"
#include "userspace_proxy/http1/request_writer.h"

namespace underpass::http1 {

using http::Fault;
using http::Fields;
using http::Request;
using http::Response;
using http::StreamId;
using http::Version;

namespace {

constexpr std::size_t kMaxInterim = 1000;  // of one request

constexpr Problem bad_response(std::string_view detail) { return {.why = Fault::kBadResponse, .detail = detail}; }

class Client final : public http::ClientCodec {
 public:
  Client(http::ClientEvents& events, const http::Limits& limits)
      : events_(events), limits_(limits), head_(head_limits_), body_(head_limits_) {
    head_limits_ = limits;
    head_limits_.underscores = Underscores::kAllow;  // what a server of ours says is its own business
  }

  std::size_t receive(std::string_view bytes) override;
  void receive_end() override;
  [[nodiscard]] bool wants_input() const override;

  [[nodiscard]] std::string_view output() override { return output_.view(); }
  void sent(std::size_t bytes) override;
  [[nodiscard]] bool is_over() const override { return over_; }
  [[nodiscard]] bool is_silent() const override { return over_ || (open_ && in_ == In::kTunnel && out_ == Out::kDone); }

  [[nodiscard]] bool can_send() const override { return !over_ && !open_ && !shutting_down_ && in_ == In::kIdle; }
  StreamId send_request(const Request& request) override;
  void send_data(StreamId stream, std::string_view bytes) override;
  void send_end(StreamId stream, const Fields* trailers) override;
  void reset(StreamId stream, Fault why) override;
  [[nodiscard]] std::size_t buffered(StreamId stream) const override { return is_open(stream) ? waiting() : 0; }
  void consume(StreamId stream, std::size_t bytes) override;
  void shut_down() override;
  [[nodiscard]] std::size_t open_streams() const override { return open_ ? 1 : 0; }
  [[nodiscard]] bool is_unseen(StreamId stream) const override { return stream == stream_ && stream_ > 1 && !heard_; }

 private:
  enum class In : std::uint8_t { kIdle, kStatusLine, kFields, kBody, kTunnel, kEnded };
  enum class Out : std::uint8_t { kBody, kAgreement, kTunnel, kDone };

  [[nodiscard]] bool is_open(StreamId stream) const { return open_ && stream == stream_; }
  [[nodiscard]] std::size_t room() const { return limits_.max_buffered - std::min(outstanding_, limits_.max_buffered); }
  [[nodiscard]] std::size_t waiting() const { return output_.size() + early_.size(); }
  void note_output() { above_ |= waiting() > limits_.max_buffered; }

  void take_head_line(std::string_view& bytes);
  void end_head(bool more_follows);
  void take_interim();
  [[nodiscard]] Problem check_head();
  [[nodiscard]] Problem check_agreement();
  [[nodiscard]] Problem choose_body();
  void begin_tunnel();
  void take_body(std::string_view& bytes);
  void end_response(bool more_follows, bool tell);
  void fail(const Problem& problem);

  http::ClientEvents& events_;
  const http::Limits& limits_;
  http::Limits head_limits_;
  LineReader lines_;
  HeadReader head_;
  BodyReader body_;
  BodyWriter writer_;
  Output output_;
  std::string early_;  // of a tunnel that is not agreed on

  Response response_;
  std::size_t head_bytes_ = 0;
  std::size_t interim_ = 0;
  std::size_t outstanding_ = 0;
  StreamId stream_ = 0;
  In in_ = In::kIdle;
  Out out_ = Out::kDone;

  // Of the request.
  std::string protocol_;
  bool is_head_ = false;
  bool is_connect_ = false;

  bool tunnel_ = false;  // the answer agreed
  bool early_end_ = false;
  bool heard_ = false;  // a byte of the answer
  bool keep_ = true;
  bool open_ = false;
  bool shutting_down_ = false;
  bool over_ = false;
  bool above_ = false;
};

StreamId Client::send_request(const Request& request) {
  if (!can_send() || !write_request(output_.text(), request, writer_)) return 0;
  protocol_ = request.protocol;
  http::make_lower(protocol_);
  is_head_ = request.method == "HEAD";
  is_connect_ = request.is_connect();
  out_ = request.is_tunnel() ? Out::kAgreement : request.has_body ? Out::kBody : Out::kDone;
  in_ = In::kStatusLine;
  head_bytes_ = interim_ = outstanding_ = 0;
  tunnel_ = early_end_ = heard_ = above_ = false;
  open_ = true;
  note_output();
  return ++stream_;
}

std::size_t Client::receive(std::string_view bytes) {
  const std::size_t all = bytes.size();
  while (!bytes.empty() && !over_) {
    if (!wants_input()) return all - bytes.size();
    heard_ = true;
    switch (in_) {
      case In::kStatusLine:
      case In::kFields:
        take_head_line(bytes);
        break;
      case In::kBody:
        take_body(bytes);
        break;
      case In::kTunnel: {
        const auto piece = bytes.substr(0, room());
        bytes.remove_prefix(piece.size());
        outstanding_ += piece.size();
        events_.on_data(stream_, piece);
        break;
      }
      default:
        over_ = true;  // nobody asked
    }
  }
  return all;
}

bool Client::wants_input() const {
  if (over_ || in_ == In::kEnded) return false;
  return (in_ != In::kBody && in_ != In::kTunnel) || room() > 0;
}

void Client::take_head_line(std::string_view& bytes) {
  switch (lines_.next(bytes, limits_.max_head_bytes - head_bytes_)) {
    case LineReader::Got::kMore:
      return;
    case LineReader::Got::kTooLong:
      return fail(bad_response("a head too large"));
    case LineReader::Got::kBareLf:
      return fail(bad_response("LF without CR"));
    case LineReader::Got::kLine:
      break;
  }
  const auto line = lines_.line();
  head_bytes_ += line.size() + 2;
  if (in_ == In::kStatusLine) {
    response_.fields.clear();
    head_.clear();
    if (!read_status_line(line, response_)) return fail(bad_response("no status line"));
    in_ = In::kFields;
  } else if (line.empty()) {
    end_head(!bytes.empty());
  } else if (const auto problem = head_.take(line, response_.fields)) {
    fail(bad_response(problem.detail));
  }
}

void Client::end_head(bool more_follows) {
  response_.content_length.reset();
  response_.has_body = false;
  if (const auto problem = check_head()) return fail(problem);
  if (response_.is_interim()) return take_interim();
  if (const auto problem = check_agreement()) return fail(problem);
  const auto& framing = head_.framing();
  keep_ = !framing.close && (response_.version == Version::kHttp11 || framing.keep_alive);
  if (tunnel_) return begin_tunnel();
  if (out_ == Out::kAgreement) {
    out_ = Out::kDone;
    early_.clear();
    keep_ = false;
  }
  if (const auto problem = choose_body()) return fail(problem);
  if (response_.has_body) {
    in_ = In::kBody;
    return events_.on_response(stream_, response_);
  }
  events_.on_response(stream_, response_);
  if (open_) end_response(more_follows, false);
}

Problem Client::check_head() {
  if (const auto problem = head_.finish(response_.fields, false)) return bad_response(problem.detail);
  if (head_.framing().hosts > 0) return bad_response("Host in an answer");
  return {};
}

void Client::take_interim() {
  if (++interim_ > kMaxInterim) return fail(bad_response("too many interim answers"));
  in_ = In::kStatusLine;
  head_bytes_ = 0;
  events_.on_response(stream_, response_);
}

Problem Client::check_agreement() {
  const bool success = response_.status >= 200 && response_.status < 300;
  const bool plain_connect = is_connect_ && protocol_.empty();
  if (response_.status != 101) {
    if (success && is_connect_ && !plain_connect) return bad_response("an upgrade that is answered like a request");
    tunnel_ = plain_connect && success;
    return {};
  }
  const auto& framing = head_.framing();
  if (out_ != Out::kAgreement || plain_connect) return bad_response("101 that nobody asked for");
  if (!framing.upgrade_named || framing.upgrade != protocol_) return bad_response("101 to another protocol");
  tunnel_ = true;
  if (!is_connect_) return {};
  response_.status = 200;  // RFC 8441 §5
  response_.reason.clear();
  response_.fields.remove("sec-websocket-accept");
  return {};
}

void Client::begin_tunnel() {
  in_ = In::kTunnel;
  out_ = early_end_ ? Out::kDone : Out::kTunnel;
  output_.text() += early_;
  early_ = {};
  keep_ = false;
  events_.on_response(stream_, response_);
}

// RFC 9112 §6.3.
Problem Client::choose_body() {
  const auto& framing = head_.framing();
  if (framing.other_coding) return bad_response("a transfer coding that is not chunked");
  if (framing.chunked && response_.version != Version::kHttp11) return bad_response("Transfer-Encoding in HTTP/1.0");
  if (response_.status == 204) return {};
  response_.content_length = framing.content_length;
  if (is_head_ || response_.status == 304) return {};
  if (framing.chunked) {
    body_.start_chunked();
  } else if (!framing.content_length) {
    body_.start_until_close();
    keep_ = false;
  } else if (*framing.content_length > 0) {
    body_.start_length(*framing.content_length);
  } else {
    return {};
  }
  response_.has_body = true;
  return {};
}

void Client::take_body(std::string_view& bytes) {
  switch (body_.next(bytes, room())) {
    case BodyReader::Got::kMore:
      return;
    case BodyReader::Got::kBad:
      return fail(bad_response(body_.problem().detail));
    case BodyReader::Got::kData:
      outstanding_ += body_.data().size();
      events_.on_data(stream_, body_.data());
      if (!open_ || !body_.is_ended()) return;
      break;
    case BodyReader::Got::kEnd:
      break;
  }
  end_response(!bytes.empty(), true);
}

// What follows in the same bytes was said before anything else was asked.
void Client::end_response(bool more_follows, bool tell) {
  const bool early = out_ != Out::kDone;
  open_ = false;
  out_ = Out::kDone;
  in_ = In::kIdle;
  lines_.release();
  over_ = early || !keep_ || more_follows || shutting_down_;
  if (early) output_.clear();
  if (tell) events_.on_end(stream_, body_.trailers());
  if (can_send()) events_.on_room();
}

void Client::receive_end() {
  if (over_ || in_ == In::kEnded) return;
  if (in_ == In::kIdle) {
    over_ = true;
  } else if (in_ == In::kBody && body_.ends_with_stream()) {
    end_response(false, true);
  } else if (in_ == In::kTunnel) {
    in_ = In::kEnded;
    over_ = out_ == Out::kDone;
    open_ = !over_;
    events_.on_end(stream_, nullptr);
  } else {
    fail({.why = Fault::kEndedEarly, .detail = "the server closed within an answer"});
  }
}

void Client::sent(std::size_t bytes) {
  output_.sent(bytes);
  if (!above_ || waiting() > limits_.max_buffered / 2) return;
  above_ = false;
  if (open_) events_.on_writable(stream_);
}

void Client::send_data(StreamId stream, std::string_view bytes) {
  if (!is_open(stream)) return;
  if (out_ == Out::kAgreement && !early_end_) early_ += bytes;
  if (out_ == Out::kTunnel) output_.text() += bytes;
  if (out_ == Out::kBody && !writer_.write(output_.text(), bytes))
    return fail({.why = Fault::kInternal, .detail = "a body too long"});
  note_output();
}

void Client::send_end(StreamId stream, const Fields* trailers) {
  if (!is_open(stream)) return;
  if (out_ == Out::kAgreement) {
    early_end_ = true;
    return;
  }
  if (out_ == Out::kBody && !writer_.end(output_.text(), trailers))
    return fail({.why = Fault::kInternal, .detail = "a body too short"});
  out_ = Out::kDone;
  if (in_ != In::kEnded) return;
  open_ = false;
  over_ = true;
}

void Client::reset(StreamId stream, Fault) {
  if (!is_open(stream)) return;
  open_ = false;
  over_ = true;
  output_.clear();
}

void Client::consume(StreamId stream, std::size_t bytes) {
  if (is_open(stream)) outstanding_ -= std::min(outstanding_, bytes);
}

void Client::shut_down() {
  shutting_down_ = true;
  if (!open_) over_ = true;
}

void Client::fail(const Problem& problem) {
  open_ = false;
  over_ = true;
  output_.clear();
  events_.on_failed(problem.why, problem.detail);
}

}  // namespace

std::unique_ptr<http::ClientCodec> make_client_codec(http::ClientEvents& events, const http::Limits& limits) {
  return std::make_unique<Client>(events, limits);
}

}  // namespace underpass::http1
