// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/http_connection.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "userspace_proxy/session/exchange.h"
#include "userspace_proxy/session/http_codecs.h"

namespace underpass::session {
namespace {

using net::Clock;
using telemetry::RequestFlag;

constexpr std::uint32_t kInterest = EPOLLIN | EPOLLRDHUP | EPOLLET;
// How long a client may go on sending that was answered before it was done.
constexpr auto kLinger = std::chrono::seconds(2);

}  // namespace

HttpConnection::HttpConnection(HttpHost& host, NetnsCookie pod, std::uint64_t id, Record record, PortProtocol protocol)
    : began(host.loop().now()),
      host_(host),
      pod_(pod),
      id_(id),
      record_(std::move(record)),
      protocol_(protocol),
      quiet_since_(began) {}

HttpConnection::~HttpConnection() = default;

void HttpConnection::start(std::unique_ptr<net::Transport> client, std::unique_ptr<net::Transport> server) {
  server_ = std::move(server);
  if (!socket_.attach(std::move(client), kInterest, *this))
    finish(Flag::kConnectFailed, std::string("epoll: ") + std::strerror(errno), false);
}

// --- what does it speak? --------------------------------------------------------------------------------------------

void HttpConnection::look() {
  std::array<char, kDetectBytes> bytes;
  const ssize_t got = socket_.transport().peek(bytes.data(), bytes.size());
  if (got < 0) {
    if (errno != EAGAIN && errno != EINTR)
      finish(Flag::kClientReset, std::string("client: ") + std::strerror(errno), false);
    return;
  }
  const std::string_view begin(bytes.data(), static_cast<std::size_t>(got));
  looked_at_ = begin.size();
  if (got == 0) return protocol_ == PortProtocol::kDetect ? give_back() : finish(Flag::kNone, "", true);
  const auto spoken = protocol_ == PortProtocol::kDetect ? detect(begin) : detect_version(begin);
  if (spoken != Spoken::kUndecided) speak(spoken);
}

void HttpConnection::speak(Spoken spoken) {
  if (spoken == Spoken::kTcp) return give_back();
  stage_ = Stage::kHttp;
  is_http2_ = spoken == Spoken::kHttp2;
  limits_by_ = host_.routes();
  host_.on_decided(*this);
  quiet_since_ = host_.loop().now();
  codec_ = make_server_codec(is_http2_, limits_by_->limits(), *this);
  if (host_.is_draining() || is_leaving()) drain();
  host_.touch(*this);
}

// Between two pumps, since no codec may go while it is called.
void HttpConnection::go_on_in_http2() {
  const auto upgrade = std::exchange(upgrade_, nullptr);
  is_upgraded_ = is_http2_ = true;
  codec_ = std::move(upgrade->codec);
  on_request(1, upgrade->request);
  if (socket_.heard_end()) codec_->receive_end();
}

void HttpConnection::give_back() {
  stage_ = Stage::kEnded;
  host_.on_not_http(*this, socket_.release());
}

// --- its socket -----------------------------------------------------------------------------------------------------

void HttpConnection::on_events(std::uint32_t events) {
  if (stage_ == Stage::kEnded) return;
  socket_.note(events);
  if (stage_ == Stage::kDetecting) {
    look();
    return;
  }
  // That it is gone is heard even where nothing is to be read from it.
  if ((events & EPOLLERR) != 0)
    if (const int error = socket_.transport().take_error(); error != 0)
      return end(Flag::kClientReset, std::string("client: ") + std::strerror(error));
  host_.touch(*this);
}

void HttpConnection::settle() {
  if (stage_ == Stage::kLingering) {
    if (!socket_.discard(host_.buffers())) finish(flag_, details_, true);
    return;
  }
  if (stage_ != Stage::kHttp) return;
  auto step = socket_.pump(*codec_, host_.buffers());
  if (upgrade_ && stage_ == Stage::kHttp && step.outcome == HttpSocket::Outcome::kWaits && codec_->output().empty()) {
    go_on_in_http2();
    step = socket_.pump(*codec_, host_.buffers());
  }
  if (stage_ != Stage::kHttp) return;
  if (!codec_->is_in_head())
    head_since_ = {};
  else if (head_since_ == Clock::time_point())
    head_since_ = host_.loop().now();
  if (step.outcome == HttpSocket::Outcome::kFailed)
    return end(Flag::kClientReset, std::string("client: ") + std::strerror(step.error));
  if (step.outcome == HttpSocket::Outcome::kEnded) return is_cut_ ? finish(flag_, details_, false) : linger();
  if (socket_.heard_end() && exchanges_.empty() && codec_->output().empty()) finish(flag_, details_, true);
}

// What it still sends is not answered by a reset, which would take our last words with it.
void HttpConnection::linger() {
  end_exchanges(RequestFlag::kDownstreamGone, "the connection ended");
  if (socket_.heard_end()) return finish(flag_, details_, true);
  stage_ = Stage::kLingering;
  must_end_by = std::min(must_end_by, host_.loop().now() + kLinger);
  socket_.shut_write();
  host_.touch(*this);
}

void HttpConnection::check_time(Clock::time_point now) {
  const auto& http = host_.routes()->settings().http;
  if (now >= must_end_by)
    return stage_ == Stage::kLingering ? finish(flag_, details_, true)
                                       : end(Flag::kDrained, "the drain's time is over");
  if (stage_ == Stage::kDetecting) {
    if (protocol_ == PortProtocol::kDetect && now - began >= http.detection_timeout) {
      std::array<char, kDetectBytes> bytes;
      const ssize_t got = socket_.transport().peek(bytes.data(), bytes.size());
      return speak(detect_late({bytes.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))}));
    }
    if (looked_at_ > 0 && now - began >= http.request_headers_timeout) {
      head_since_ = began;
      speak(Spoken::kHttp1);
      settle();
      return check_time(now);
    }
    if (looked_at_ == 0 && is_leaving() && now - std::max(began, leaving_since_) >= kLeaveQuiet)
      return finish(Flag::kNone, "", true);
    if (http.keep_alive_timeout.count() > 0 && now - began >= http.keep_alive_timeout) finish(Flag::kNone, "", true);
    return;
  }
  if (stage_ != Stage::kHttp) return;
  if (head_since_ != Clock::time_point()) return check_head_time(now);
  if (exchanges_.empty()) return check_quiet(now);
  const auto tunnel_idle = host_.routes()->settings().idle_timeout;
  std::vector<Exchange*> late;
  for (const auto& exchange : exchanges_) {
    const auto idle = exchange->is_tunnel() ? tunnel_idle : http.stream_idle_timeout;
    if (idle.count() > 0 && now - exchange->last_byte() >= idle) late.push_back(exchange.get());
  }
  for (auto* exchange : late) exchange->abort(RequestFlag::kTimeout, "idle");
}

// Requests that are under way beside it, those of HTTP/2, end with it.
void HttpConnection::check_head_time(Clock::time_point now) {
  if (now - head_since_ < host_.routes()->settings().http.request_headers_timeout) return;
  flag_ = Flag::kIdle;
  details_ = "a request's head did not come in time";
  codec_->refuse_head();
  host_.touch(*this);
}

void HttpConnection::check_quiet(Clock::time_point now) {
  const auto keep = host_.routes()->settings().http.keep_alive_timeout;
  const bool leaves = is_leaving() && now - std::max(quiet_since_, leaving_since_) >= kLeaveQuiet;
  if (!leaves && (keep.count() == 0 || now - quiet_since_ < keep)) return;
  // It is told, and has until the next look to say that it understood.
  if (leaves || was_told_to_go_) return finish(Flag::kNone, "", true);
  tell_to_go();
}

void HttpConnection::tell_to_go() {
  was_told_to_go_ = true;
  codec_->shut_down();
  host_.touch(*this);
}

// An idle client of HTTP/1 can be told only with the answer to a request, which may be on its way: see kLeaveQuiet.
void HttpConnection::drain() {
  if (!is_leaving()) leaving_since_ = host_.loop().now();
  if (stage_ != Stage::kHttp) return;
  if (is_http2_ || !exchanges_.empty() || codec_->is_in_head()) tell_to_go();
}

void HttpConnection::recheck() {
  std::vector<Exchange*> all;
  for (const auto& exchange : exchanges_) all.push_back(exchange.get());
  for (auto* exchange : all) exchange->recheck();
}

void HttpConnection::end(Flag flag, std::string details) {
  if (stage_ == Stage::kEnded) return;
  end_exchanges(flag == Flag::kDrained ? RequestFlag::kDrained : RequestFlag::kDownstreamGone, details);
  finish(flag, std::move(details), false);
}

void HttpConnection::finish(Flag flag, std::string details, bool in_order) {
  if (stage_ == Stage::kEnded) return;
  stage_ = Stage::kEnded;
  flag_ = flag;
  details_ = std::move(details);
  socket_.close(in_order);
  if (server_) server_->close(true);
  end_exchanges(RequestFlag::kDownstreamGone, details_);
  host_.on_ended(*this);
}

void HttpConnection::end_exchanges(RequestFlag flag, std::string_view details, unsigned told) {
  if (const auto upgrade = std::exchange(upgrade_, nullptr)) tell(upgrade->request, 0, flag, details);
  while (!exchanges_.empty()) exchanges_.back()->client_gone(flag, details, told);
}

// --- its requests ---------------------------------------------------------------------------------------------------

Exchange* HttpConnection::find(http::StreamId stream) {
  for (const auto& exchange : exchanges_)
    if (exchange->client_stream() == stream) return exchange.get();
  return nullptr;
}

void HttpConnection::forget(Exchange& exchange) {
  const auto found = std::ranges::find(exchanges_, &exchange, &std::unique_ptr<Exchange>::get);
  if (found == exchanges_.end()) return;
  host_.give_back(std::move(*found));
  exchanges_.erase(found);
  if (exchanges_.empty()) quiet_since_ = host_.loop().now();
  host_.touch(*this);
}

// In HTTP/1 the connection's end may be the answer's, so it is to be a reset.
void HttpConnection::cut(http::StreamId stream) {
  codec_->reset(stream, http::Fault::kInternal);
  is_cut_ = codec_->is_over();
}

void HttpConnection::on_request(http::StreamId stream, http::Request& request) {
  ++requests_;
  head_since_ = {};
  if (is_leaving() && !was_told_to_go_) tell_to_go();
  auto& exchange = *exchanges_.emplace_back(host_.make_exchange());
  exchange.begin(*this, stream, request);
}

bool HttpConnection::on_http2_offered(http::Request& request, std::string_view settings) {
  if (host_.is_draining() || is_leaving() || was_told_to_go_) return false;
  auto codec = make_upgraded_codec(limits_by_->limits(), *this, request, settings);
  if (!codec) return false;
  upgrade_ = std::make_unique<Upgrade>(std::move(codec), std::move(request));
  request = {};
  return true;
}

void HttpConnection::on_refused(http::StreamId, const http::Request& request, http::Fault why,
                                std::string_view detail) {
  ++requests_;
  head_since_ = {};
  tell(request, http::to_status(why),
       why == http::Fault::kTooLate ? RequestFlag::kHeadTimeout : RequestFlag::kProtocolError, detail);
}

void HttpConnection::tell(const http::Request& request, unsigned status, RequestFlag flag, std::string_view details) {
  telemetry::RequestRecord record;
  record.start = std::chrono::system_clock::now();
  record.connection = &record_;
  record.method = request.method;
  record.authority = request.authority;
  record.path = request.path;
  record.version = request.version;
  record.status = status;
  record.flag = flag;
  record.details = details;
  record.inbound_reported = record_.inbound;
  record.outbound_reported = !record_.inbound;
  host_.on_request_ended(record);
}

void HttpConnection::on_data(http::StreamId stream, std::string_view bytes) {
  if (auto* exchange = find(stream))
    exchange->client_data(bytes);
  else
    codec_->consume(stream, bytes.size());  // answered already
}

void HttpConnection::on_end(http::StreamId stream, const http::Fields* trailers) {
  if (auto* exchange = find(stream)) exchange->client_end(trailers);
}

void HttpConnection::on_reset(http::StreamId stream, http::Fault why) {
  auto* exchange = find(stream);
  if (exchange == nullptr) return;
  if (why == http::Fault::kCancelled || why == http::Fault::kEndedEarly || why == http::Fault::kRefused)
    exchange->client_gone(RequestFlag::kDownstreamGone, "the client reset the stream");
  else
    exchange->client_gone(RequestFlag::kProtocolError, "the client's HTTP was refused");
}

void HttpConnection::on_writable(http::StreamId stream) {
  if (auto* exchange = find(stream)) exchange->client_writable();
}

void HttpConnection::on_failed(http::Fault why, std::string_view detail) {
  const bool gone = why == http::Fault::kEndedEarly || why == http::Fault::kCancelled;
  if (!gone && flag_ == Flag::kNone) {
    flag_ = Flag::kProtocolError;
    details_ = detail;
  }
  end_exchanges(gone                           ? RequestFlag::kDownstreamGone
                : why == http::Fault::kTooLate ? RequestFlag::kHeadTimeout
                                               : RequestFlag::kProtocolError,
                detail, gone || is_http2_ ? 0 : http::to_status(why));
  host_.touch(*this);
}

// --- what policy knows of it ----------------------------------------------------------------------------------------

const HttpPolicing* HttpConnection::policing() {
  const auto& routes = *host_.routes();
  return routes.policing_of(record_.server_netns);
}

const authz::Authorizer::Known* HttpConnection::known() {
  const auto* policing = this->policing();
  if (policing == nullptr) return nullptr;
  if (known_by_ != host_.routes()) {
    known_ = policing->authorizer.know(peer_of(record_));
    known_by_ = host_.routes();
  }
  return &*known_;
}

}  // namespace underpass::session
