// SPDX-License-Identifier: Apache-2.0
// The agent's two HTTP ports: metrics for Prometheus and readiness for the kubelet. They may be open to the whole
// network, so they only ever GET a fixed page, and nobody can keep others out: requests, time and connections are
// bounded, and when all connections are taken the one that was quiet for longest goes.
#pragma once

#include <prometheus/metric_family.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace boost::asio {
class io_context;
}

namespace underpass::admin {

// HOST:PORT as flags give it; an IPv6 host stands in brackets: "[::]:15020". A host is an address or "localhost".
struct HostPort {
  std::string host;  // without brackets
  std::uint16_t port = 0;

  bool operator==(const HostPort&) const = default;
  [[nodiscard]] std::string to_string() const;
};

Result<HostPort> parse_host_port(std::string_view text);

struct Page {
  unsigned status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

// Pages by path; made anew for every request, on the io_context's thread.
using Pages = std::map<std::string, std::function<Page()>, std::less<>>;

// /metrics: Prometheus' text format 0.0.4.
Pages metrics_pages(std::function<std::vector<prometheus::MetricFamily>()> collect);

// /healthz/ready: 200 "ready", or 503 with the reason that `not_ready` gives. /healthz/live: 200 "alive"; who hangs
// does not answer.
Pages ready_pages(std::function<std::optional<std::string>()> not_ready);

struct HttpLimits {
  std::size_t connections = 64;
  std::uint32_t header_bytes = 8192;
  std::chrono::milliseconds idle{60'000};   // for a whole request to arrive
  std::chrono::milliseconds write{30'000};  // for an answer to be taken
};

class HttpServer {
 public:
  // Port 0: any free one, see local(). `handed`: the socket of a process that listened there; closed where it is
  // another than what is asked for. `io` must outlive the server.
  static Result<std::unique_ptr<HttpServer>> listen(boost::asio::io_context& io, const HostPort& at, Pages pages,
                                                    HttpLimits limits = {}, UniqueFd handed = {});
  ~HttpServer();  // closes all connections
  // Listens no more, for another process to: connections stay.
  UniqueFd hand_over();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  [[nodiscard]] const HostPort& local() const;

 private:
  struct State;
  explicit HttpServer(std::shared_ptr<State> state) : state_(std::move(state)) {}

  std::shared_ptr<State> state_;
};

// At what a flag says, by which errors name it: "--metrics", "0.0.0.0:15020".
Result<std::unique_ptr<HttpServer>> listen_at(boost::asio::io_context& io, const char* flag, const std::string& at,
                                              Pages pages, UniqueFd handed = {});

}  // namespace underpass::admin
