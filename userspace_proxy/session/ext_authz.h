// SPDX-License-Identifier: Apache-2.0
// A question to an HTTP authorization service about one request, for policies with action CUSTOM: Istio's
// envoyExtAuthzHttp (https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/ and Envoy's ext_authz HTTP
// service). 200 agrees; 5xx, a time-out or no answer is an error, for which failOpen and statusOnError are; everything
// else refuses, and is what the client is told.
#pragma once

#include <string>
#include <string_view>

#include "underpass/routing_table.h"
#include "userspace_proxy/session/http_host.h"
#include "userspace_proxy/session/upstream.h"
#include "userspace_proxy/session/upstream_user.h"

namespace underpass::session {

struct AuthzAnswer {
  bool agrees = false;
  bool failed = false;      // there was none; `agrees` as failOpen has it
  std::string cause;        // of `failed`
  http::Response response;  // where it refuses: what the client is told
  std::string body;
  http::Fields to_upstream;    // where it agrees: set in the request
  http::Fields to_downstream;  // ... and added to its answer
};

class AuthzAsker {
 public:
  // Once, never from within ask().
  virtual void on_authz_answer(AuthzAnswer& answer) = 0;

 protected:
  ~AuthzAsker() = default;
};

class ExtAuthzCall final : public UpstreamUser, public Timed {
 public:
  // What is given must outlive it.
  ExtAuthzCall(HttpHost& host, const RoutingTable::Provider& provider, AuthzAsker& asker, std::uint64_t carried);
  ~ExtAuthzCall() override;
  ExtAuthzCall(const ExtAuthzCall&) = delete;
  ExtAuthzCall& operator=(const ExtAuthzCall&) = delete;

  // About this request; `body`: what is sent along of its body.
  void ask(NetnsCookie pod, const http::Request& request, std::string_view body);

  void start_on(Upstream& server) override;
  void no_server(telemetry::RequestFlag flag, std::string_view details) override;
  void server_response(http::Response& response) override;
  void server_data(std::string_view bytes) override;
  void server_end(const http::Fields* trailers) override;
  void server_writable() override {}
  void server_gone(telemetry::RequestFlag flag, std::string_view details, Reached reached) override;
  [[nodiscard]] std::uint64_t carried() const override { return carried_; }
  void on_time() override;

 private:
  void fail(std::string_view cause);
  void tell();
  void end();
  void leave();

  HttpHost& host_;
  const RoutingTable::Provider& provider_;
  AuthzAsker& asker_;
  const std::uint64_t carried_;
  http::Request request_;
  std::string body_;
  UpstreamKey key_;
  Upstream* server_ = nullptr;
  http::StreamId stream_ = 0;
  AuthzAnswer answer_;
  bool is_repeated_ = false;
  bool is_over_ = false;
};

}  // namespace underpass::session
