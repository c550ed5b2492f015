// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/ext_authz.h"

#include <arpa/inet.h>

#include <algorithm>
#include <span>
#include <utility>

#include "userspace_proxy/session/upstream_pool.h"

namespace underpass::session {
namespace {

using model::StringMatch;
using telemetry::RequestFlag;

// Of an answer that the client is told: not more.
constexpr std::size_t kMaxBody = 64UL * 1024;

bool any_matches(std::span<const StringMatch> matches_of, std::string_view name) {
  return std::ranges::any_of(matches_of, [&](const StringMatch& one) { return one.matches(name); });
}

void copy_matching(const http::Fields& from, std::span<const StringMatch> which, http::Fields& to) {
  for (std::size_t i = 0; i < from.size(); ++i) {
    const auto [name, value] = from.at(i);
    if (any_matches(which, name)) to.add(name, value);
  }
}

// "If not specified, all the authorization response headers"; of a list these are part in any case (Istio's reference).
bool goes_to_client(const model::ExtAuthzProvider& provider, std::string_view name) {
  if (provider.headers_to_downstream_on_deny.empty()) return true;
  return name == "www-authenticate" || name == "location" || any_matches(provider.headers_to_downstream_on_deny, name);
}

}  // namespace

ExtAuthzCall::ExtAuthzCall(HttpHost& host, const RoutingTable::Provider& provider, AuthzAsker& asker,
                           std::uint64_t carried)
    : host_(host), provider_(provider), asker_(asker), carried_(carried) {}

ExtAuthzCall::~ExtAuthzCall() {
  host_.forget_time(*this);
  if (!is_over_) leave();
}

void ExtAuthzCall::ask(NetnsCookie pod, const http::Request& request, std::string_view body) {
  const auto& settings = provider_.settings;
  request_.method = request.method;
  request_.authority = request.authority;
  request_.path = settings.path_prefix + request.path;
  copy_matching(request.fields, settings.include_request_headers, request_.fields);
  for (const auto& [name, value] : settings.include_additional_headers) request_.fields.set(name, value);
  body_ = body;
  request_.has_body = !body_.empty();
  request_.content_length = body_.size();
  host_.wake_at(*this, host_.loop().now() + settings.timeout);
  if (provider_.addresses.empty()) return fail("the provider's Service has no address");
  key_ = {.pod = pod, .server = provider_.addresses.front().to_abi(), .port = htons(settings.port), .errand = true};
  host_.upstreams().find(key_, *this);
}

void ExtAuthzCall::start_on(Upstream& server) {
  server_ = &server;
  stream_ = server.send(*this, request_);
  if (stream_ == 0) {
    server_ = nullptr;
    return fail("the question cannot be asked");
  }
  if (!request_.has_body) return;
  server.codec().send_data(stream_, body_);
  server.codec().send_end(stream_, nullptr);
}

void ExtAuthzCall::no_server(RequestFlag, std::string_view details) { fail(details); }

void ExtAuthzCall::server_response(http::Response& response) {
  if (response.is_interim()) return;
  std::swap(answer_.response, response);
  if (!answer_.response.has_body) tell();
}

void ExtAuthzCall::server_data(std::string_view bytes) {
  answer_.body += bytes.substr(0, kMaxBody - std::min(kMaxBody, answer_.body.size()));
  server_->codec().consume(stream_, bytes.size());
}

void ExtAuthzCall::server_end(const http::Fields*) { tell(); }

void ExtAuthzCall::server_gone(RequestFlag, std::string_view details, Reached reached) {
  server_ = nullptr;
  if (is_over_) return;
  // A question changes nothing: it may be asked again.
  if (reached != Reached::kPerhaps && !std::exchange(is_repeated_, true)) return host_.upstreams().find(key_, *this);
  fail(details);
}

void ExtAuthzCall::on_time() {
  if (!is_over_) fail("timeout");
  asker_.on_authz_answer(answer_);
}

void ExtAuthzCall::fail(std::string_view cause) {
  const auto& settings = provider_.settings;
  answer_ = {.agrees = settings.fail_open, .failed = true, .cause = std::string(cause)};
  answer_.response.status = settings.status_on_error;
  end();
}

void ExtAuthzCall::tell() {
  const auto& settings = provider_.settings;
  auto& response = answer_.response;
  if (response.status / 100 == 5) return fail("answered " + std::to_string(response.status));
  answer_.agrees = response.status == 200;
  if (answer_.agrees) {
    copy_matching(response.fields, settings.headers_to_upstream_on_allow, answer_.to_upstream);
    copy_matching(response.fields, settings.headers_to_downstream_on_allow, answer_.to_downstream);
  } else {
    http::Fields kept;
    for (std::size_t i = 0; i < response.fields.size(); ++i) {
      const auto [name, value] = response.fields.at(i);
      if (goes_to_client(settings, name)) kept.add(name, value);
    }
    response.fields = std::move(kept);
  }
  end();
}

// It is told in a moment: whoever asks may end this then.
void ExtAuthzCall::end() {
  leave();
  is_over_ = true;
  host_.wake_at(*this, host_.loop().now());
}

void ExtAuthzCall::leave() {
  if (auto* server = std::exchange(server_, nullptr)) {
    server->codec().reset(stream_, http::Fault::kCancelled);
    server->forget(stream_);
  } else {
    host_.upstreams().forget(*this);
  }
}

}  // namespace underpass::session
