// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/admit.h"

#include <utility>

#include "userspace_proxy/http/normal_form.h"

namespace underpass::session {
namespace {

using telemetry::RequestFlag;

Admission bad_request(std::string details) {
  return {.status = 400, .flag = RequestFlag::kProtocolError, .details = std::move(details), .body = "bad request"};
}

// Envoy's words, which operators search for.
Admission denied(authz::Verdict verdict) {
  Admission out{.status = 403, .flag = RequestFlag::kDenied, .policy = verdict.decided_by};
  out.details = "rbac_access_denied_matched_policy[" + (verdict.decided_by.empty() ? "none" : verdict.decided_by) + "]";
  out.body = "RBAC: access denied";
  out.notices = std::move(verdict.notices);
  return out;
}

Admission unauthenticated(const jwt::Outcome& outcome) {
  return {.status = 401,
          .flag = RequestFlag::kBadToken,
          .details = "jwt_authn_access_denied{" + outcome.cause + "}",
          .policy = {},
          .body = outcome.message,
          .challenge = "Bearer error=\"invalid_token\""};
}

}  // namespace

Admission admit(http::Request& request, const Routes& routes, const HttpPolicing* policing,
                const authz::Authorizer::Known* known, std::chrono::system_clock::time_point now) {
  const auto how = routes.settings().http.path_normalization;
  auto form = http::normalize(request, how);
  if (!form) return bad_request("path or authority has no normal form");
  if (policing == nullptr) return {};
  jwt::Outcome tokens;
  if (!policing->set.authentications.empty()) {
    tokens = policing->verifier.verify(request, now);
    if (!tokens.ok) return unauthenticated(tokens);
    form = http::normalize(request, how);  // a token that was in its query is gone
    if (!form) return bad_request("path or authority has no normal form");
  }
  const authz::Subject subject{
      .request = request, .host = form->host, .path = form->path, .claims = tokens.claims.get()};
  auto verdict = policing->authorizer.decide(*known, subject);
  if (verdict.kind == authz::Verdict::Kind::kDeny) return denied(std::move(verdict));
  Admission out{
      .policy = verdict.decided_by, .claims = std::move(tokens.claims), .notices = std::move(verdict.notices)};
  if (verdict.kind == authz::Verdict::Kind::kAsk) out.ask = verdict.provider;
  return out;
}

Admission admit_asked(http::Request& request, const Routes& routes, const HttpPolicing* policing,
                      const authz::Authorizer::Known* known, const jwt::Claims* claims) {
  if (policing == nullptr) return {};
  const auto form = http::normalize(request, routes.settings().http.path_normalization);
  if (!form) return bad_request("path or authority has no normal form");
  auto verdict = policing->authorizer.decide_after_custom(
      *known, {.request = request, .host = form->host, .path = form->path, .claims = claims});
  if (verdict.kind != authz::Verdict::Kind::kAllow) return denied(std::move(verdict));
  return {.policy = verdict.decided_by, .notices = std::move(verdict.notices)};
}

}  // namespace underpass::session
