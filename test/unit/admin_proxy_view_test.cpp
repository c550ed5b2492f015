// SPDX-License-Identifier: Apache-2.0
// The worker of a pod as JSON, and why a pod has none.
#include "agent/admin/proxy_view.h"

#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <string>
#include <vector>

using namespace underpass;
using admin::ProxyConfigInfo;
namespace json = boost::json;
using namespace std::chrono;

namespace {

std::string compact(std::string_view golden) { return json::serialize(json::parse(golden)); }

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

}  // namespace

TEST_CASE("proxy config view: all fields") {
  const ProxyConfigInfo info{
      .pod = {"shop", "web"},
      .capture_reason = "annotation on Namespace",
      .worker = "shop",
      .state = ProxyConfigInfo::State::kReady,
      .since = sys_days(2026y / March / 1) + 9h,
      .problem = "revision 2: refused",
      .pid = 4711,
      .version = "0.1.0",
      .restarts = 1,
      .cgroup = "/sys/fs/cgroup/underpass/workers/shop",
      .listeners = {{.direction = UP_OUTBOUND, .address = ip("127.0.0.1"), .port = 15001},
                    {.direction = UP_INBOUND, .address = ip("::1"), .port = 15006}},
      .dials4 = 64,
      .dials6 = 3,
      .table = {.revision = 2,
                .settings = {.threads = 1, .connect_timeout = 2s, .idle_timeout = 0s, .drain_timeout = 1500ms},
                .pods = {{.netns = 18'446'744'073'709'551'615U,
                          .id = {"shop", "web"},
                          .identity = "spiffe://cluster.local/ns/shop/sa/web"}},
                .identities = {{2, "spiffe://cluster.local/ns/shop/sa/web"}}}};
  CHECK(json::serialize(admin::proxy_config_view(info)) == compact(R"({
    "namespace": "shop", "pod": "web", "captureReason": "annotation on Namespace",
    "worker": {"name": "shop", "state": "ready", "since": "2026-03-01T09:00:00.000Z", "problem": "revision 2: refused",
               "pid": 4711, "version": "0.1.0", "restarts": 1, "cgroup": "/sys/fs/cgroup/underpass/workers/shop"},
    "listeners": [{"direction": "outbound", "family": "IPv4", "address": "127.0.0.1", "port": 15001},
                  {"direction": "inbound", "family": "IPv6", "address": "::1", "port": 15006}],
    "dialSockets": {"ipv4": 64, "ipv6": 3},
    "config": {"revision": 2, "threads": 1, "connectTimeoutMs": 2000, "idleTimeoutMs": 0, "drainTimeoutMs": 1500,
               "pods": [{"namespace": "shop", "name": "web", "netnsCookie": "18446744073709551615",
                         "identity": "spiffe://cluster.local/ns/shop/sa/web"}],
               "identities": [{"number": 2, "identity": "spiffe://cluster.local/ns/shop/sa/web"}]}})"));
}

TEST_CASE("proxy config view: of a worker that does not run, what is absent is null") {
  const auto view = admin::proxy_config_view({.pod = {"shop", "web"}, .worker = "shop"});
  CHECK(json::serialize(view.at("worker")) == compact(R"({"name": "shop", "state": "starting", "since": null,
    "problem": null, "pid": null, "version": null, "restarts": 0, "cgroup": null})"));
  CHECK(view.at("listeners").as_array().empty());
  CHECK(view.at("config").at("revision") == 0);
}

TEST_CASE("proxy config view: the states") {
  using State = ProxyConfigInfo::State;
  const auto name_of = [](State state) {
    return std::string(admin::proxy_config_view({.state = state}).at("worker").at("state").as_string());
  };
  CHECK(name_of(State::kStarting) == "starting");
  CHECK(name_of(State::kReady) == "ready");
  CHECK(name_of(State::kBackingOff) == "backing-off");
  CHECK(name_of(State::kDraining) == "draining");
}

TEST_CASE("proxy config: why a pod has no worker") {
  std::vector<compile::PodStatus> pods{
      {.id = {"shop", "web"}, .enrolled = true, .capture = true, .capture_reason = "annotation on Pod"},
      {.id = {"shop", "db"}, .enrolled = true, .capture = false, .capture_reason = "default"},
      {.id = {"shop", "cron"}, .reason = "no label", .capture = true}};
  const auto refusal = [&](const char* name) {
    const auto found = admin::find_captured(pods, {"shop", name});
    REQUIRE(!found);
    CHECK(found.error().code == admin::ErrorCode::kNotFound);
    return found.error().message;
  };
  CHECK(admin::find_captured(pods, {"shop", "web"}).value() == pods.data());
  CHECK(refusal("gone") == "Pod shop/gone: not found on this node");
  CHECK(refusal("db") == "Pod shop/db has no worker: it is not captured (underpass.dev/capture: auto, default)");
  CHECK(refusal("cron") == "Pod shop/cron is not enrolled (no label)");
}
