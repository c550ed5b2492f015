// SPDX-License-Identifier: Apache-2.0
// What HTTP policy costs a request: the authorizer alone, without sockets, with one rule and with a thousand.
#include <algorithm>
#include <array>
#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>

#include "test/bench/rows.h"
#include "test/support/policy_values.h"
#include "userspace_proxy/authz/authorizer.h"

namespace underpass::bench {
namespace {

using model::PolicyRule;
using model::StringMatch;
using Clock = std::chrono::steady_clock;

constexpr int kDecisions = 20'000;  // of one slice

StringMatch path_of(int i) {
  const auto number = std::to_string(i);
  const std::array<StringMatch, 4> kinds{
      test::string_match("/api/v1/items/" + number), test::string_match("/api/v1/users/" + number + "/*"),
      test::string_match("*/file-" + number + ".json"),
      StringMatch{.kind = StringMatch::Kind::kTemplate, .text = "/api/v2/" + number + "/{*}/x"}};
  return kinds.at(static_cast<std::size_t>(i) % kinds.size());
}

// One in ten asks for a header too, one in seven excludes a method.
PolicyRule rule_of(int i) {
  PolicyRule out;
  auto& source = out.from.emplace_back();
  if (i % 4 == 3)
    source.namespaces = test::strings({"shop"});
  else
    source.principals = test::strings({"cluster.local/ns/shop/sa/client-" + std::to_string(i % 50)});
  auto& operation = out.to.emplace_back();
  operation.methods = i % 7 == 0 ? test::strings({}, {"DELETE"}) : test::strings({i % 2 == 0 ? "GET" : "POST", "HEAD"});
  operation.paths.values = {path_of(i)};
  if (i % 5 == 4) operation.hosts = test::strings({"host-" + std::to_string(i) + ".example"});
  if (i % 10 == 9) {
    auto& condition = out.when.emplace_back();
    condition.key = model::PolicyCondition::Key::kHeader;
    condition.members = {"x-role"};
    condition.strings = test::strings({"role-" + std::to_string(i)});
  }
  return out;
}

// So many rules, of which the last allows the request.
HttpPolicySet set_of(int rules) {
  HttpPolicySet out;
  auto& policy = out.policies.emplace_back();
  policy.id = {"shop", "allow"};
  for (int i = 0; i + 1 < rules; ++i) policy.rules.push_back(rule_of(i));
  auto& last = policy.rules.emplace_back();
  last.from.emplace_back().namespaces = test::strings({"shop"});
  auto& operation = last.to.emplace_back();
  operation.methods = test::strings({"GET"});
  operation.paths = test::strings({"/web/*"});
  return out;
}

http::Request request() {
  http::Request out{.method = "GET", .authority = "shop.example:8080", .path = "/web/assets/app.js?v=1"};
  for (const auto* name : {"user-agent", "accept", "accept-encoding", "x-request-id", "traceparent", "cookie", "x-role",
                           "x-forwarded-for"}) {
    out.fields.add(name, "a value as long as they are");
  }
  return out;
}

class Decisions {
 public:
  explicit Decisions(int rules) : set_(set_of(rules)), authorizer_(set_, "cluster.local") {
    known_ = authorizer_.know({.identity = "spiffe://cluster.local/ns/shop/sa/client-7",
                               .client_ip = test::ip("10.0.0.8"),
                               .remote_ip = test::ip("10.0.0.8"),
                               .server_ip = test::ip("10.0.0.7"),
                               .server_port = 8080});
  }

  // Nanoseconds of one.
  [[nodiscard]] double measure() const {
    const auto one = request();
    const authz::Subject subject{.request = one, .host = "shop.example", .path = "/web/assets/app.js"};
    int allowed = 0;
    const auto begin = Clock::now();
    for (int i = 0; i < kDecisions; ++i)
      allowed += authorizer_.decide(known_, subject).kind == authz::Verdict::Kind::kAllow ? 1 : 0;
    const std::chrono::duration<double, std::nano> taken = Clock::now() - begin;
    if (allowed != kDecisions) throw std::runtime_error("the request is not allowed");
    return taken.count() / kDecisions;
  }

 private:
  HttpPolicySet set_;
  authz::Authorizer authorizer_;
  authz::Authorizer::Known known_;
};

}  // namespace

std::vector<Row> measure_authz(const Plan& plan) {
  constexpr double kMostNs = 1000;  // a tenth of what a whole request costs
  Row row{.group = "authz",
          .title = "decide() of a request",
          .conditions =
              "no sockets; principals, methods, paths of four kinds, hosts and a header mixed, the last rule "
              "allows; mean of " +
              std::to_string(kDecisions) + " × " + std::to_string(plan.rounds),
          .unit = "ns"};
  row.series = {{"1,000 rules", {}}, {"1 rule", {}}, {"bound", {}}};
  row.comparisons = {{"1,000 rules", "1 rule"}, {"1,000 rules", "bound", Bound{Bound::Kind::kAtMost, 1.0}}};
  const Decisions one(1);
  const Decisions thousand(1000);
  for (int round = 0; round < plan.rounds; ++round) {
    row.of("1 rule").push_back(one.measure());
    row.of("1,000 rules").push_back(thousand.measure());
    row.of("bound").push_back(kMostNs);
  }
  return {row};
}

}  // namespace underpass::bench
