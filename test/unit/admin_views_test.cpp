// SPDX-License-Identifier: Apache-2.0
// The JSON that third parties rely on, as golden texts.
#include "agent/admin/views.h"

#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

using namespace underpass;
using admin::StatusInfo;
using compile::PodStatus;
namespace json = boost::json;
using namespace std::chrono;

namespace {

// As compact JSON, members in their order.
std::string compact(std::string_view golden) { return json::serialize(json::parse(golden)); }

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

PodStatus web() {
  return {.id = {"shop", "web"},
          .ips = {ip("10.0.0.7"), ip("fd00::7")},
          .identity = "spiffe://cluster.local/ns/shop/sa/web",
          .netns_cookie = 18'446'744'073'709'551'615U,
          .enrolled = true,
          .short_circuit = model::ShortCircuit::kOn,
          .short_circuit_reason = "annotation on Namespace",
          .capture = true,
          .capture_reason = "annotation on Pod",
          .workload = {.ns = "shop", .owner = "Deployment/web", .images = {"web:1", "log:1"}}};
}

PodStatus refused() {
  return {.id = {"shop", "old"}, .refused = true, .reason = "netns /var/run/netns/old: not found"};
}

up_end end_of(const char* address, std::uint16_t port, std::uint64_t netns, up_tcp_state state) {
  return {.netns_cookie = netns,
          .cookie = 1,
          .sock = 0xffff888000000000U,
          .addr = ip(address).to_abi(),
          .port = htons(port),
          .mapped = 0,
          .worker = 0,
          .state = state};
}

dataplane::Connection connection() {
  dataplane::Connection out{.id = 4711};
  out.record.started_ns = 2'500'000'000;
  out.record.way = UP_WAY_SHORT_CIRCUIT;
  out.record.end[UP_CLIENT] = end_of("10.0.0.7", 40000, web().netns_cookie, UP_TCP_ESTABLISHED);
  out.record.end[UP_SERVER] = end_of("10.0.0.9", 80, 0, UP_TCP_NONE);
  out.record.dir[UP_CLIENT].tcp_bytes = 10;
  out.record.dir[UP_CLIENT].redirected_bytes = 100;
  out.record.dir[UP_SERVER].tcp_bytes = 2000;
  out.record.dir[UP_SERVER].redirected_bytes = 30000;
  return out;
}

json::object view(const dataplane::Connection& one, const std::vector<PodStatus>& pods = {}) {
  const std::vector<dataplane::Connection> all{one};
  return admin::connections_view(all, admin::PodIndex(pods), admin::ClockOffset(hours(24))).at(0).as_object();
}

}  // namespace

TEST_CASE("status view: all fields") {
  StatusInfo status{.node = "node-a",
                    .version = "1.2.3",
                    .state = StatusInfo::State::kStale,
                    .reasons = {"folder /etc/mesh is gone"},
                    .stale_since = sys_days(2026y / March / 1) + 9h + 250ms,
                    .deny_errno = ECONNREFUSED,
                    .metrics_listen = "0.0.0.0:15020",
                    .ready_listen = "[::]:15021",
                    .capabilities = {{.name = "btf", .result = "exact", .reason = "kernel 6.1"},
                                     {.name = "x", .result = "tcp", .reason = ""}},
                    .pods_enrolled = 2,
                    .pods_refused = 1,
                    .detached = {.node = false, .namespaces = {"a", "b"}, .since = "2026-03-01T08:00:00.000Z"},
                    .memory_used = 16384,
                    .memory_limit = 67108864};
  CHECK(json::serialize(admin::status_view(status)) == compact(R"({
    "node": "node-a", "version": "1.2.3", "state": "stale", "reasons": ["folder /etc/mesh is gone"],
    "staleSince": "2026-03-01T09:00:00.250Z",
    "detached": {"node": false, "nodeLabel": false, "namespaces": ["a", "b"], "since": "2026-03-01T08:00:00.000Z"},
    "denyErrno": "ECONNREFUSED", "listen": {"metrics": "0.0.0.0:15020", "ready": "[::]:15021"},
    "capabilities": [{"name": "btf", "result": "exact", "reason": "kernel 6.1"},
                     {"name": "x", "result": "tcp", "reason": null}],
    "pods": {"enrolled": 2, "refused": 1}, "memory": {"used": 16384, "limit": 67108864}})"));
}

TEST_CASE("status view: what is absent is null") {
  CHECK(json::serialize(admin::status_view({.node = "n", .version = "v"})) == compact(R"({
    "node": "n", "version": "v", "state": "ready", "reasons": [], "staleSince": null, "detached": null,
    "denyErrno": null, "listen": {"metrics": null, "ready": null}, "capabilities": [],
    "pods": {"enrolled": 0, "refused": 0}, "memory": {"used": 0, "limit": 0}})"));
}

TEST_CASE("pods view") {
  const std::vector<PodStatus> pods{web(), refused()};
  CHECK(json::serialize(admin::pods_view(pods, learn::Workloads())) == compact(R"([
    {"namespace": "shop", "name": "web", "ip": "10.0.0.7", "ips": ["10.0.0.7", "fd00::7"],
     "identity": "spiffe://cluster.local/ns/shop/sa/web", "netnsCookie": "18446744073709551615", "enrolled": true,
     "refused": false, "reason": null, "shortCircuit": "on", "shortCircuitReason": "annotation on Namespace",
     "capture": "always", "captureReason": "annotation on Pod", "tunnel": "none", "owner": "Deployment/web", "images": ["web:1", "log:1"]},
    {"namespace": "shop", "name": "old", "ip": null, "ips": [], "identity": null, "netnsCookie": null,
     "enrolled": false, "refused": true, "reason": "netns /var/run/netns/old: not found", "shortCircuit": "off",
     "shortCircuitReason": "not enrolled", "capture": "none", "captureReason": null, "tunnel": "none", "owner": null, "images": []}])"));
}

TEST_CASE("pods view: the modes") {
  const auto mode_of = [](model::ShortCircuit mode, bool enrolled) {
    PodStatus pod = web();
    pod.short_circuit = mode;
    pod.enrolled = enrolled;
    return std::string(admin::pods_view(std::span(&pod, 1), learn::Workloads()).at(0).at("shortCircuit").as_string());
  };
  CHECK(mode_of(model::ShortCircuit::kAuto, true) == "learning");
  CHECK(mode_of(model::ShortCircuit::kOn, true) == "on");
  CHECK(mode_of(model::ShortCircuit::kOff, true) == "off");
  CHECK(mode_of(model::ShortCircuit::kOn, false) == "off");
}

TEST_CASE("pods view: only who is in the mesh is captured") {
  PodStatus pod = web();
  const auto capture_of = [&] { return admin::pods_view(std::span(&pod, 1), learn::Workloads()).at(0).as_object(); };
  pod.enrolled = false;
  CHECK(capture_of().at("capture") == "none");
  CHECK(capture_of().at("captureReason") == nullptr);
  pod.enrolled = true;
  pod.capture = false;
  pod.capture_reason = "default";
  CHECK(capture_of().at("capture") == "none");
  CHECK(capture_of().at("captureReason") == nullptr);
}

TEST_CASE("pods view: what was learned, and how far learning has come") {
  PodStatus pod = web();
  pod.short_circuit = model::ShortCircuit::kAuto;
  pod.short_circuit_reason = "default";
  learn::Workloads learned;
  const std::map<NetnsCookie, learn::Workload> pods{{1, pod.workload}};
  learned.observe(pods, {{1, {}}}, {});
  learned.observe(pods, {{1, {.traits = 0, .first_read_ns = 1, .reads = 12, .connections = 3}}}, {});
  const auto reason = [&] {
    return std::string(admin::pods_view(std::span(&pod, 1), learned).at(0).at("shortCircuitReason").as_string());
  };
  CHECK(reason() == "learning: 3 of 8 connections, 12 of 32 reads");
  pod.short_circuit = model::ShortCircuit::kOff;  // the compiler's words
  pod.short_circuit_reason = "splice seen on 2026-03-01: stays on TCP";
  CHECK(reason() == "splice seen on 2026-03-01: stays on TCP");
  pod.enrolled = false;
  CHECK(reason() == "not enrolled");
}

TEST_CASE("pods view: who speaks HBONE, and for whom it is all that a worker is for") {
  PodStatus pod = web();
  const auto row = [&] { return admin::pods_view(std::span(&pod, 1), learn::Workloads()).at(0).as_object(); };
  pod.tunnels = true;
  CHECK(row().at("tunnel") == "hbone");
  CHECK(row().at("capture") == "always");
  pod.tunnel_only = true;
  CHECK(row().at("capture") == "tunnel");
  pod.enrolled = false;
  CHECK(row().at("tunnel") == "none");
  CHECK(row().at("capture") == "none");
}

TEST_CASE("relearn view: the workload and its pods") {
  PodStatus other = web();
  other.id.name = "other";
  other.workload.images = {"web:2"};
  const std::vector<PodStatus> pods{web(), refused(), other};
  CHECK(json::serialize(admin::relearn_view(web().workload, {.state = learn::State::kOff}, pods)) == compact(R"({
    "workload": {"namespace": "shop", "owner": "Deployment/web", "images": ["web:1", "log:1"]}, "was": "off",
    "pods": ["shop/web"]})"));
}

TEST_CASE("connections view: all fields") {
  CHECK(json::serialize(view(connection(), {web()})) == compact(R"(
    {"id": "4711", "netnsCookie": "18446744073709551615",
     "source": {"ip": "10.0.0.7", "port": 40000, "namespace": "shop", "pod": "web",
                "identity": "spiffe://cluster.local/ns/shop/sa/web"},
     "destination": {"ip": "10.0.0.9", "port": 80, "namespace": null, "pod": null, "identity": null, "service": null},
     "dialled": null, "way": "short-circuit", "tunnel": "none", "state": "established", "bytesSent": 110, "bytesReceived": 32000,
     "bytesShortCircuited": 30100, "fallbackReason": null, "startedAt": "1970-01-02T00:00:02.500Z"})"));
}

TEST_CASE("connections view: the Service through which it was dialled") {
  dataplane::Connection one = connection();
  one.record.service = 3;
  one.record.dialled = ip("fd00::a").to_abi();
  one.record.dialled_port = htons(443);
  const std::vector<dataplane::Connection> all{one};
  const auto row = [&](const admin::ServiceName& name) {
    return admin::connections_view(all, admin::PodIndex({}), admin::ClockOffset(hours(24)), name).at(0).as_object();
  };
  const json::object known = row([](std::uint32_t id) { return id == 3 ? "shop/web:443" : ""; });
  CHECK(known.at("destination").at("service") == "shop/web:443");
  CHECK(known.at("dialled") == "[fd00::a]:443");
  const json::object gone = row([](std::uint32_t) { return ""; });
  CHECK(gone.at("destination").at("service") == nullptr);
  CHECK(gone.at("dialled") == "[fd00::a]:443");
  CHECK(row({}).at("destination").at("service") == nullptr);
}

TEST_CASE("connections view: of what a worker takes, one row with the ends that were meant") {
  dataplane::Connection taken = connection();
  taken.record.way = UP_WAY_PROXIED;
  taken.record.end[UP_SERVER] = end_of("127.0.0.1", 15001, web().netns_cookie, UP_TCP_ESTABLISHED);
  taken.record.original = ip("fd00::9").to_abi();
  taken.record.original_port = htons(443);
  PodStatus db = web();
  db.id.name = "db";
  db.ips = {ip("fd00::9")};
  db.netns_cookie = 12;
  const std::string original = R"({"ip": "fd00::9", "port": 443, "namespace": "shop", "pod": "db", "identity": )";

  taken.record.original_netns = 12;
  const json::object local = view(taken, {web(), db});
  CHECK(local.at("way") == "proxied");
  CHECK(local.at("source").at("pod") == "web");
  CHECK(json::serialize(local.at("destination")) ==
        compact(original + R"("spiffe://cluster.local/ns/shop/sa/web", "service": null})"));
  taken.record.original_netns = 0;
  CHECK(json::serialize(view(taken, {web(), db}).at("destination")) == compact(original + R"(null, "service": null})"));

  dataplane::Connection leg = connection();
  leg.record.carries = taken.id;
  leg.record.original = ip("10.0.0.7").to_abi();
  leg.record.original_port = htons(40000);
  const std::vector<dataplane::Connection> all{leg, taken, leg};
  CHECK(admin::connections_view(all, admin::PodIndex({}), admin::ClockOffset(hours(24))).size() == 1);
}

TEST_CASE("connections view: tunnels are nobody's connections, and what they brought is told with its client") {
  model::Snapshot snapshot;
  snapshot.pods[{"away", "far"}] = {.id = {"away", "far"}, .node_name = "node-b", .service_account = "far"};
  snapshot.pods.begin()->second.ips = {ip("10.0.1.9")};
  snapshot.namespaces["away"] = {.name = "away", .settings = {.mesh = true}};
  compile::RemoteCompiler remotes;
  compile::IdentityNumbers numbers;
  compile::Compiled none;
  remotes.update(snapshot, {}, "node-a", none, numbers);
  const std::vector<PodStatus> pods{web()};
  const admin::PodIndex index(pods, &remotes);
  const auto rows = [&](const dataplane::Connection& one) {
    return admin::connections_view(std::span(&one, 1), index, admin::ClockOffset(hours(24)));
  };
  const std::string far = R"({"ip": "10.0.1.9", "port": 40000, "namespace": "away", "pod": "far", "identity": )";

  dataplane::Connection brought = connection();
  brought.record.way = UP_WAY_PROXIED;
  brought.record.end[UP_CLIENT] = end_of("127.0.0.9", 5000, web().netns_cookie, UP_TCP_ESTABLISHED);
  brought.record.end[UP_SERVER] = end_of("10.0.0.7", 80, web().netns_cookie, UP_TCP_ESTABLISHED);
  brought.record.carries = 9;
  brought.record.original = ip("10.0.1.9").to_abi();
  brought.record.original_port = htons(40000);
  CHECK(rows(brought).empty());  // a leg of what another record tells
  brought.record.tunnel = UP_TUNNEL_HBONE;
  REQUIRE(rows(brought).size() == 1);
  const auto row = rows(brought).at(0).as_object();
  CHECK(json::serialize(row.at("source")) == compact(far + R"("spiffe://cluster.local/ns/away/sa/far"})"));
  CHECK(row.at("destination").at("pod") == "web");
  CHECK(row.at("destination").at("port") == 80);
  CHECK(row.at("tunnel") == "hbone");

  dataplane::Connection dialled = connection();
  dialled.record.original = ip("10.0.1.9").to_abi();
  dialled.record.original_port = htons(40000);
  dialled.record.tunnel = UP_TUNNEL_HBONE;
  CHECK(json::serialize(rows(dialled).at(0).at("destination")) ==
        compact(far + R"("spiffe://cluster.local/ns/away/sa/far", "service": null})"));
  dialled.record.tunnel = UP_TUNNEL_NONE;  // an address proves nothing
  CHECK(json::serialize(rows(dialled).at(0).at("destination")) == compact(far + R"(null, "service": null})"));

  for (const int end : {UP_CLIENT, UP_SERVER}) {
    dataplane::Connection tunnel = connection();
    tunnel.record.end[end].worker = UP_TUNNELS;
    CHECK(rows(tunnel).empty());
  }
}

TEST_CASE("connections view: who is at an end") {
  PodStatus stranger = refused();
  stranger.ips = {ip("10.0.0.9")};
  stranger.identity = "spiffe://cluster.local/ns/shop/sa/old";

  SUBCASE("an address without a netns names a pod, and attests no identity") {
    const json::object row = view(connection(), {web(), stranger});
    CHECK(row.at("destination").at("pod") == "old");
    CHECK(row.at("destination").at("identity") == nullptr);
  }
  SUBCASE("a netns that is gone is nobody, whoever has its address now") {
    dataplane::Connection one = connection();
    one.record.end[UP_SERVER].netns_cookie = 99;
    CHECK(view(one, {web(), stranger}).at("destination").at("pod") == nullptr);
  }
  SUBCASE("an address that two pods claim is its enrolled owner's") {
    PodStatus owner = stranger;
    owner.id.name = "new";
    owner.enrolled = true;
    owner.refused = false;
    CHECK(view(connection(), {stranger, owner}).at("destination").at("pod") == "new");
    CHECK(view(connection(), {owner, stranger}).at("destination").at("pod") == "new");
  }
  SUBCASE("and nobody's if there is none") {
    PodStatus other = stranger;
    other.id.name = "other";
    CHECK(view(connection(), {stranger, other}).at("destination").at("pod") == nullptr);
    CHECK(view(connection(), {stranger, other, stranger}).at("destination").at("pod") == nullptr);
  }
}

TEST_CASE("connections view: the state is the client's, or else the server's") {
  dataplane::Connection one = connection();
  one.record.end[UP_SERVER].state = UP_TCP_CLOSE_WAIT;
  CHECK(view(one).at("state") == "established");
  one.record.end[UP_CLIENT].state = UP_TCP_NONE;
  CHECK(view(one).at("state") == "close-wait");
  one.record.end[UP_SERVER].state = UP_TCP_NONE;
  CHECK(view(one).at("state") == nullptr);
}

TEST_CASE("connections view: the netns is the client's, or else the server's") {
  dataplane::Connection one = connection();
  one.record.end[UP_SERVER].netns_cookie = 7;
  CHECK(view(one).at("netnsCookie") == "18446744073709551615");
  one.record.end[UP_CLIENT].netns_cookie = 0;
  CHECK(view(one).at("netnsCookie") == "7");
}

TEST_CASE("connections view: why not by short-circuit") {
  dataplane::Connection one = connection();
  SUBCASE("a direct connection has one reason") {
    one.record.way = UP_WAY_DIRECT;
    one.record.why = UP_WHY_NOT_LOCAL;
    one.record.dir[UP_CLIENT].why = UP_WHY_FIRST_MESSAGES;
    CHECK(view(one).at("fallbackReason") == "not-local");
  }
  SUBCASE("a short-circuited one the reason of its latest message by TCP") {
    one.record.dir[UP_CLIENT].why = UP_WHY_FIRST_MESSAGES;
    one.record.dir[UP_CLIENT].last_tcp_ns = 5;
    CHECK(view(one).at("fallbackReason") == "first-messages");
    one.record.dir[UP_SERVER].why = UP_WHY_QUEUE_FULL;
    one.record.dir[UP_SERVER].last_tcp_ns = 4;
    CHECK(view(one).at("fallbackReason") == "first-messages");
    one.record.dir[UP_SERVER].last_tcp_ns = 6;
    CHECK(view(one).at("fallbackReason") == "queue-full");
  }
  SUBCASE("a direction that never fell back does not count") {
    one.record.dir[UP_CLIENT].last_tcp_ns = 9;
    one.record.dir[UP_SERVER].why = UP_WHY_WAITALL;
    CHECK(view(one).at("fallbackReason") == "waitall");
  }
  SUBCASE("a direction that is redirected again does not count") {
    one.record.dir[UP_CLIENT].why = UP_WHY_QUEUE_FULL;
    one.record.dir[UP_CLIENT].last_tcp_ns = 5;
    one.record.dir[UP_CLIENT].state = UP_DIR_REDIRECT;
    CHECK(view(one).at("fallbackReason") == nullptr);
  }
  SUBCASE("a proxied one has none") {
    one.record.way = UP_WAY_PROXIED;
    one.record.why = UP_WHY_KERNEL;
    CHECK(view(one).at("way") == "proxied");
    CHECK(view(one).at("fallbackReason") == nullptr);
  }
  SUBCASE("numbers of a newer layout are shown as unknown") {
    one.record.way = UP_WAY_DIRECT;
    one.record.why = static_cast<up_why>(UP_WHY_COUNT + 1);
    CHECK(view(one).at("fallbackReason") == "unknown");
  }
}

TEST_CASE("detach view") {
  CHECK(json::serialize(admin::detach_view({.cut = {{.id = 7, .description = "a -> b"}}, .removed = {"up_pods"}})) ==
        R"({"cut":[{"id":"7","description":"a -> b"}],"removed":["up_pods"]})");
  CHECK(json::serialize(admin::detach_view({})) == R"({"cut":[],"removed":[]})");
}
