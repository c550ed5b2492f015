// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/tunnel_client.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "userspace_proxy/http2/codecs.h"
#include "userspace_proxy/net/tcp.h"
#include "userspace_proxy/session/tunnel_pool.h"
#include "userspace_proxy/session/tunnel_stream.h"

namespace underpass::session {
namespace {

constexpr std::uint32_t kGone = EPOLLERR | EPOLLHUP;
constexpr unsigned kMostTries = 3;

std::string_view bytes_of(const up_addr& addr) { return {reinterpret_cast<const char*>(&addr), sizeof(addr)}; }

// "10.0.0.1:80", "[fd00::1]:80".
std::string authority_of(const up_addr& addr, __be16 port) {
  const IpAddress ip(addr);
  const auto text = ip.to_string();
  return (ip.is_v4() ? text : "[" + text + "]") + ":" + std::to_string(ntohs(port));
}

http::Request request_for(const Record& record, telemetry::Dice& dice) {
  http::Request request;
  request.version = http::Version::kHttp2;
  request.method = "CONNECT";
  request.authority = authority_of(record.server, record.server_port);
  std::string baggage = "k8s.cluster.name=Kubernetes,k8s.namespace.name=";
  baggage += record.name(Record::kSourceNamespace);
  baggage += ",k8s.pod.name=";
  baggage += record.name(Record::kSourcePod);
  request.fields.add("baggage", baggage);
  // RFC 7239: an address with a port is quoted.
  request.fields.add("forwarded", "for=\"" + authority_of(record.client, record.client_port) + "\"");
  telemetry::trace(request.fields, dice);
  return request;
}

}  // namespace

bool TunnelKey::operator==(const TunnelKey& other) const {
  return pod == other.pod && bytes_of(server) == bytes_of(other.server) && server_id == other.server_id;
}

std::size_t TunnelKeyHash::operator()(const TunnelKey& key) const {
  const std::hash<std::string_view> hash;
  return (key.pod * 0x9e3779b97f4a7c15ull) ^ hash(bytes_of(key.server)) ^ (hash(key.server_id) << 1);
}

TunnelClient::TunnelClient(HttpHost& host, TunnelGroup& group)
    : Tunnel(host), group_(group), deadline_(idle_since_ + host.routes()->settings().connect_timeout) {}

NetnsCookie TunnelClient::pod() const { return group_.key.pod; }
bool TunnelClient::dials_v6() const { return !net::is_v4(group_.key.server); }

// --- until it is established ----------------------------------------------------------------------------------------

void TunnelClient::dial(UniqueFd socket) {
  stage_ = Stage::kConnecting;
  if (group_.waiting.empty()) return end(Flag::kNone, "");  // nobody waits any more
  shown_ = host_.routes()->find_certificate_of(group_.key.pod);
  if (!shown_) return end(Flag::kConnectFailed, "tunnel: there is no certificate of the client's");
  if (!host_.peers().announce(socket.get(), group_.waiting.front().user->carried())) return fail(errno);
  const auto to = net::to_socket_address(group_.key.server, htons(UP_TUNNEL_PORT));
  if (::connect(socket.get(), to.get(), to.size) != 0 && errno != EINPROGRESS) return fail(errno);
  auto tls =
      tls::TlsTransport::connect(host_.loop(), std::move(socket), shown_,
                                 {.id = group_.key.server_id, .trust_domain = host_.routes()->table().trust_domain});
  if (!attach(std::move(tls), *this)) fail(errno);
}

void TunnelClient::on_connect(std::uint32_t events) {
  if ((events & kGone) != 0) {
    const int error = socket_.transport().take_error();
    // Hung up without an error: it was connected, and reset before anybody asked.
    return fail(error == 0 ? ECONNRESET : error);
  }
  if ((events & EPOLLOUT) == 0) return;
  stage_ = Stage::kOpen;
  --group_.dialling;
  codec_ = http2::make_client_codec(kTunnelLimits, *this);
  host_.touch(*this);
  host_.tunnels().on_room(*this);
}

std::string TunnelClient::describe(int error) const {
  if (tls_ != nullptr && !tls_->problem().empty()) return "tunnel: TLS: " + tls_->problem();
  return std::string("tunnel: ") + std::strerror(error == 0 ? ECONNRESET : error);
}

void TunnelClient::fail(int error) { end(Flag::kConnectFailed, describe(error)); }

void TunnelClient::check_time(net::Clock::time_point now) {
  if (stage_ == Stage::kEnded) return;
  const bool is_established = tls_ != nullptr && tls_->is_established();
  if (!is_established && now >= deadline_) {
    if (stage_ == Stage::kWaitsForDial) return end(Flag::kNoDial, "no socket to dial with came in time");
    return end(Flag::kConnectFailed, "tunnel: timeout");
  }
  if (!is_established) return;
  if (has_streams() || !opening_.empty()) {
    if (!check_peer(now)) end(Flag::kUpstreamReset, "tunnel: nobody answers");
  } else if (is_leaving_ || now - idle_since_ >= kTunnelIdle) {
    end(Flag::kNone, "");
  }
}

// --- its streams ----------------------------------------------------------------------------------------------------

bool TunnelClient::can_take() const { return stage_ == Stage::kOpen && !is_leaving_ && codec_->can_send(); }

void TunnelClient::open(TunnelUser& user, unsigned tries) {
  const auto stream = codec_->send_request(request_for(user.tunnelled(), host_.dice()));
  if (stream == 0) return user.no_tunnel(Flag::kConnectFailed, "tunnel: it cannot be asked for");
  opening_[stream] = {
      .user = &user, .tries = tries, .heard_bytes = socket_.bytes_received(), .since = host_.loop().now()};
  touch();
}

// Where nothing at all was heard while it waited long, perhaps nobody is there any more: others are not to wait as
// well.
bool TunnelClient::give_up(const TunnelUser& user) {
  const auto found = std::ranges::find_if(opening_, [&](const auto& entry) { return entry.second.user == &user; });
  if (found == opening_.end()) return false;
  const auto [stream, opening] = *found;
  opening_.erase(found);
  codec_->reset(stream, http::Fault::kCancelled);
  touch();
  const auto waited = host_.loop().now() - opening.since;
  if (opening.heard_bytes == socket_.bytes_received() && 2 * waited >= host_.routes()->settings().connect_timeout)
    is_leaving_ = true;
  return true;
}

void TunnelClient::on_response(http::StreamId stream, http::Response& response) {
  const auto found = opening_.find(stream);
  if (found == opening_.end() || response.is_interim()) return;
  auto* user = found->second.user;
  opening_.erase(found);
  if (response.status / 100 == 2) {
    return user->on_tunnel(make_stream(stream, true));
  }
  codec_->reset(stream, http::Fault::kCancelled);
  user->no_tunnel(response.status == 401 ? Flag::kDenied : Flag::kConnectFailed,
                  "tunnel: the other node answered " + std::to_string(response.status));
}

void TunnelClient::on_data(http::StreamId stream, std::string_view bytes) { hand_on(stream, bytes); }
void TunnelClient::on_end(http::StreamId stream, const http::Fields*) { hand_on_end(stream); }
void TunnelClient::on_writable(http::StreamId stream) { hand_on_room(stream); }

void TunnelClient::on_reset(http::StreamId stream, http::Fault) {
  if (lose(stream)) return;
  const auto found = opening_.find(stream);
  if (found == opening_.end()) return;
  const auto opening = found->second;
  opening_.erase(found);
  if (codec_->is_unseen(stream) && opening.tries < kMostTries) {
    is_leaving_ = true;  // it takes no more
    return host_.tunnels().open(*opening.user, opening.tries + 1);
  }
  opening.user->no_tunnel(Flag::kConnectFailed, "tunnel: the other node reset the stream");
}

void TunnelClient::on_failed(http::Fault why, std::string_view detail) {
  const bool is_gone = why == http::Fault::kEndedEarly;
  end(Flag::kUpstreamReset, is_gone ? "tunnel: the other node closed it" : "tunnel: " + std::string(detail));
}

void TunnelClient::on_room() { touch(); }

// --- its socket -----------------------------------------------------------------------------------------------------

void TunnelClient::on_events(std::uint32_t events) {
  if (stage_ == Stage::kEnded) return;
  socket_.note(events);
  if (stage_ == Stage::kConnecting) return on_connect(events);
  touch();
}

void TunnelClient::settle() {
  if (stage_ != Stage::kOpen) return;
  const auto step = socket_.pump(*codec_, host_.buffers());
  if (stage_ != Stage::kOpen) return;  // ended from within
  switch (step.outcome) {
    case HttpSocket::Outcome::kFailed:
      return end(tls_->is_established() ? Flag::kUpstreamReset : Flag::kConnectFailed, describe(step.error));
    case HttpSocket::Outcome::kEnded:
      return end(Flag::kUpstreamReset, "tunnel: the other node closed it");
    case HttpSocket::Outcome::kMore:
    case HttpSocket::Outcome::kWaits:
      break;
  }
  if (socket_.heard_end()) return end(Flag::kUpstreamReset, "tunnel: the other node closed it");
  if (can_take()) host_.tunnels().on_room(*this);
}

void TunnelClient::leave() {
  is_leaving_ = true;
  if (stage_ == Stage::kOpen && !has_streams() && opening_.empty()) end(Flag::kNone, "");
}

void TunnelClient::leave_if_outdated() {
  if (!shown_) return;
  if (host_.routes()->find_certificate_of(group_.key.pod) != shown_) leave();
}

void TunnelClient::end(Flag flag, std::string_view details) {
  if (stage_ == Stage::kEnded) return;
  const bool was_open = stage_ == Stage::kOpen;
  stage_ = Stage::kEnded;
  if (!was_open) {
    --group_.dialling;
    host_.forget_dial(*this);
  }
  const bool in_order = !has_streams() && opening_.empty();
  lose_all();
  // What the other node has not begun with may be tried once more.
  for (const auto& [id, opening] : std::exchange(opening_, {})) {
    const bool is_unseen = was_open && tls_->is_established() && codec_->is_unseen(id);
    if (is_unseen && opening.tries < kMostTries)
      host_.tunnels().open(*opening.user, opening.tries + 1);
    else
      opening.user->no_tunnel(flag == Flag::kNone ? Flag::kConnectFailed : flag, details);
  }
  socket_.close(in_order);
  tls_ = nullptr;
  if (!was_open) host_.tunnels().on_dial_failed(*this, flag, details);
  host_.on_ended(*this);
}

}  // namespace underpass::session
