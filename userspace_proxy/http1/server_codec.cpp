// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/http1/server_codec.h"

#include <algorithm>
#include <string>

#include "userspace_proxy/http/authority.h"
#include "userspace_proxy/http1/body_reader.h"
#include "userspace_proxy/http1/body_writer.h"
#include "userspace_proxy/http1/head.h"
#include "userspace_proxy/http1/line_reader.h"
#include "userspace_proxy/http1/output.h"
#include "userspace_proxy/http1/reason.h"

namespace underpass::http1 {

using http::Fault;
using http::Fields;
using http::Request;
using http::Response;
using http::StreamId;
using http::Version;

namespace {

class Server final : public http::ServerCodec {
 public:
  Server(http::ServerEvents& events, const http::Limits& limits)
      : events_(events), limits_(limits), head_(limits), body_(limits) {}

  std::size_t receive(std::string_view bytes) override;
  void receive_end() override;
  [[nodiscard]] bool wants_input() const override;

  [[nodiscard]] std::string_view output() override { return output_.view(); }
  void sent(std::size_t bytes) override;
  [[nodiscard]] bool is_over() const override { return over_; }
  [[nodiscard]] bool is_silent() const override { return over_ || (open_ && out_ == Out::kDone && last_); }

  [[nodiscard]] bool is_in_head() const override {
    return in_ == In::kFields || (in_ == In::kRequestLine && lines_.is_inside());
  }

  void refuse_head() override;
  void send_interim(StreamId stream, const Response& response) override;
  void send_response(StreamId stream, const Response& response) override;
  void send_data(StreamId stream, std::string_view bytes) override;
  void send_end(StreamId stream, const Fields* trailers) override;
  void reset(StreamId stream, Fault why) override;
  [[nodiscard]] std::size_t buffered(StreamId stream) const override { return is_open(stream) ? output_.size() : 0; }
  void consume(StreamId stream, std::size_t bytes) override;
  void shut_down() override;
  [[nodiscard]] std::size_t open_streams() const override { return open_ ? 1 : 0; }

 private:
  // What comes in next. kAnswer: the request is whole; kAgreement: a tunnel, if the answer agrees.
  enum class In : std::uint8_t { kRequestLine, kFields, kBody, kAnswer, kAgreement, kTunnel, kEnded };
  enum class Out : std::uint8_t { kHead, kBody, kTunnel, kDone };

  [[nodiscard]] bool is_open(StreamId stream) const { return open_ && stream == stream_; }
  [[nodiscard]] bool in_head() const { return in_ == In::kRequestLine || in_ == In::kFields; }
  [[nodiscard]] std::size_t room() const { return limits_.max_buffered - std::min(outstanding_, limits_.max_buffered); }

  void take_head_line(std::string_view& bytes);
  void take_line(std::string_view line);
  void begin_request();
  void end_head();
  [[nodiscard]] Problem check_head();
  [[nodiscard]] Problem check_host();
  [[nodiscard]] Problem check_body();
  void check_upgrade();
  [[nodiscard]] bool goes_on_in_http2();
  void take_body(std::string_view& bytes);
  void take_tunnel(std::string_view& bytes);

  void write_head(const Response& response, bool tunnel);
  void write_framing(const Response& response, bool tunnel);
  void write_connection(bool tunnel);
  void write_error(Fault why);
  void begin_tunnel();
  void finish_if_whole();
  void refuse(const Problem& problem);
  void fail(const Problem& problem);
  void note_output();

  http::ServerEvents& events_;
  const http::Limits& limits_;
  LineReader lines_;
  HeadReader head_;
  BodyReader body_;
  BodyWriter writer_;
  Output output_;

  Request request_;  // the one that is read; the session may have moved from it
  RequestLine request_line_;
  std::size_t head_bytes_ = 0;
  std::size_t outstanding_ = 0;  // of on_data(), not consumed yet
  StreamId stream_ = 0;
  In in_ = In::kRequestLine;
  Out out_ = Out::kHead;

  // Of the request that is answered, since request_ is the session's.
  Version version_ = Version::kHttp11;
  std::string protocol_;
  bool is_head_ = false;
  bool is_connect_ = false;
  bool awaits_continue_ = false;  // its body does not come before 100 Continue

  bool skipped_line_ = false;
  bool open_ = false;
  bool last_ = false;  // no request after this one
  bool shutting_down_ = false;
  bool peer_ended_ = false;
  bool over_ = false;
  bool above_ = false;  // buffered() was above max_buffered
};

std::size_t Server::receive(std::string_view bytes) {
  const std::size_t all = bytes.size();
  while (!bytes.empty() && !over_) {
    if (!wants_input()) return all - bytes.size();
    if (in_head()) {
      take_head_line(bytes);
    } else if (in_ == In::kBody) {
      take_body(bytes);
    } else {
      take_tunnel(bytes);
    }
  }
  return all;
}

bool Server::wants_input() const {
  if (over_ || peer_ended_) return false;
  switch (in_) {
    case In::kRequestLine:
    case In::kFields:
      return output_.size() <= limits_.max_buffered;  // answers to what is pipelined do not pile up
    case In::kBody:
    case In::kTunnel:
      return room() > 0;
    default:
      return false;
  }
}

void Server::take_head_line(std::string_view& bytes) {
  static constexpr std::size_t kBesidesTarget = 64;  // method, version, spaces, CRLF
  const bool first = in_ == In::kRequestLine;
  const auto rest = limits_.max_head_bytes - head_bytes_;
  const auto longest = first ? std::min(rest, limits_.max_target_bytes + kBesidesTarget) : rest;
  switch (lines_.next(bytes, longest)) {
    case LineReader::Got::kMore:
      return;
    case LineReader::Got::kTooLong:
      if (first) begin_request();
      return refuse({.why = first ? Fault::kTargetTooLong : Fault::kHeadTooLarge, .detail = "a line too long"});
    case LineReader::Got::kBareLf:
      if (first) begin_request();
      return refuse(bad("LF without CR"));
    case LineReader::Got::kLine:
      return take_line(lines_.line());
  }
}

void Server::take_line(std::string_view line) {
  head_bytes_ += line.size() + 2;
  Problem problem;
  if (in_ == In::kRequestLine) {
    if (line.empty() && !skipped_line_) {
      skipped_line_ = true;
      return;
    }
    begin_request();
    problem = read_request_line(line, limits_, request_, request_line_);
    in_ = In::kFields;
  } else if (line.empty()) {
    return end_head();
  } else {
    problem = head_.take(line, request_.fields);
  }
  if (problem) refuse(problem);
}

void Server::begin_request() {
  request_.version = Version::kHttp11;
  request_.scheme = "http";
  for (auto* text : {&request_.method, &request_.authority, &request_.path, &request_.protocol}) text->clear();
  request_.fields.clear();
  request_.content_length.reset();
  request_.has_body = false;
  request_.expects_continue = false;
  request_line_ = {};
  head_.clear();
}

void Server::end_head() {
  if (const auto problem = check_head()) return refuse(problem);
  version_ = request_.version;
  protocol_ = request_.protocol;
  is_head_ = request_.method == "HEAD";
  is_connect_ = request_.is_connect();
  awaits_continue_ = request_.expects_continue;
  const auto& framing = head_.framing();
  last_ = framing.close || (version_ == Version::kHttp10 && !framing.keep_alive);
  if (request_.has_body) framing.chunked ? body_.start_chunked() : body_.start_length(*request_.content_length);
  in_ = request_.is_tunnel() ? In::kAgreement : request_.has_body ? In::kBody : In::kAnswer;
  out_ = Out::kHead;
  head_bytes_ = 0;
  outstanding_ = 0;
  skipped_line_ = false;
  above_ = false;
  ++stream_;
  if (goes_on_in_http2()) return;
  open_ = true;
  events_.on_request(stream_, request_);
}

bool Server::goes_on_in_http2() {
  if (!head_.framing().offers_http2() || version_ != Version::kHttp11 || in_ != In::kAnswer || last_ || shutting_down_)
    return false;
  if (!events_.on_http2_offered(request_, head_.framing().http2_settings)) return false;
  write_status_line(output_.text(), 101, {});
  write_field(output_.text(), "connection", "upgrade");
  write_field(output_.text(), "upgrade", "h2c");
  output_.text() += "\r\n";
  in_ = In::kEnded;
  out_ = Out::kDone;
  return true;
}

void Server::refuse_head() {
  if (over_ || !is_in_head()) return;
  if (in_ == In::kRequestLine) begin_request();
  refuse({.why = Fault::kTooLate, .detail = "the head did not come in time"});
}

Problem Server::check_head() {
  if (const auto problem = head_.finish(request_.fields, true)) return problem;
  if (const auto problem = check_host()) return problem;
  if (const auto problem = check_body()) return problem;
  check_upgrade();
  return {};
}

Problem Server::check_host() {
  const auto& framing = head_.framing();
  if (framing.hosts > 1) return bad("two Host");
  if (framing.hosts == 0 && request_.version == Version::kHttp11) return bad("no Host");
  if (framing.host.empty()) return {};
  const auto host = http::parse_authority(framing.host);
  if (!host) return bad("Host is no host[:port]");
  if (!request_line_.has_authority) {
    request_.authority = framing.host;
    return {};
  }
  const auto target = http::parse_authority(request_.authority);
  if (!http::same_authority(*target, *host, request_.scheme, request_.is_connect()))
    return bad("Host and target name different servers");
  return {};
}

Problem Server::check_body() {
  const auto& framing = head_.framing();
  if (framing.other_coding) return {.why = Fault::kNotImplemented, .detail = "a transfer coding that is not chunked"};
  if (framing.chunked && request_.version != Version::kHttp11) return bad("Transfer-Encoding in HTTP/1.0");
  request_.content_length = framing.content_length;
  request_.has_body = framing.chunked || framing.content_length.value_or(0) > 0;
  if (request_.is_connect()) {
    if (request_.has_body) return bad("CONNECT with a body");
    request_.content_length.reset();
  }
  request_.expects_continue = framing.expects_continue && request_.has_body && request_.version == Version::kHttp11;
  return {};
}

void Server::check_upgrade() {
  const auto& framing = head_.framing();
  if (!framing.upgrade_named || request_.version != Version::kHttp11) return;
  if (request_.has_body || request_.is_connect()) return;
  request_.protocol = framing.upgrade;
}

void Server::take_body(std::string_view& bytes) {
  switch (body_.next(bytes, room())) {
    case BodyReader::Got::kMore:
      return;
    case BodyReader::Got::kBad:
      return fail(body_.problem());
    case BodyReader::Got::kData:
      awaits_continue_ = false;
      outstanding_ += body_.data().size();
      events_.on_data(stream_, body_.data());
      if (!open_ || !body_.is_ended()) return;
      break;
    case BodyReader::Got::kEnd:
      break;
  }
  in_ = In::kAnswer;
  events_.on_end(stream_, body_.trailers());
  finish_if_whole();
}

void Server::take_tunnel(std::string_view& bytes) {
  const auto piece = bytes.substr(0, room());
  bytes.remove_prefix(piece.size());
  outstanding_ += piece.size();
  events_.on_data(stream_, piece);
}

void Server::receive_end() {
  if (over_ || peer_ended_) return;
  peer_ended_ = true;
  switch (in_) {
    case In::kRequestLine:
      // An empty line before a request that never came is not the beginning of one.
      if (!lines_.is_inside()) {
        over_ = true;
        return;
      }
      [[fallthrough]];
    case In::kFields:
    case In::kBody:
      return fail({.why = Fault::kEndedEarly, .detail = "the client closed within a request"});
    case In::kTunnel:
      in_ = In::kEnded;
      events_.on_end(stream_, nullptr);
      return finish_if_whole();
    default:
      last_ = true;  // the answer under way is
  }
}

void Server::sent(std::size_t bytes) {
  output_.sent(bytes);
  if (!above_ || output_.size() > limits_.max_buffered / 2) return;
  above_ = false;
  if (open_) events_.on_writable(stream_);
}

void Server::note_output() { above_ |= output_.size() > limits_.max_buffered; }

void Server::send_interim(StreamId stream, const Response& response) {
  if (!is_open(stream) || out_ != Out::kHead || !response.is_interim() || response.status < 100) return;
  if (version_ != Version::kHttp11) return;
  if (response.status == 100) awaits_continue_ = false;
  write_status_line(output_.text(), response.status, response.reason);
  write_fields(output_.text(), response.fields);
  output_.text() += "\r\n";
}

void Server::send_response(StreamId stream, const Response& response) {
  if (response.is_interim()) return send_interim(stream, response);
  if (!is_open(stream) || out_ != Out::kHead) return;
  const bool success = response.status >= 200 && response.status < 300;
  const bool tunnel = in_ == In::kAgreement && (is_connect_ ? success : response.status == 101);
  if (response.status == 101 && !tunnel) {
    write_error(Fault::kBadResponse);  // nobody asked for it
    out_ = Out::kDone;
    last_ = true;
  } else {
    write_head(response, tunnel);
  }
  if (tunnel) return begin_tunnel();
  if (in_ == In::kAgreement) in_ = In::kAnswer;
  finish_if_whole();
}

void Server::write_head(const Response& response, bool tunnel) {
  last_ |= shutting_down_ || in_ == In::kAgreement || awaits_continue_;
  write_status_line(output_.text(), response.status, response.reason);
  write_fields(output_.text(), response.fields);
  write_framing(response, tunnel);
  write_connection(tunnel);
  output_.text() += "\r\n";
  note_output();
}

// RFC 9112 §6.3, RFC 9110 §8.6.
void Server::write_framing(const Response& response, bool tunnel) {
  auto& out = output_.text();
  const auto length = response.content_length;
  const auto write_length = [&out](std::uint64_t bytes) {
    out += "content-length: ";
    write_number(out, bytes);
    out += "\r\n";
  };
  out_ = Out::kDone;
  writer_.start(BodyWriter::Kind::kNone);
  if (tunnel || response.status == 204) return;
  if (is_head_ || response.status == 304) {
    if (length) write_length(*length);
  } else if (!response.has_body) {
    write_length(0);
  } else if (length) {
    write_length(*length);
    writer_.start(BodyWriter::Kind::kLength, *length);
    out_ = Out::kBody;
  } else if (version_ == Version::kHttp11) {
    out += "transfer-encoding: chunked\r\n";
    writer_.start(BodyWriter::Kind::kChunked);
    out_ = Out::kBody;
  } else {
    writer_.start(BodyWriter::Kind::kUntilClose);
    last_ = true;
    out_ = Out::kBody;
  }
}

void Server::write_connection(bool tunnel) {
  auto& out = output_.text();
  if (tunnel) {
    if (is_connect_) return;
    write_field(out, "connection", "upgrade");
    write_field(out, "upgrade", protocol_);
  } else if (last_) {
    write_field(out, "connection", "close");
  } else if (version_ == Version::kHttp10) {
    write_field(out, "connection", "keep-alive");
  }
}

void Server::begin_tunnel() {
  in_ = In::kTunnel;
  out_ = Out::kTunnel;
  last_ = true;
  if (!peer_ended_) return;
  in_ = In::kEnded;
  events_.on_end(stream_, nullptr);
}

void Server::send_data(StreamId stream, std::string_view bytes) {
  if (!is_open(stream)) return;
  if (out_ == Out::kTunnel) {
    output_.text() += bytes;
  } else if (out_ == Out::kBody) {
    if (!writer_.write(output_.text(), bytes)) return fail({.why = Fault::kInternal, .detail = "a body too long"});
  }
  note_output();
}

void Server::send_end(StreamId stream, const Fields* trailers) {
  if (!is_open(stream) || (out_ != Out::kTunnel && out_ != Out::kBody)) return;
  if (out_ == Out::kBody && !writer_.end(output_.text(), trailers))
    return fail({.why = Fault::kInternal, .detail = "a body too short"});
  out_ = Out::kDone;
  finish_if_whole();
}

// What output() holds may be the end of an earlier answer, so it stays.
void Server::reset(StreamId stream, Fault) {
  if (!is_open(stream)) return;
  open_ = false;
  over_ = true;
}

void Server::consume(StreamId stream, std::size_t bytes) {
  if (is_open(stream)) outstanding_ -= std::min(outstanding_, bytes);
}

void Server::shut_down() {
  shutting_down_ = true;
  if (in_ == In::kRequestLine && !lines_.is_inside()) over_ = true;
}

void Server::finish_if_whole() {
  if (!open_ || out_ != Out::kDone || (in_ != In::kAnswer && in_ != In::kEnded)) return;
  open_ = false;
  lines_.release();
  if (last_) {  // and its head said so
    over_ = true;
  } else {
    in_ = In::kRequestLine;
  }
}

void Server::write_error(Fault why) {
  auto& out = output_.text();
  write_status_line(out, to_status(why), {});
  write_field(out, "content-length", "0");
  write_field(out, "connection", "close");
  out += "\r\n";
}

void Server::refuse(const Problem& problem) {
  write_error(problem.why);
  over_ = true;
  events_.on_refused(++stream_, request_, problem.why, problem.detail);
}

void Server::fail(const Problem& problem) {
  if (open_ && out_ == Out::kHead && problem.why != Fault::kEndedEarly) write_error(problem.why);
  open_ = false;
  over_ = true;
  events_.on_failed(problem.why, problem.detail);
}

}  // namespace

std::unique_ptr<http::ServerCodec> make_server_codec(http::ServerEvents& events, const http::Limits& limits) {
  return std::make_unique<Server>(events, limits);
}

}  // namespace underpass::http1
