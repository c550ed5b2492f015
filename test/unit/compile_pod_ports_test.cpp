// SPDX-License-Identifier: Apache-2.0
// What Services say of the ports of pods.
#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/compile/pod_ports.h"
#include "test/support/policy_values.h"

namespace underpass::compile {
namespace {

using Ports = std::map<std::uint16_t, PortProtocol>;
using Names = std::map<std::string, std::uint16_t>;
using test::ip;

struct Shop {
  model::Snapshot snapshot;
  model::Pod pod{.id = {"shop", "web"}, .ips = {ip("10.0.0.7")}, .labels = {{"app", "web"}}};
  PodPorts known;

  model::Service& add(const std::string& name, std::vector<model::ServicePort> ports, bool selects = true) {
    auto service = std::make_shared<model::Service>();
    service->id = {"shop", name};
    if (selects) service->selector = {{"app", "web"}};
    service->ports = std::move(ports);
    auto& out = *service;
    snapshot.services[service->id] = std::move(service);
    return out;
  }
  PodPorts::Ports both() {
    known.begin(snapshot);
    return known.of(pod, pod.ips);
  }
  Ports ports() { return both().protocols; }
};

model::ServicePort port_of(const std::string& name, model::TargetPort target,
                           model::Protocol protocol = model::Protocol::kTcp) {
  return {.name = name, .protocol = protocol, .port = 80, .target = std::move(target)};
}

TEST_CASE("pod ports: what is spoken at them, those of the containers' ports to which Services lead") {
  Shop shop;
  CHECK(shop.ports().empty());
  shop.pod.ports = {{.name = "api", .protocol = model::Protocol::kTcp, .port = 8081},
                    {.name = "dns", .protocol = model::Protocol::kUdp, .port = 53}};
  shop.add("web", {port_of("http", std::uint16_t{8080}), port_of("grpc-api", std::string("api")),
                   port_of("http-none", std::string("none")), port_of("http-dns", std::string("dns")),
                   port_of("http-3", std::uint16_t{443}, model::Protocol::kUdp)});
  shop.add("other", {port_of("http", std::uint16_t{9000})}).selector = {{"app", "db"}};
  CHECK(shop.ports() == Ports{{8080, PortProtocol::kHttp1}, {8081, PortProtocol::kGrpc}});
  // Where two differ it is looked at; where they agree, not.
  shop.add("again", {port_of("http", std::uint16_t{8080}), port_of("tcp", std::string("api"))});
  CHECK(shop.ports() == Ports{{8080, PortProtocol::kHttp1}, {8081, PortProtocol::kDetect}});
  // Another container port of the same name.
  shop.pod.ports.front().port = 8082;
  CHECK(shop.ports() == Ports{{8080, PortProtocol::kHttp1}, {8082, PortProtocol::kDetect}});
  shop.snapshot.services.clear();
  CHECK(shop.ports().empty());
}

TEST_CASE("pod ports: by which port of which Service a tunnel may ask for them") {
  Shop shop;
  shop.pod.ports = {{.name = "api", .protocol = model::Protocol::kTcp, .port = 8081}};
  auto& web =
      shop.add("web", {port_of("http", std::uint16_t{8080}), port_of("api", std::string("api")),
                       port_of("none", std::string("none")), port_of("dns", std::uint16_t{53}, model::Protocol::kUdp)});
  web.ports[1].port = 81;
  web.ports[2].port = 82;
  shop.add("other", {port_of("http", std::uint16_t{9000})}).selector = {{"app", "db"}};
  CHECK(shop.both().names == Names{{"web.shop.svc.cluster.local:80", 8080}, {"web.shop.svc.cluster.local:81", 8081}});

  shop.add("by-hand", {port_of("http", std::uint16_t{1})}, false);
  auto slice = std::make_shared<model::EndpointSlice>();
  slice->id = {"shop", "by-hand-1"};
  slice->service = "by-hand";
  slice->ports = {{.name = "other", .port = 8081}, {.name = "http", .port = 8080}};
  slice->endpoints = {{.ip = ip("10.0.0.7")}};
  shop.snapshot.slices[slice->id] = slice;
  CHECK(shop.both().names == Names{{"by-hand.shop.svc.cluster.local:80", 8080},
                                   {"web.shop.svc.cluster.local:80", 8080},
                                   {"web.shop.svc.cluster.local:81", 8081}});
}

TEST_CASE("pod ports: what is spoken at them, of a Service without a selector, by its slices") {
  Shop shop;
  shop.add("by-hand", {}, false);
  auto slice = std::make_shared<model::EndpointSlice>();
  slice->id = {"shop", "by-hand-1"};
  slice->service = "by-hand";
  slice->ports = {{.name = "http", .protocol = model::Protocol::kTcp, .port = 8080}};
  slice->endpoints = {{.ip = ip("10.0.0.8")}};
  shop.snapshot.slices[slice->id] = slice;
  CHECK(shop.ports().empty());
  shop.pod.ips = {ip("10.0.0.8")};
  CHECK(shop.ports() == Ports{{8080, PortProtocol::kHttp1}});
  // The slices of one with a selector say nothing that the Service does not.
  shop.add("by-hand", {});
  CHECK(shop.ports().empty());
}

}  // namespace
}  // namespace underpass::compile
