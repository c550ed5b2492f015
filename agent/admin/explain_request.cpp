// SPDX-License-Identifier: Apache-2.0
#include "agent/admin/explain_request.h"

#include <algorithm>
#include <boost/json/object.hpp>

#include "userspace_proxy/authz/authorizer.h"
#include "userspace_proxy/http/normal_form.h"

namespace underpass::admin {
namespace {

namespace json = boost::json;

http::Request request_of(const RequestQuestion& question) {
  http::Request out{.method = question.method, .path = question.path};
  for (const auto& [name, value] : question.headers) {
    if (name == "host")
      out.authority = value;
    else
      out.fields.add(name, value);
  }
  return out;
}

// Of "shop/only-get rule 2".
json::value policy_of(const std::string& decided_by) {
  const auto slash = decided_by.find('/');
  const auto rule = decided_by.find(" rule ");
  if (slash == std::string::npos || rule == std::string::npos) return nullptr;
  return json::object{{"kind", "AuthorizationPolicy"},
                      {"namespace", decided_by.substr(0, slash)},
                      {"name", decided_by.substr(slash + 1, rule - slash - 1)},
                      {"rule", "rules[" + decided_by.substr(rule + 6) + "]"}};
}

}  // namespace

Judgement judge_request(const RequestQuestion& question, const compile::PodStatus& client, bool attested,
                        const compile::PodStatus& server, const IpAddress& server_ip, std::uint16_t port,
                        const HttpPolicySet& policies, PathNormalization how, const Judgement& before) {
  auto request = request_of(question);
  const auto form = http::normalize(request, how);
  if (!form) return {false, nullptr, "its path or Host has no normal form: it is answered with 400"};
  const auto found = std::ranges::find(client.ips, server_ip.is_v4(), &IpAddress::is_v4);
  const auto ip = found == client.ips.end() ? IpAddress() : *found;
  const authz::Authorizer authorizer(policies, "");
  const auto known = authorizer.know({.identity = attested ? client.identity : "",
                                      .client_ip = ip,
                                      .remote_ip = ip,
                                      .server_ip = server_ip,
                                      .server_port = port});
  const auto verdict = authorizer.decide(known, {.request = request, .host = form->host, .path = form->path});
  const std::string what = request.method + " " + request.path + " to Pod " + server.id.to_string();
  std::string dry_run;
  for (const auto& policy : verdict.would_deny) dry_run += "; in dry run, " + policy + " would deny it";
  switch (verdict.kind) {
    case authz::Verdict::Kind::kAllow:
      return {true, before.decided_by, before.reason + "; it lets " + what + " pass" + dry_run};
    case authz::Verdict::Kind::kAsk:
      return {
          true, policy_of(verdict.decided_by),
          "the provider " + verdict.provider + " is asked about " + what + " (" + verdict.decided_by + ")" + dry_run};
    case authz::Verdict::Kind::kDeny:
      break;
  }
  return {false, policy_of(verdict.decided_by),
          (verdict.decided_by.empty() ? std::string("no ALLOW policy matches") : verdict.decided_by) + " denies " +
              what + dry_run};
}

}  // namespace underpass::admin
