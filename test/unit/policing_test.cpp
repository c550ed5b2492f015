// SPDX-License-Identifier: Apache-2.0
// What a worker may say of policies that only tell: of those of its own pods, and nothing that they cannot tell.
#include "agent/policing.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace underpass {
namespace {

using Action = model::AuthorizationPolicy::Action;

class Heard {
 public:
  Heard() {
    auto& pod = pods_.emplace_back();
    pod.id = {"shop", "web"};
    pod.netns_cookie = 7;
    HttpPolicySet set;
    for (const auto& [name, action, dry_run] :
         {std::tuple("audit", Action::kAudit, false), std::tuple("dry-deny", Action::kDeny, true),
          std::tuple("dry-allow", Action::kAllow, true), std::tuple("deny", Action::kDeny, false)})
      set.policies.push_back({.id = {"shop", name}, .action = action, .dry_run = dry_run});
    pod.http = std::make_shared<const HttpPolicySet>(std::move(set));
    pods_.emplace_back().id = {"shop", "plain"};
    pods_.back().netns_cookie = 8;
  }

  // "audited shop/audit=3", of what `worker` says once.
  std::string counts(const std::string& worker, const PolicyNotice& notice) const {
    Policing policing;
    const PolicyNoticeCount count{.notice = notice, .requests = 3};
    policing.hear(worker, {&count, 1}, pods_);
    std::string out;
    for (const auto& family : policing.collect()) {
      for (const auto& metric : family.metric) {
        CHECK(metric.label.at(1).value == "server");
        out += (family.name == "underpass_audited_total" ? "audited " : "dry run ") + metric.label.at(0).value + "=" +
               std::to_string(static_cast<std::uint64_t>(metric.counter.value));
      }
    }
    return out;
  }

 private:
  std::vector<compile::PodStatus> pods_;
};

TEST_CASE("policing: what workers tell is counted for its policy, at the server's side") {
  const Heard heard;
  const PolicyNotice audit{.server = 7, .policy = {"shop", "audit"}, .audited = true};
  const PolicyNotice deny{.server = 7, .policy = {"shop", "dry-deny"}};
  for (const char* worker : {"shop", "_shared"}) {
    CHECK(heard.counts(worker, audit) == "audited shop/audit=3");
    CHECK(heard.counts(worker, deny) == "dry run shop/dry-deny=3");
    CHECK(heard.counts(worker, {.server = 7, .policy = {}}) == "dry run =3");
  }
}

TEST_CASE("policing: of what is not its own, and of what policies cannot tell, a worker is not believed") {
  const Heard heard;
  const PolicyNotice audit{.server = 7, .policy = {"shop", "audit"}, .audited = true};
  CHECK(heard.counts("bank", audit).empty());
  for (const auto& notice :
       std::vector<PolicyNotice>{{.server = 8, .policy = {"shop", "audit"}, .audited = true},     // has no policies
                                 {.server = 9, .policy = {"shop", "audit"}, .audited = true},     // is nobody
                                 {.server = 7, .policy = {"shop", "audit"}},                      // denies nothing
                                 {.server = 7, .policy = {"shop", "dry-deny"}, .audited = true},  // audits nothing
                                 {.server = 7, .policy = {"shop", "deny"}},                       // is in force
                                 {.server = 7, .policy = {"shop", "dry-allow"}},  // denies by not matching alone
                                 {.server = 7, .policy = {"shop", "unknown"}, .audited = true}}) {
    CAPTURE(notice.policy.name);
    CHECK(heard.counts("shop", notice).empty());
  }
}

TEST_CASE("policing: that no ALLOW policy in dry run matches counts for each of them, and only where there is one") {
  std::vector<compile::PodStatus> pods(1);
  pods[0].id = {"shop", "web"};
  pods[0].netns_cookie = 7;
  HttpPolicySet set;
  set.policies.push_back({.id = {"shop", "audit"}, .action = Action::kAudit});
  pods[0].http = std::make_shared<const HttpPolicySet>(set);
  const PolicyNoticeCount none{.notice = {.server = 7}, .requests = 2};
  Policing policing;
  policing.hear("shop", {&none, 1}, pods);
  for (const auto& family : policing.collect()) CHECK(family.metric.empty());

  set.policies.push_back({.id = {"shop", "get"}, .dry_run = true});
  pods[0].http = std::make_shared<const HttpPolicySet>(set);
  policing.hear("shop", {&none, 1}, pods);
  model::Snapshot snapshot;
  snapshot.authorization_policies[{"shop", "get"}] =
      std::make_shared<const model::AuthorizationPolicy>(set.policies[1]);
  const auto rows = policing.policies(snapshot);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].at("dryRunDenied").to_number<int>() == 2);
}

}  // namespace
}  // namespace underpass
