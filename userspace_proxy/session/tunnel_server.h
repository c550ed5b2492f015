// SPDX-License-Identifier: Apache-2.0
// A tunnel that another node's worker opened to a pod of this one: who comes is known by certificate, and judged by the
// policies of the pod before anything is dialled.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "underpass/abi.h"
#include "userspace_proxy/session/tunnel.h"

namespace underpass::session {

// Where a CONNECT wants to go.
struct TunnelTarget {
  up_addr addr{};
  __be16 port = 0;
};

// "10.0.0.1:80", "[fd00::1]:80". None: it is something else.
std::optional<TunnelTarget> parse_tunnel_target(std::string_view authority);
// The port that "web.shop.svc.cluster.local:80" means among those of a pod (RoutingTable::Pod::services); 0: none.
std::uint16_t port_named(std::string_view authority, const std::map<std::string, std::uint16_t>& services);
// The port of "for=\"10.0.0.1:1234\"" (RFC 7239), in network order, if it is of this address; else 0.
__be16 forwarded_port(std::string_view forwarded, const up_addr& client);

class TunnelServer final : public Tunnel, private http::ServerEvents, private net::Watcher {
 public:
  // `peer`: what the kernel says of the connection.
  TunnelServer(HttpHost& host, NetnsCookie pod, const up_peer& peer);

  void start(UniqueFd socket);
  void settle() override;
  void check_time(net::Clock::time_point now);
  // GOAWAY: it goes with its last stream.
  void leave();
  void end(std::string_view why);

  [[nodiscard]] http::Codec& codec() override { return *codec_; }
  void answer(http::StreamId stream, unsigned status) override;

  [[nodiscard]] NetnsCookie pod() const { return pod_; }

  net::Clock::time_point must_end_by = net::Clock::time_point::max();
  std::list<TunnelServer>::iterator place;

 private:
  void on_events(std::uint32_t events) override;
  void on_request(http::StreamId stream, http::Request& request) override;
  void on_refused(http::StreamId stream, const http::Request& request, http::Fault why,
                  std::string_view detail) override;
  void on_data(http::StreamId stream, std::string_view bytes) override;
  void on_end(http::StreamId stream, const http::Fields* trailers) override;
  void on_reset(http::StreamId stream, http::Fault why) override;
  void on_writable(http::StreamId stream) override;
  void on_failed(http::Fault why, std::string_view detail) override;

  // Where `authority` leads: an address and port, or a port of this pod's by the name of a Service.
  [[nodiscard]] std::optional<TunnelTarget> find_target(std::string_view authority) const;
  void refuse(http::StreamId stream, unsigned status, std::string_view authority, std::string_view why);

  const NetnsCookie pod_;
  const up_peer peer_;
  const net::Clock::time_point began_;
  std::unique_ptr<http::ServerCodec> codec_;
  bool is_leaving_ = false;
  bool is_over_ = false;
};

}  // namespace underpass::session
