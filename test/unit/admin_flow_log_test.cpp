// SPDX-License-Identifier: Apache-2.0
// Flows: how each is shown, and what a reader that is slow, late or of another agent is told.
#include "agent/admin/flow_log.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

using namespace underpass;
using namespace std::chrono;
namespace json = boost::json;

namespace {

std::string compact(std::string_view golden) { return json::serialize(json::parse(golden)); }

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

up_flow closed() {
  up_flow flow{};
  flow.time_ns = 3'750'000'000;
  flow.started_ns = 2'500'000'000;
  flow.id = 18'446'744'073'709'551'615U;
  flow.event = UP_FLOW_CLOSED;
  flow.way = UP_WAY_DIRECT;
  flow.service = 3;
  flow.protocol = 6;
  flow.dialled = ip("10.96.0.1").to_abi();
  flow.dialled_port = htons(80);
  flow.client_netns = 12;
  flow.client = ip("10.0.0.7").to_abi();
  flow.client_port = htons(40000);
  flow.server = ip("10.0.1.9").to_abi();
  flow.server_port = htons(8080);
  flow.why = UP_WHY_NOT_LOCAL;
  flow.sent = 10;
  flow.received = 2000;
  return flow;
}

std::vector<compile::PodStatus> pods() {
  return {{.id = {"shop", "web"},
           .ips = {ip("10.0.0.7")},
           .identity = "spiffe://cluster.local/ns/shop/sa/web",
           .netns_cookie = 12,
           .enrolled = true}};
}

std::string name_of_service(std::uint32_t id) { return id == 3 ? "shop/api:80" : ""; }

std::string text_of(const up_flow& flow, std::string_view policy = "") {
  const auto all = pods();
  return json::serialize(
      admin::flow_view(7, flow, policy, admin::PodIndex(all), admin::ClockOffset(hours(24)), name_of_service));
}

json::object view(const admin::FlowLog& log, std::uint64_t since) {
  return log.view(since, admin::PodIndex({}), admin::ClockOffset(hours(24)), name_of_service);
}

// "1 2 3 | next 4 | lost 0"
std::string summary(const admin::FlowLog& log, std::uint64_t since) {
  const json::object answer = view(log, since);
  std::string out;
  for (const json::value& flow : answer.at("flows").as_array()) out += json::serialize(flow.at("seq")) + " ";
  return out + "| next " + json::serialize(answer.at("next")) + " | lost " + json::serialize(answer.at("lost"));
}

}  // namespace

TEST_CASE("flow view: all fields") {
  CHECK(text_of(closed()) ==
        compact(R"({"seq": 7, "time": "1970-01-02T00:00:03.750Z", "kind": "connection", "event": "closed",
    "id": "18446744073709551615", "protocol": "tcp", "way": "direct", "tunnel": "none",
    "source": {"ip": "10.0.0.7", "port": 40000, "namespace": "shop", "pod": "web",
               "identity": "spiffe://cluster.local/ns/shop/sa/web"},
    "destination": {"ip": "10.0.1.9", "port": 8080, "namespace": null, "pod": null, "identity": null,
                    "service": "shop/api:80"},
    "dialled": "10.96.0.1:80", "bytesSent": 10, "bytesReceived": 2000, "durationMs": 1250,
    "fallbackReason": "not-local", "verdict": "allow", "policy": null, "side": null})"));
}

TEST_CASE("flow view: of a refused one the client and what it dialled are known") {
  up_flow flow{};
  flow.time_ns = 1'000'000'000;
  flow.event = UP_FLOW_REFUSED;
  flow.service = 3;
  flow.protocol = 17;
  flow.dialled = ip("fd00::1").to_abi();
  flow.dialled_port = htons(53);
  flow.client_netns = 12;
  CHECK(text_of(flow) == compact(R"({"seq": 7, "time": "1970-01-02T00:00:01.000Z", "kind": "connection",
    "event": "refused", "id": null,
    "protocol": "udp", "way": null, "tunnel": "none",
    "source": {"ip": null, "port": null, "namespace": "shop", "pod": "web",
               "identity": "spiffe://cluster.local/ns/shop/sa/web"},
    "destination": {"ip": null, "port": null, "namespace": null, "pod": null, "identity": null,
                    "service": "shop/api:80"},
    "dialled": "[fd00::1]:53", "bytesSent": 0, "bytesReceived": 0, "durationMs": null, "fallbackReason": null,
    "verdict": "deny", "policy": null, "side": null})"));
}

TEST_CASE("flow view: one that is denied has the policy, and which side was asked") {
  up_flow flow = closed();
  flow.event = UP_FLOW_DENIED;
  flow.id = 0;
  flow.service = 0;
  flow.client_port = 0;
  flow.why = UP_WHY_NONE;
  flow.sent = flow.received = 0;
  CHECK(text_of(flow, "AuthorizationPolicy shop/web rules[0]") ==
        compact(R"({"seq": 7, "time": "1970-01-02T00:00:03.750Z", "kind": "connection", "event": "denied", "id": null,
    "protocol": "tcp", "way": null, "tunnel": "none",
    "source": {"ip": "10.0.0.7", "port": null, "namespace": "shop", "pod": "web",
               "identity": "spiffe://cluster.local/ns/shop/sa/web"},
    "destination": {"ip": "10.0.1.9", "port": 8080, "namespace": null, "pod": null, "identity": null, "service": null},
    "dialled": null, "bytesSent": 0, "bytesReceived": 0, "durationMs": null, "fallbackReason": null,
    "verdict": "deny", "policy": "AuthorizationPolicy shop/web rules[0]", "side": "client"})"));
  flow.end = UP_SERVER;
  CHECK(json::parse(text_of(flow)).at("side") == "server");
}

TEST_CASE("flow view: one that is opened, through no Service") {
  up_flow flow = closed();
  flow.event = UP_FLOW_OPENED;
  flow.way = UP_WAY_SHORT_CIRCUIT;
  flow.why = UP_WHY_NONE;
  flow.service = 0;
  const json::value row = json::parse(text_of(flow));
  CHECK(row.at("event") == "opened");
  CHECK(row.at("way") == "short-circuit");
  CHECK(row.at("durationMs") == nullptr);
  CHECK(row.at("fallbackReason") == nullptr);
  CHECK(row.at("dialled") == nullptr);
  CHECK(row.at("destination").at("service") == nullptr);
}

TEST_CASE("flow view: a request, and one of which little is known") {
  const auto all = pods();
  const auto text = [&](const RequestFlow& flow) {
    return json::serialize(admin::request_view(7, flow, admin::PodIndex(all), name_of_service));
  };
  RequestFlow flow{.started_us = 1'770'080'805'006'000,
                   .duration_us = 1234,
                   .upstream_us = 500,
                   .client = 12,
                   .service = 3,
                   .client_ip = ip("10.0.0.7"),
                   .server_ip = ip("10.0.1.9"),
                   .dialled_ip = ip("10.96.0.1"),
                   .client_port = 40000,
                   .server_port = 8080,
                   .dialled_port = 80,
                   .protocol = "grpc",
                   .method = "POST",
                   .authority = "api.shop",
                   .path = "/a.B/C",
                   .code = 200,
                   .grpc_status = 7,
                   .flag = RequestFlag::kDenied,
                   .details = "rbac",
                   .policy = "shop/deny",
                   .request_bytes = 5,
                   .response_bytes = 6,
                   .request_id = "id"};
  CHECK(text(flow) == compact(R"({"seq": 7, "time": "2026-02-03T01:06:45.006Z", "kind": "request", "event": "denied",
    "id": null, "protocol": "grpc", "way": "proxied",
    "source": {"ip": "10.0.0.7", "port": 40000, "namespace": "shop", "pod": "web",
               "identity": "spiffe://cluster.local/ns/shop/sa/web"},
    "destination": {"ip": "10.0.1.9", "port": 8080, "namespace": null, "pod": null, "identity": null,
                    "service": "shop/api:80"},
    "dialled": "10.96.0.1:80", "bytesSent": 5, "bytesReceived": 6, "durationMs": 1.234, "fallbackReason": null,
    "verdict": "deny", "policy": "shop/deny", "side": "client", "method": "POST", "authority": "api.shop",
    "path": "/a.B/C", "code": 200, "grpcStatus": 7, "flags": "RBAC", "details": "rbac", "upstreamServiceMs": 0.5,
    "requestId": "id"})"));
  flow = {.inbound = true, .flag = RequestFlag::kHeadTimeout};
  CHECK(text(flow) == compact(R"({"seq": 7, "time": "1970-01-01T00:00:00.000Z", "kind": "request", "event": "request",
    "id": null, "protocol": null, "way": "proxied",
    "source": {"ip": null, "port": null, "namespace": null, "pod": null, "identity": null},
    "destination": {"ip": null, "port": null, "namespace": null, "pod": null, "identity": null, "service": null},
    "dialled": null, "bytesSent": 0, "bytesReceived": 0, "durationMs": 0.0, "fallbackReason": null,
    "verdict": "allow", "policy": null, "side": "server", "method": null, "authority": null, "path": null,
    "code": null, "grpcStatus": null, "flags": "SI", "details": null, "upstreamServiceMs": null, "requestId": null})"));
}

TEST_CASE("flow log: requests stand among connections as they came") {
  admin::FlowLog log(3);
  log.add(closed());
  log.add(RequestFlow{.path = "/a"});
  log.add(closed());
  CHECK(summary(log, 0) == "1 2 3 | next 4 | lost 0");
  CHECK(view(log, 0).at("flows").at(1).at("path") == "/a");
  log.add(RequestFlow{.path = "/b"});
  CHECK(view(log, 0).at("flows").at(2).at("path") == "/b");
  CHECK(summary(log, 1) == "2 3 4 | next 5 | lost 1");
}

TEST_CASE("flow log: a reader is told what it missed") {
  admin::FlowLog log(3);
  CHECK(summary(log, 0) == "| next 1 | lost 0");
  log.add(closed());
  log.add(closed());
  CHECK(summary(log, 0) == "1 2 | next 3 | lost 0");
  CHECK(summary(log, 1) == "1 2 | next 3 | lost 0");
  CHECK(summary(log, 2) == "2 | next 3 | lost 0");
  CHECK(summary(log, 3) == "| next 3 | lost 0");
  for (int i = 0; i < 5; ++i) log.add(closed(), "policy " + std::to_string(i));
  CHECK(summary(log, 3) == "5 6 7 | next 8 | lost 2");
  CHECK(summary(log, 0) == "5 6 7 | next 8 | lost 0");
  CHECK(view(log, 0).at("flows").at(2).at("policy") == "policy 4");
  CHECK(summary(log, 8) == "| next 8 | lost 0");
  CHECK(summary(log, 1000) == "5 6 7 | next 8 | lost 0");  // a number of an agent before this one
}

TEST_CASE("flow log: 4096 are kept") {
  admin::FlowLog log;
  for (std::size_t i = 0; i < admin::FlowLog::kCapacity + 10; ++i) log.add(closed());
  CHECK(view(log, 1).at("flows").as_array().size() == 4096);
  CHECK(view(log, 1).at("lost") == 10);
}

TEST_CASE("flows: the request") {
  CHECK(admin::decode_follow(admin::encode_flows(17, true)));
  CHECK(!admin::decode_follow(admin::encode_flows(17)));
  CHECK(!admin::decode_follow({{"follow", "yes"}}));
  CHECK(admin::decode_flows(admin::encode_flows(17)).value() == 17);
  CHECK(admin::decode_flows({{"command", "flows"}}).value() == 0);
  CHECK(admin::decode_flows({{"since", nullptr}}).value() == 0);
  for (const json::value& wrong : {json::value(-1), json::value("7"), json::value(1.5), json::value(json::array())}) {
    const auto decoded = admin::decode_flows({{"since", wrong}});
    REQUIRE(!decoded);
    CHECK(decoded.error().code == admin::ErrorCode::kUsage);
  }
}
