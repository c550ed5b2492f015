// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/tunnel_server.h"

#include <arpa/inet.h>
#include <spdlog/spdlog.h>

#include <cstring>
#include <utility>

#include "userspace_proxy/http/authority.h"
#include "userspace_proxy/http/chars.h"
#include "userspace_proxy/http2/codecs.h"
#include "userspace_proxy/session/tunnel_stream.h"

namespace underpass::session {
namespace {

bool is_mesh_port(std::uint16_t port) {
  return port == UP_OUTBOUND_PORT || port == UP_INBOUND_PORT || port == UP_TUNNEL_PORT;
}

}  // namespace

std::optional<TunnelTarget> parse_tunnel_target(std::string_view authority) {
  const auto parsed = http::parse_authority(authority);
  if (!parsed || !parsed->port || *parsed->port == 0) return std::nullopt;
  auto host = parsed->host;
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  const auto ip = IpAddress::parse(std::string(host));
  if (!ip) return std::nullopt;
  return TunnelTarget{.addr = ip->to_abi(), .port = htons(*parsed->port)};
}

std::uint16_t port_named(std::string_view authority, const std::map<std::string, std::uint16_t>& services) {
  const auto parsed = http::parse_authority(authority);
  if (!parsed || !parsed->port) return 0;
  auto host = parsed->host;
  if (host.ends_with('.')) host.remove_suffix(1);
  std::string name(host);
  http::make_lower(name);
  const auto found = services.find(name + ":" + std::to_string(*parsed->port));
  return found == services.end() ? std::uint16_t{0} : found->second;
}

__be16 forwarded_port(std::string_view forwarded, const up_addr& client) {
  constexpr std::string_view kFor = "for=\"";
  const auto begin = forwarded.find(kFor);
  if (begin == std::string_view::npos) return 0;
  const auto rest = forwarded.substr(begin + kFor.size());
  const auto target = parse_tunnel_target(rest.substr(0, rest.find('"')));
  return target && IpAddress(target->addr) == IpAddress(client) ? target->port : __be16{0};
}

TunnelServer::TunnelServer(HttpHost& host, NetnsCookie pod, const up_peer& peer)
    : Tunnel(host), pod_(pod), peer_(peer), began_(idle_since_) {}

void TunnelServer::start(UniqueFd socket) {
  auto identity = host_.routes()->find_certificate_of(pod_);
  if (!identity) return end("there is no certificate of the pod's");
  codec_ = http2::make_server_codec(kTunnelLimits, *this);
  auto tls = tls::TlsTransport::accept(host_.loop(), std::move(socket), std::move(identity),
                                       {.id = "", .trust_domain = host_.routes()->table().trust_domain});
  if (!attach(std::move(tls), *this)) end(std::strerror(errno));
}

void TunnelServer::check_time(net::Clock::time_point now) {
  if (is_over_) return;
  if (now >= must_end_by) return end("the drain's time is over");
  if (!tls_->is_established()) {
    if (now - began_ >= host_.routes()->settings().connect_timeout) end("the handshake took too long");
    return;
  }
  if (has_streams()) {
    if (!check_peer(now)) end("nobody answers");
  } else if (now - idle_since_ >= (is_leaving_ ? kLeaveQuiet : 2 * kTunnelIdle)) {
    end("");
  }
}

void TunnelServer::leave() {
  if (is_over_ || std::exchange(is_leaving_, true)) return;
  idle_since_ = host_.loop().now();
  codec_->shut_down();
  touch();
}

// --- its streams ----------------------------------------------------------------------------------------------------

void TunnelServer::on_request(http::StreamId stream, http::Request& request) {
  if (!request.is_connect() || !request.protocol.empty()) return refuse(stream, 404, request.authority, "no CONNECT");
  const auto target = find_target(request.authority);
  if (!target) return refuse(stream, 400, request.authority, "it is no address and port, and no Service of this pod");
  if (IpAddress(target->addr) != IpAddress(peer_.server))
    return refuse(stream, 400, request.authority, "it is no address of this pod");
  if (is_mesh_port(ntohs(target->port))) return refuse(stream, 400, request.authority, "it is a port of the mesh");
  Record record(peer_, pod_, *host_.routes(), tls_->peer_id());
  record.start = std::chrono::system_clock::now();
  record.server_port = target->port;
  if (const auto forwarded = request.fields.find("forwarded"))
    if (const auto port = forwarded_port(*forwarded, record.client); port != 0) record.client_port = port;
  host_.on_tunnelled(make_stream(stream, false), pod_, peer_.id, std::move(record));
}

std::optional<TunnelTarget> TunnelServer::find_target(std::string_view authority) const {
  if (const auto target = parse_tunnel_target(authority)) return target;
  const auto* const pod = host_.routes()->find_pod(pod_);
  const auto port = pod == nullptr ? std::uint16_t{0} : port_named(authority, pod->services);
  if (port == 0) return std::nullopt;
  return TunnelTarget{.addr = peer_.server, .port = htons(port)};
}

void TunnelServer::refuse(http::StreamId stream, unsigned status, std::string_view authority, std::string_view why) {
  spdlog::warn("tunnel-refused pod={} client=\"{}\" authority=\"{}\" status={} cause=\"{}\"", pod_, tls_->peer_id(),
               authority.substr(0, 64), status, why);
  answer(stream, status);
}

void TunnelServer::answer(http::StreamId stream, unsigned status) {
  http::Response response;
  response.version = http::Version::kHttp2;
  response.status = status;
  codec_->send_response(stream, response);
  if (status / 100 != 2) codec_->reset(stream, http::Fault::kNone);
  touch();
}

void TunnelServer::on_refused(http::StreamId, const http::Request& request, http::Fault, std::string_view detail) {
  spdlog::warn("tunnel-refused pod={} client=\"{}\" authority=\"{}\" cause=\"{}\"", pod_, tls_->peer_id(),
               request.authority.substr(0, 64), detail);
}

void TunnelServer::on_data(http::StreamId stream, std::string_view bytes) { hand_on(stream, bytes); }
void TunnelServer::on_end(http::StreamId stream, const http::Fields*) { hand_on_end(stream); }
void TunnelServer::on_writable(http::StreamId stream) { hand_on_room(stream); }
void TunnelServer::on_reset(http::StreamId stream, http::Fault) { lose(stream); }

void TunnelServer::on_failed(http::Fault, std::string_view detail) {
  lose_all();
  if (!detail.empty()) spdlog::warn("tunnel-failed pod={} client=\"{}\" cause=\"{}\"", pod_, tls_->peer_id(), detail);
  touch();
}

// --- its socket -----------------------------------------------------------------------------------------------------

void TunnelServer::on_events(std::uint32_t events) {
  if (is_over_) return;
  socket_.note(events);
  touch();
}

void TunnelServer::settle() {
  if (is_over_) return;
  const auto step = socket_.pump(*codec_, host_.buffers());
  if (is_over_) return;
  if (step.outcome == HttpSocket::Outcome::kFailed) {
    if (!tls_->problem().empty()) return end("TLS: " + tls_->problem());
    return end(tls_->is_established() ? "" : std::strerror(step.error));
  }
  if (step.outcome == HttpSocket::Outcome::kEnded || (socket_.heard_end() && !has_streams())) end("");
}

void TunnelServer::end(std::string_view why) {
  if (std::exchange(is_over_, true)) return;
  if (!why.empty())
    spdlog::warn("tunnel-ended pod={} peer={} client=\"{}\" cause=\"{}\"", pod_, IpAddress(peer_.client).to_string(),
                 tls_ == nullptr ? std::string() : tls_->peer_id(), why);
  const bool in_order = !has_streams();
  lose_all();
  tls_ = nullptr;
  socket_.close(in_order);
  host_.on_ended(*this);
}

}  // namespace underpass::session
