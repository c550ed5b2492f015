// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/upstream.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "userspace_proxy/net/non_blocking.h"
#include "userspace_proxy/net/tcp.h"
#include "userspace_proxy/net/tcp_transport.h"
#include "userspace_proxy/session/http_codecs.h"
#include "userspace_proxy/session/tunnel_pool.h"
#include "userspace_proxy/session/upstream_pool.h"

namespace underpass::session {
namespace {

using telemetry::RequestFlag;

constexpr std::uint32_t kInterest = EPOLLIN | EPOLLRDHUP | EPOLLOUT | EPOLLET;
constexpr std::uint32_t kGone = EPOLLERR | EPOLLHUP;

std::string_view bytes_of(const up_addr& addr) { return {reinterpret_cast<const char*>(&addr), sizeof(addr)}; }

}  // namespace

bool UpstreamKey::operator==(const UpstreamKey& other) const {
  return pod == other.pod && port == other.port && http2 == other.http2 && tunnel == other.tunnel &&
         errand == other.errand && bytes_of(server) == bytes_of(other.server) &&
         bytes_of(client) == bytes_of(other.client) && client_netns == other.client_netns;
}

std::size_t UpstreamKeyHash::operator()(const UpstreamKey& key) const {
  const auto mix = [](std::size_t seed, std::size_t more) { return (seed ^ more) * 0x9e3779b97f4a7c15ull; };
  const std::hash<std::string_view> hash;
  auto out = mix(key.pod, (std::size_t{key.port} << 2) | (key.http2 ? 2 : 0) | (key.errand ? 1 : 0));
  out = mix(out, hash(bytes_of(key.server)));
  out = mix(out, hash(bytes_of(key.client)));
  return mix(out, key.client_netns);
}

Upstream::Upstream(HttpHost& host, UpstreamGroup& group)
    : host_(host),
      group_(group),
      deadline_(host.loop().now() + host.routes()->settings().connect_timeout),
      idle_since_(host.loop().now()) {}

Upstream::~Upstream() = default;

NetnsCookie Upstream::pod() const { return group_.key.pod; }
bool Upstream::dials_v6() const { return !net::is_v4(group_.key.server); }

// --- until it is connected ------------------------------------------------------------------------------------------

void Upstream::start() {
  if (group_.key.tunnel == UP_TUNNEL_NONE) return host_.find_dial(*this);
  const auto& user = *group_.waiting.front();
  for_ = *user.for_whom();
  carried_ = user.carried();
  host_.tunnels().open(*this);
}

// That it can be written to is told as of a socket that is connected.
void Upstream::on_tunnel(std::unique_ptr<net::Transport> stream) {
  stage_ = Stage::kConnecting;
  shown_ = host_.routes()->find_certificate_of(group_.key.pod);
  if (!socket_.attach(std::move(stream), kInterest, *this)) fail(errno);
}

void Upstream::no_tunnel(Flag flag, std::string_view details) {
  end(flag == Flag::kDrained ? RequestFlag::kDrained : RequestFlag::kConnectFailed, details);
}

void Upstream::use(std::unique_ptr<net::Transport> server) {
  ++group_.dialling;
  if (!socket_.attach(std::move(server), kInterest, *this)) return fail(errno);
  open();
}

void Upstream::dial(UniqueFd socket) {
  stage_ = Stage::kConnecting;
  if (group_.waiting.empty()) return end(RequestFlag::kNone, "");  // nobody waits any more
  const auto& user = *group_.waiting.front();
  const auto* record = user.for_whom();
  const bool may = group_.key.errand   ? host_.peers().announce_errand(socket.get())
                   : record == nullptr ? host_.peers().announce(socket.get(), user.carried())
                                       : announce(host_.peers(), socket.get(), user.carried(), *record);
  if (!may) return fail(errno);
  const auto to = net::to_socket_address(group_.key.server, group_.key.port);
  if (::connect(socket.get(), to.get(), to.size) != 0 && errno != EINPROGRESS) return fail(errno);
  if (!socket_.attach(net::make_tcp(host_.loop(), std::move(socket)), kInterest, *this)) fail(errno);
}

void Upstream::no_dial(Flag flag, const char* details) {
  end(flag == Flag::kDrained ? RequestFlag::kDrained : RequestFlag::kNoUpstream, details);
}

void Upstream::on_connect(std::uint32_t events) {
  if ((events & kGone) != 0) {
    const int error = socket_.transport().take_error();
    // Hung up without an error: it was connected, and reset before anybody asked.
    return fail(error == 0 ? ECONNRESET : error);
  }
  if ((events & EPOLLOUT) == 0) return;
  open();
  host_.touch(*this);
  host_.upstreams().on_room(*this);
}

void Upstream::open() {
  stage_ = Stage::kOpen;
  --group_.dialling;
  limits_by_ = host_.routes();
  codec_ = make_client_codec(group_.key.http2, limits_by_->limits(), *this);
}

void Upstream::fail(int error) {
  end(RequestFlag::kConnectFailed, std::string("connect: ") + std::strerror(error == 0 ? ECONNRESET : error));
}

void Upstream::check_time(net::Clock::time_point now) {
  if (stage_ == Stage::kWaitsForDial && now >= deadline_)
    return end(RequestFlag::kNoUpstream, "no socket to dial with came in time");
  if (stage_ == Stage::kConnecting && now >= deadline_) return end(RequestFlag::kConnectFailed, "connect: timeout");
  const auto keep = host_.routes()->settings().http.keep_alive_timeout;
  if (stage_ != Stage::kOpen || !streams_.empty()) return;
  const auto idle = now - idle_since_;
  if ((keep.count() > 0 && idle >= keep) || (is_leaving_ && idle >= 2 * kLeaveQuiet)) end(RequestFlag::kNone, "");
}

// --- requests -------------------------------------------------------------------------------------------------------

// What a server says while it was not asked can only be that it goes.
bool Upstream::can_send() const {
  return stage_ == Stage::kOpen && !is_outdated_ && codec_->can_send() && (group_.key.http2 || !socket_.may_read());
}

bool Upstream::was_left() {
  if (group_.key.http2) return false;
  char byte = 0;
  if (socket_.transport().peek(&byte, 1) < 0 && net::would_block(errno)) return false;
  socket_.note(EPOLLIN);
  host_.touch(*this);
  return true;
}

http::StreamId Upstream::send(UpstreamUser& user, const http::Request& request) {
  bytes_before_ = socket_.bytes_sent();
  const auto stream = codec_->send_request(request);
  if (stream == 0) return 0;
  was_asked_ = true;
  streams_.emplace_back(stream, &user);  // numbers only grow
  host_.touch(*this);
  return stream;
}

UpstreamUser* Upstream::find(http::StreamId stream) {
  const auto found = std::ranges::lower_bound(streams_, stream, {}, &std::pair<http::StreamId, UpstreamUser*>::first);
  return found == streams_.end() || found->first != stream ? nullptr : found->second;
}

void Upstream::forget(http::StreamId stream) {
  std::erase_if(streams_, [&](const auto& one) { return one.first == stream; });
  if (streams_.empty()) idle_since_ = host_.loop().now();
  host_.touch(*this);
}

void Upstream::abandon(http::StreamId stream, http::Fault why) {
  codec_->reset(stream, why);
  is_cut_ = is_cut_ || !group_.key.http2;
  forget(stream);
}

Reached Upstream::reached(http::StreamId stream) const {
  if (codec_ == nullptr) return Reached::kNot;
  const bool unseen = codec_->is_unseen(stream);
  if (group_.key.http2) return unseen ? Reached::kNot : Reached::kPerhaps;
  if (socket_.bytes_sent() == bytes_before_) return Reached::kNot;
  return unseen ? Reached::kNotHeard : Reached::kPerhaps;
}

void Upstream::on_response(http::StreamId stream, http::Response& response) {
  if (auto* user = find(stream)) user->server_response(response);
}

void Upstream::on_data(http::StreamId stream, std::string_view bytes) {
  if (auto* user = find(stream))
    user->server_data(bytes);
  else
    codec_->consume(stream, bytes.size());
}

void Upstream::on_end(http::StreamId stream, const http::Fields* trailers) {
  if (auto* user = find(stream)) user->server_end(trailers);
}

void Upstream::on_writable(http::StreamId stream) {
  if (auto* user = find(stream)) user->server_writable();
}

void Upstream::on_reset(http::StreamId stream, http::Fault why) {
  auto* user = find(stream);
  if (user == nullptr) return;
  const auto reached = this->reached(stream);
  forget(stream);
  switch (why) {
    case http::Fault::kBadResponse:
      return user->server_gone(RequestFlag::kUpstreamError, "the server's answer is no HTTP", reached);
    case http::Fault::kNotImplemented:
      return user->server_gone(RequestFlag::kUpstreamError, kNoUpgrades, reached);
    case http::Fault::kEndedEarly:
      return user->server_gone(RequestFlag::kUpstreamGone, "the server closed the connection", reached);
    default:
      return user->server_gone(RequestFlag::kUpstreamReset, "the server reset the stream", reached);
  }
}

void Upstream::on_failed(http::Fault why, std::string_view detail) {
  const auto flag = why == http::Fault::kEndedEarly ? RequestFlag::kUpstreamGone : RequestFlag::kUpstreamError;
  end(flag, detail.empty() ? "the server closed the connection" : detail);
}

void Upstream::on_room() { host_.touch(*this); }

// --- its socket -----------------------------------------------------------------------------------------------------

void Upstream::on_events(std::uint32_t events) {
  if (stage_ == Stage::kEnded) return;
  if (stage_ == Stage::kConnecting) {
    socket_.note(events);
    return on_connect(events);
  }
  socket_.note(events);
  host_.touch(*this);
}

void Upstream::settle() {
  if (stage_ != Stage::kOpen) return;
  const auto step = socket_.pump(*codec_, host_.buffers());
  if (stage_ != Stage::kOpen) return;  // ended from within
  switch (step.outcome) {
    case HttpSocket::Outcome::kFailed:
      socket_.hear_out(*codec_, host_.buffers());  // it may have answered before it went
      if (stage_ != Stage::kOpen) return;
      return end(RequestFlag::kUpstreamGone, std::string("server: ") + std::strerror(step.error));
    case HttpSocket::Outcome::kEnded:
      return end(RequestFlag::kUpstreamGone, "the server closed the connection");
    case HttpSocket::Outcome::kMore:
    case HttpSocket::Outcome::kWaits:
      break;
  }
  if (streams_.empty() && (socket_.heard_end() || is_outdated_)) return end(RequestFlag::kNone, "");
  if (can_send()) host_.upstreams().on_room(*this);
}

void Upstream::leave_if_outdated() {
  if (group_.key.tunnel == UP_TUNNEL_NONE || !shown_) return;
  is_outdated_ = is_outdated_ || host_.routes()->find_certificate_of(group_.key.pod) != shown_;
  if (is_outdated_) host_.touch(*this);
}

void Upstream::end(RequestFlag flag, std::string_view details) {
  if (stage_ == Stage::kEnded) return;
  const bool was_open = stage_ == Stage::kOpen;
  stage_ = Stage::kEnded;
  if (!was_open) {
    --group_.dialling;
    host_.forget_dial(*this);
    if (group_.key.tunnel != UP_TUNNEL_NONE) host_.tunnels().forget(*this);
  }
  // In order only where nothing is cut off.
  socket_.close(streams_.empty() && !is_cut_);
  for (const auto& [stream, user] : std::exchange(streams_, {})) user->server_gone(flag, details, reached(stream));
  if (!was_open) host_.upstreams().on_dial_failed(*this, flag, details);
  host_.upstreams().on_ended(*this, flag, details);
}

}  // namespace underpass::session
