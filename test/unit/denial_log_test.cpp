// SPDX-License-Identifier: Apache-2.0
// Denials as lines of the log: what stands in them, and how few there are.
#include "agent/denial_log.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>

using namespace underpass;
using std::chrono::milliseconds;

namespace {

using Lines = std::vector<std::string>;

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

const std::vector<compile::PodStatus> kPods{{.id = {"shop", "a"},
                                             .ips = {ip("10.0.0.1")},
                                             .identity = "spiffe://cluster.local/ns/shop/sa/front",
                                             .netns_cookie = 11,
                                             .enrolled = true},
                                            {.id = {"shop", "b"}, .ips = {ip("10.0.0.2")}, .netns_cookie = 12},
                                            {.id = {"shop", "out"}, .ips = {ip("10.0.0.3")}}};
const compile::Denier kWeb{"AuthorizationPolicy shop/web", "rules[0].from[1]"};
const compile::Denier kNone{"no ALLOW policy matched: shop/web", ""};

up_flow from(const char* address, NetnsCookie netns, std::uint8_t end = UP_CLIENT) {
  up_flow flow{};
  flow.event = UP_FLOW_DENIED;
  flow.end = end;
  flow.client = ip(address).to_abi();
  flow.client_netns = netns;
  flow.server = ip("10.0.0.2").to_abi();
  flow.server_netns = 12;
  flow.server_port = htons(8080);
  return flow;
}

struct Log {
  explicit Log(std::size_t kinds = DenialLog::kMaxKinds) : log(kinds) {}

  void add(const up_flow& flow, const compile::Denier& denier = kWeb) {
    log.add(flow, denier, admin::PodIndex(kPods), now);
  }
  Lines take() { return log.take(now); }
  void wait(milliseconds time) { now += time; }

  DenialLog log;
  DenialLog::Time now{std::chrono::hours(1)};
};

const std::string kLine =
    "denied policy=\"AuthorizationPolicy shop/web\" rule=\"rules[0].from[1]\" source=shop/a "
    "identity=spiffe://cluster.local/ns/shop/sa/front destination=shop/b:8080 side=client count=";

}  // namespace

TEST_CASE("denial log: the first at once, then one line a second") {
  Log log;
  log.add(from("10.0.0.1", 11));
  CHECK(log.take() == Lines{kLine + "1"});
  for (int i = 0; i < 7; ++i) log.add(from("10.0.0.1", 11));
  CHECK(log.take().empty());
  log.wait(milliseconds(999));
  CHECK(log.take().empty());
  log.wait(milliseconds(1));
  CHECK(log.take() == Lines{kLine + "7"});
  // After a second without any, the next is a first one again.
  log.wait(milliseconds(1000));
  CHECK(log.take().empty());
  log.add(from("10.0.0.1", 11));
  CHECK(log.take() == Lines{kLine + "1"});
}

TEST_CASE("denial log: each policy, pod and side has its own") {
  Log log;
  log.add(from("10.0.0.1", 11));
  log.add(from("10.0.0.1", 11), kNone);
  log.add(from("10.0.0.1", 11, UP_SERVER));
  log.add(from("10.0.0.3", 0, UP_SERVER));
  log.add(from("192.0.2.1", 0, UP_SERVER));
  log.add(from("192.0.2.2", 0, UP_SERVER));
  const auto lines = log.take();
  REQUIRE(lines.size() == 5);
  CHECK(lines[0] ==
        "denied policy=\"AuthorizationPolicy shop/web\" rule=\"rules[0].from[1]\" source=192.0.2.2 identity=- "
        "destination=shop/b:8080 side=server count=2");
  CHECK(lines[3].contains(" source=shop/out identity=- destination=shop/b:8080 side=server count=1"));
  CHECK(lines[4].starts_with("denied policy=\"no ALLOW policy matched: shop/web\" rule=- source=shop/a "));
}

TEST_CASE("denial log: too many kinds are counted together") {
  Log log(2);
  log.add(from("10.0.0.1", 11));
  log.add(from("10.0.0.3", 0));
  for (int i = 0; i < 3; ++i) log.add(from("10.0.0.1", 11, UP_SERVER));
  auto lines = log.take();
  REQUIRE(lines.size() == 3);
  CHECK(lines[2] == "denied others=3");
  log.add(from("10.0.0.1", 11, UP_SERVER));
  CHECK(log.take().empty());
  log.wait(milliseconds(1000));
  CHECK(log.take() == Lines{"denied others=1"});
  log.add(from("10.0.0.1", 11, UP_SERVER));
  CHECK(log.take().size() == 1);  // there is room again
}
