// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/exchange.h"

#include <arpa/inet.h>

#include <algorithm>
#include <utility>

#include "userspace_proxy/session/http_connection.h"
#include "userspace_proxy/session/local_reply.h"
#include "userspace_proxy/session/upstream_pool.h"

namespace underpass::session {
namespace {

using telemetry::RequestFlag;

// RFC 9110 §9.2.2.
bool is_idempotent(std::string_view method) {
  constexpr std::string_view kMethods[] = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};
  return std::ranges::find(kMethods, method) != std::end(kMethods);
}

}  // namespace

void Exchange::reset_state() {
  server_ = nullptr;
  server_stream_ = 0;
  early_.clear();
  early_trailers_.reset();
  owed_to_client_ = owed_to_server_ = 0;
  is_admitted_ = is_waiting_ = request_whole_ = body_sent_ = response_begun_ = response_whole_ = false;
  is_tunnel_ = is_repeated_ = is_over_ = false;
  claims_.reset();
  call_.reset();
  asked_ = nullptr;
  asked_by_.reset();
  to_downstream_.clear();
  record_ = {};
}

// --- from its head to an upstream -----------------------------------------------------------------------------------

void Exchange::begin(HttpConnection& client, http::StreamId stream, http::Request& request) {
  reset_state();
  client_ = &client;
  client_stream_ = stream;
  std::swap(request_, request);
  began_ = last_byte_ = host_.loop().now();
  request_whole_ = !request_.has_body && !request_.is_tunnel();
  record_.start = std::chrono::system_clock::now();
  record_.connection = &client.record();
  record_.version = request_.version;
  record_.grpc = is_grpc(request_);
  record_.inbound_reported = client.record().inbound;
  record_.outbound_reported = !client.record().inbound;
  if (!client.record().inbound && host_.routes()->find_pod(client.record().server_netns) != nullptr)
    record_.inbound_reported = true;  // it goes past the other pod's own listeners
  if (check()) find_server();
}

// False: it is answered.
bool Exchange::check() {
  is_admitted_ = host_.admit_request();
  auto admission = is_admitted_ ? admit(request_, *host_.routes(), client_->policing(), client_->known(), record_.start)
                                : Admission{.status = 503, .flag = RequestFlag::kOverload, .details = "overload"};
  auto ids = telemetry::trace(request_.fields, host_.dice());
  record_.request_id = std::move(ids.request_id);
  record_.trace_id = std::move(ids.trace_id);
  record_.method = request_.method;
  record_.authority = request_.authority;
  record_.path = request_.path;
  if (const auto agent = request_.fields.find("user-agent")) record_.user_agent = *agent;
  if (!accept(admission)) return false;
  claims_ = std::move(admission.claims);
  if (admission.ask.empty()) return true;
  ask(admission.ask);
  return false;
}

// False: it is answered.
bool Exchange::accept(Admission& admission) {
  record_.policy = std::move(admission.policy);
  record_.notices = std::move(admission.notices);
  if (admission.status == 0) return true;
  record_.details = std::move(admission.details);
  http::Response response{.status = admission.status};
  if (!admission.challenge.empty()) response.fields.add("www-authenticate", admission.challenge);
  reply(std::move(response), admission.flag, admission.body.empty() ? body_of(admission.flag) : admission.body);
  return false;
}

// --- a provider is asked --------------------------------------------------------------------------------------------

void Exchange::ask(const std::string& provider) {
  asked_by_ = host_.routes();
  const auto& providers = asked_by_->table().providers;
  const auto found = providers.find(provider);
  if (found == providers.end()) {
    record_.details = "ext_authz_error{no provider " + provider + "}";
    return reply({.status = 403}, RequestFlag::kUnauthorized, "RBAC: access denied");
  }
  asked_ = &found->second;
  ask_if_whole();
}

// As much of the body as it wants to see is here.
void Exchange::ask_if_whole() {
  const auto limit = asked_->settings.max_request_bytes;
  if (limit > 0 && !request_whole_ && early_.size() <= limit) {
    client_->codec().consume(client_stream_, std::exchange(owed_to_client_, 0));
    return host_.touch(*client_);
  }
  if (early_.size() > limit && limit > 0 && !asked_->settings.allow_partial_message) {
    record_.details = "ext_authz_denied{the body is too long for the provider}";
    return reply({.status = 413}, RequestFlag::kUnauthorized, "payload too large");
  }
  call_ = std::make_unique<ExtAuthzCall>(host_, *std::exchange(asked_, nullptr), static_cast<AuthzAsker&>(*this),
                                         carried());
  call_->ask(client_->pod(), request_, std::string_view(early_).substr(0, limit));
}

void Exchange::on_authz_answer(AuthzAnswer& answer) {
  const auto call = std::move(call_);
  if (is_over_) return;
  if (!answer.agrees) {
    record_.details = answer.failed ? "ext_authz_error{" + answer.cause + "}" : "ext_authz_denied";
    answer.response.content_length.reset();
    return reply(std::move(answer.response), RequestFlag::kUnauthorized, answer.body);
  }
  for (std::size_t i = 0; i < answer.to_upstream.size(); ++i) request_.fields.remove(answer.to_upstream.at(i).name);
  for (std::size_t i = 0; i < answer.to_upstream.size(); ++i)
    request_.fields.add(answer.to_upstream.at(i).name, answer.to_upstream.at(i).value);
  to_downstream_ = std::move(answer.to_downstream);
  auto admission = admit_asked(request_, *host_.routes(), client_->policing(), client_->known(), claims_.get());
  if (accept(admission)) find_server();
}

void Exchange::recheck() {
  if (is_over_ || call_ || asked_ != nullptr) return;  // it is judged when that has ended
  const auto admission = admit_asked(request_, *host_.routes(), client_->policing(), client_->known(), claims_.get());
  if (admission.status == 0) return;
  record_.policy = admission.policy;
  abort(admission.flag, admission.details);
}

// --- and an upstream found ------------------------------------------------------------------------------------------

void Exchange::find_server() {
  const auto& record = client_->record();
  UpstreamKey key{.pod = client_->pod(), .server = record.server, .port = record.server_port};
  switch (host_.routes()->protocol_of(record.server_netns, ntohs(record.server_port))) {
    case PortProtocol::kHttp1:
      key.http2 = false;
      break;
    case PortProtocol::kHttp2:
    case PortProtocol::kGrpc:
      key.http2 = true;
      break;
    default:
      // As its client expects.
      key.http2 = request_.version == http::Version::kHttp2 && !client_->is_upgraded();
  }
  if (record.inbound) {
    key.client = record.client;
    key.client_netns = record.client_netns;
  }
  if (!record.inbound) key.tunnel = record.tunnel;
  is_waiting_ = true;
  if (auto server = client_->take_server()) host_.upstreams().adopt(key, std::move(server));
  host_.upstreams().find(key, *this);
}

void Exchange::start_on(Upstream& server) {
  is_waiting_ = false;
  server_ = &server;
  request_sent_ = host_.loop().now();
  server_stream_ = server.send(*this, request_);
  if (server_stream_ == 0) {  // it cannot be said in one message of that version
    server_ = nullptr;
    if (!request_.protocol.empty() && !server.codec().takes_upgrades())
      return abort(RequestFlag::kUpstreamError, kNoUpgrades);
    return abort(RequestFlag::kProtocolError, "the request cannot be forwarded");
  }
  if (!early_.empty()) {
    body_sent_ = true;
    server.codec().send_data(server_stream_, early_);
    early_.clear();
    client_->codec().consume(client_stream_, std::exchange(owed_to_client_, 0));
    host_.touch(*client_);
  }
  if (request_whole_ && (request_.has_body || request_.is_tunnel()))
    server.codec().send_end(server_stream_, early_trailers_ ? &*early_trailers_ : nullptr);
}

std::uint64_t Exchange::carried() const { return client_->id(); }

const Record* Exchange::for_whom() const { return &client_->record(); }

void Exchange::no_server(RequestFlag flag, std::string_view details) {
  is_waiting_ = false;
  abort(flag, details);
}

// --- what the client does -------------------------------------------------------------------------------------------

void Exchange::client_data(std::string_view bytes) {
  last_byte_ = host_.loop().now();
  record_.request_bytes += bytes.size();
  if (server_ == nullptr) {
    early_ += bytes;
    owed_to_client_ += bytes.size();
    if (asked_ != nullptr) ask_if_whole();
    return;
  }
  body_sent_ = true;
  const auto* server = server_;
  server_->codec().send_data(server_stream_, bytes);
  if (server_ != server) return;  // it failed over this
  host_.touch(*server_);
  if (server_->codec().buffered(server_stream_) > host_.routes()->limits().max_buffered)
    owed_to_client_ += bytes.size();
  else
    client_->codec().consume(client_stream_, bytes.size());
}

void Exchange::client_end(const http::Fields* trailers) {
  last_byte_ = host_.loop().now();
  request_whole_ = true;
  if (server_ == nullptr) {
    if (trailers != nullptr) early_trailers_ = *trailers;
    if (asked_ != nullptr) ask_if_whole();
    return;
  }
  const auto* server = server_;
  server_->codec().send_end(server_stream_, trailers);
  if (server_ != server) return;
  host_.touch(*server_);
  end_if_whole();
}

// The upstream has room for more of the request.
void Exchange::server_writable() {
  if (owed_to_client_ == 0) return;
  client_->codec().consume(client_stream_, std::exchange(owed_to_client_, 0));
  host_.touch(*client_);
}

void Exchange::client_gone(RequestFlag flag, std::string_view details, unsigned told) {
  if (is_over_) return;
  if (!response_begun_) record_.status = told;
  leave_server(http::Fault::kCancelled);
  if (record_.flag == RequestFlag::kNone) {
    record_.flag = flag;
    record_.details = details;
  }
  end();
}

// --- what the upstream does -----------------------------------------------------------------------------------------

void Exchange::server_response(http::Response& response) {
  last_byte_ = host_.loop().now();
  if (response.is_interim()) {
    if (request_.version != http::Version::kHttp10) client_->codec().send_interim(client_stream_, response);
    return host_.touch(*client_);
  }
  response_begun_ = true;
  record_.upstream_service = std::chrono::duration_cast<std::chrono::microseconds>(last_byte_ - request_sent_);
  record_.status = response.status;
  record_.grpc_status = record_.grpc ? grpc_status_of(response.fields) : -1;
  is_tunnel_ = response.status == 101 || (request_.is_tunnel() && response.status / 100 == 2);
  for (std::size_t i = 0; i < to_downstream_.size(); ++i)
    response.fields.set(to_downstream_.at(i).name, to_downstream_.at(i).value);
  client_->codec().send_response(client_stream_, response);
  host_.touch(*client_);
  if (!is_tunnel_ && request_.is_tunnel()) request_whole_ = true;  // refused: nothing follows
  if (!response.has_body && !is_tunnel_) {
    response_whole_ = true;
    end_if_whole();
  }
}

void Exchange::server_data(std::string_view bytes) {
  last_byte_ = host_.loop().now();
  record_.response_bytes += bytes.size();
  auto& client = client_->codec();
  client.send_data(client_stream_, bytes);
  if (is_over_) return;  // the client's side failed over this
  host_.touch(*client_);
  if (client.buffered(client_stream_) > host_.routes()->limits().max_buffered)
    owed_to_server_ += bytes.size();
  else
    server_->codec().consume(server_stream_, bytes.size());
}

void Exchange::client_writable() {
  if (owed_to_server_ == 0 || server_ == nullptr) return;
  server_->codec().consume(server_stream_, std::exchange(owed_to_server_, 0));
  host_.touch(*server_);
}

void Exchange::server_end(const http::Fields* trailers) {
  last_byte_ = host_.loop().now();
  if (record_.grpc && trailers != nullptr) record_.grpc_status = grpc_status_of(*trailers);
  client_->codec().send_end(client_stream_, trailers);
  host_.touch(*client_);
  response_whole_ = true;
  end_if_whole();
}

bool Exchange::may_repeat(Reached reached) const {
  if (is_repeated_ || response_begun_ || body_sent_ || reached == Reached::kPerhaps) return false;
  return reached == Reached::kNot || (!request_.is_tunnel() && is_idempotent(request_.method));
}

void Exchange::server_gone(RequestFlag flag, std::string_view details, Reached reached) {
  server_ = nullptr;
  if (is_over_) return;
  // The server closed a connection that was kept at the moment in which we used it again.
  if (may_repeat(reached)) {
    is_repeated_ = true;
    return find_server();
  }
  abort(flag == RequestFlag::kNone ? RequestFlag::kUpstreamGone : flag, details);
}

// --- its end --------------------------------------------------------------------------------------------------------

void Exchange::abort(RequestFlag flag, std::string_view details) {
  if (is_over_) return;
  leave_server(http::Fault::kCancelled);
  if (!response_begun_) {
    record_.details = details;
    return reply({.status = status_of(flag)}, flag, body_of(flag));
  }
  record_.flag = flag;
  record_.details = details;
  client_->cut(client_stream_);
  end();
}

// An answer of ours. The rest of the request is not waited for.
void Exchange::reply(http::Response response, RequestFlag flag, std::string_view body) {
  response_begun_ = response_whole_ = true;
  record_.flag = flag;
  auto& client = client_->codec();
  if (record_.grpc) {
    record_.grpc_status = to_grpc(response, body);
    body = {};
  } else if (!response.fields.find("content-type")) {
    response.fields.add("content-type", "text/plain");
  }
  record_.status = response.status;
  response.content_length = body.size();
  response.has_body = !body.empty() && request_.method != "HEAD";
  client.send_response(client_stream_, response);
  if (response.has_body) {
    client.send_data(client_stream_, body);
    client.send_end(client_stream_, nullptr);
    record_.response_bytes = body.size();
  }
  if (!request_whole_) client.reset(client_stream_, http::Fault::kNone);
  end();
}

void Exchange::leave_server(http::Fault why) {
  asked_ = nullptr;
  call_.reset();
  if (is_waiting_) host_.upstreams().forget(*this);
  is_waiting_ = false;
  auto* server = std::exchange(server_, nullptr);
  if (server == nullptr) return;
  if (why == http::Fault::kNone)
    server->forget(server_stream_);
  else
    server->abandon(server_stream_, why);
}

void Exchange::end_if_whole() {
  if (!response_whole_ || is_over_) return;
  if (is_tunnel_ && !request_whole_) return;
  // An answer that is whole before its request: nobody wants the rest.
  leave_server(request_whole_ ? http::Fault::kNone : http::Fault::kCancelled);
  if (!request_whole_) client_->codec().reset(client_stream_, http::Fault::kNone);
  end();
}

void Exchange::end() {
  if (std::exchange(is_over_, true)) return;
  record_.duration = std::chrono::duration_cast<std::chrono::microseconds>(net::Clock::now() - began_);
  host_.on_request_ended(record_);
  if (is_admitted_) host_.forget_request();
  client_->forget(*this);
}

}  // namespace underpass::session
