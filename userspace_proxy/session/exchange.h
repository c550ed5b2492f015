// SPDX-License-Identifier: Apache-2.0
// One request and its answer: from the client's stream through policy to an upstream's stream and back, and told about
// once, when it is over. Bytes are handed on as they come; what one side does not take stops the other side's window.
// Belongs to its client's connection, and is touched by that thread only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "userspace_proxy/http/codec.h"
#include "userspace_proxy/net/loop.h"
#include "userspace_proxy/session/admit.h"
#include "userspace_proxy/session/ext_authz.h"
#include "userspace_proxy/session/http_host.h"
#include "userspace_proxy/session/upstream_user.h"
#include "userspace_proxy/telemetry/request_record.h"

namespace underpass::session {

class Exchange final : public UpstreamUser, private AuthzAsker {
 public:
  explicit Exchange(HttpHost& host) : host_(host) {}
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // A new request; takes it.
  void begin(HttpConnection& client, http::StreamId stream, http::Request& request);

  // --- what the client does ---
  void client_data(std::string_view bytes);
  void client_end(const http::Fields* trailers);
  void client_writable();
  // It reset the stream, or went. `told`: the status that its codec has answered with, if there was no answer yet.
  void client_gone(telemetry::RequestFlag flag, std::string_view details, unsigned told = 0);

  // --- what the upstream does ---
  void start_on(Upstream& server) override;
  void no_server(telemetry::RequestFlag flag, std::string_view details) override;
  void server_response(http::Response& response) override;
  void server_data(std::string_view bytes) override;
  void server_end(const http::Fields* trailers) override;
  void server_writable() override;
  void server_gone(telemetry::RequestFlag flag, std::string_view details, Reached reached) override;
  [[nodiscard]] std::uint64_t carried() const override;
  [[nodiscard]] const Record* for_whom() const override;

  // Policies changed: may it go on?
  void recheck();
  // Gives it up as `flag` says: an answer of ours if none was sent, else a reset.
  void abort(telemetry::RequestFlag flag, std::string_view details);

  [[nodiscard]] bool is_over() const { return is_over_; }
  [[nodiscard]] http::StreamId client_stream() const { return client_stream_; }
  [[nodiscard]] net::Clock::time_point last_byte() const { return last_byte_; }
  [[nodiscard]] bool is_tunnel() const { return is_tunnel_; }

 private:
  void reset_state();
  [[nodiscard]] bool check();
  [[nodiscard]] bool accept(Admission& admission);
  void ask(const std::string& provider);
  void ask_if_whole();
  void on_authz_answer(AuthzAnswer& answer) override;
  void find_server();
  void reply(http::Response response, telemetry::RequestFlag flag, std::string_view body);
  void leave_server(http::Fault why);
  void end_if_whole();
  void end();
  [[nodiscard]] bool may_repeat(Reached reached) const;

  HttpHost& host_;
  HttpConnection* client_ = nullptr;
  Upstream* server_ = nullptr;  // null: none yet, or none any more
  http::StreamId client_stream_ = 0;
  http::StreamId server_stream_ = 0;
  http::Request request_;
  telemetry::RequestRecord record_;
  std::shared_ptr<const jwt::Claims> claims_;
  std::unique_ptr<ExtAuthzCall> call_;             // to the provider of a CUSTOM policy
  const RoutingTable::Provider* asked_ = nullptr;  // ... who is asked when enough of the body is here
  RoutesPtr asked_by_;                             // ... of which table
  http::Fields to_downstream_;                     // ... and what he adds to the answer
  std::string early_;                              // of the body, until there is an upstream
  std::optional<http::Fields> early_trailers_;
  std::size_t owed_to_client_ = 0;  // bytes that came and are not consumed, since the other side is full
  std::size_t owed_to_server_ = 0;
  net::Clock::time_point began_;
  net::Clock::time_point request_sent_;
  net::Clock::time_point last_byte_;
  bool is_admitted_ = false;
  bool is_waiting_ = false;  // for an upstream
  bool request_whole_ = false;
  bool body_sent_ = false;  // a byte of it is gone: the request cannot be sent again
  bool response_begun_ = false;
  bool response_whole_ = false;
  bool is_tunnel_ = false;
  bool is_repeated_ = false;
  bool is_over_ = true;
};

}  // namespace underpass::session
