// SPDX-License-Identifier: Apache-2.0
// A client's connection that speaks HTTP, or may: looks at its first bytes, and hands each request to an exchange. What
// speaks something else is given back to be relayed.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "underpass/routing_table.h"
#include "userspace_proxy/authz/authorizer.h"
#include "userspace_proxy/http/codec.h"
#include "userspace_proxy/session/detect.h"
#include "userspace_proxy/session/http_host.h"
#include "userspace_proxy/session/http_socket.h"
#include "userspace_proxy/session/outcome.h"
#include "userspace_proxy/session/record.h"

namespace underpass::session {

class HttpConnection final : public HttpEnd, private http::ServerEvents, private net::Watcher {
 public:
  // `protocol` is what the port is for; kTcp is none of this.
  HttpConnection(HttpHost& host, NetnsCookie pod, std::uint64_t id, Record record, PortProtocol protocol);
  ~HttpConnection() override;
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  // `server`: one that is connected already, for the first request; or null.
  void start(std::unique_ptr<net::Transport> client, std::unique_ptr<net::Transport> server = nullptr);
  void settle() override;
  // Looks at the clock, once a second and when detection is due.
  void check_time(net::Clock::time_point now);
  void drain();
  // After a change of the routing table.
  void recheck();
  // By RST, with what is under way.
  void end(Flag flag, std::string details);

  // --- for exchanges ---
  [[nodiscard]] http::ServerCodec& codec() { return *codec_; }
  // It began in HTTP/1.1 and asked for HTTP/2: no reason to think that its server knows more than the former.
  [[nodiscard]] bool is_upgraded() const { return is_upgraded_; }
  void forget(Exchange& exchange);
  // The server that it came with, once.
  std::unique_ptr<net::Transport> take_server() { return std::move(server_); }
  // An answer, or a tunnel, that does not come to its end.
  void cut(http::StreamId stream);
  // What policy knows this connection by: of the routing table in force. Null: no policy.
  [[nodiscard]] const authz::Authorizer::Known* known();
  [[nodiscard]] const HttpPolicing* policing();

  [[nodiscard]] NetnsCookie pod() const { return pod_; }
  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] const Record& record() const { return record_; }
  [[nodiscard]] Record&& take_record() { return std::move(record_); }
  [[nodiscard]] bool is_detecting() const { return stage_ == Stage::kDetecting; }
  [[nodiscard]] bool has_answered() const { return requests_ > 0; }
  [[nodiscard]] Flag flag() const { return flag_; }
  [[nodiscard]] std::string_view details() const { return details_; }

  net::Clock::time_point began;
  net::Clock::time_point must_end_by = net::Clock::time_point::max();
  // Where it is in its thread's lists.
  std::list<HttpConnection>::iterator place;
  bool is_listed_as_detecting = true;

 private:
  enum class Stage { kDetecting, kHttp, kLingering, kEnded };

  void on_events(std::uint32_t events) override;
  void on_request(http::StreamId stream, http::Request& request) override;
  void on_refused(http::StreamId stream, const http::Request& request, http::Fault why,
                  std::string_view detail) override;
  bool on_http2_offered(http::Request& request, std::string_view settings) override;
  void on_data(http::StreamId stream, std::string_view bytes) override;
  void on_end(http::StreamId stream, const http::Fields* trailers) override;
  void on_reset(http::StreamId stream, http::Fault why) override;
  void on_writable(http::StreamId stream) override;
  void on_failed(http::Fault why, std::string_view detail) override;

  void look();
  void speak(Spoken spoken);
  void go_on_in_http2();
  void give_back();
  void linger();
  void check_head_time(net::Clock::time_point now);
  void check_quiet(net::Clock::time_point now);
  void tell_to_go();
  [[nodiscard]] bool is_leaving() const { return leaving_since_ != net::Clock::time_point::max(); }
  void end_exchanges(telemetry::RequestFlag flag, std::string_view details, unsigned told = 0);
  // Of a request for which there is no exchange. `status` 0: no answer.
  void tell(const http::Request& request, unsigned status, telemetry::RequestFlag flag, std::string_view details);
  [[nodiscard]] Exchange* find(http::StreamId stream);
  void finish(Flag flag, std::string details, bool in_order);

  HttpHost& host_;
  const NetnsCookie pod_;
  const std::uint64_t id_;
  Record record_;
  const PortProtocol protocol_;
  HttpSocket socket_;
  std::unique_ptr<net::Transport> server_;
  RoutesPtr limits_by_;  // whose limits the codec has
  std::unique_ptr<http::ServerCodec> codec_;
  // Of a client that is told 101: what takes the codec's place, and its stream 1.
  struct Upgrade {
    std::unique_ptr<http::ServerCodec> codec;
    http::Request request;
  };
  std::unique_ptr<Upgrade> upgrade_;
  bool is_upgraded_ = false;
  bool is_cut_ = false;                               // its end is to look like none
  std::vector<std::unique_ptr<Exchange>> exchanges_;  // few, by age
  RoutesPtr known_by_;                                // whose authorizer `known_` is of
  std::optional<authz::Authorizer::Known> known_;
  net::Clock::time_point quiet_since_;  // no request has been under way since
  net::Clock::time_point leaving_since_ = net::Clock::time_point::max();
  net::Clock::time_point head_since_;  // a head began to come, and is not whole; the epoch: none
  std::uint64_t requests_ = 0;
  bool was_told_to_go_ = false;
  bool is_http2_ = false;
  std::size_t looked_at_ = 0;  // bytes that did not decide
  Stage stage_ = Stage::kDetecting;
  Flag flag_ = Flag::kNone;
  std::string details_;
};

}  // namespace underpass::session
