// SPDX-License-Identifier: Apache-2.0
// Services that contradict each other, outlive each other or are very large: what is refused is shown, the rest works.
#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <cerrno>

#include "test/netns/services/scene.h"

namespace underpass::test {
namespace {

namespace json = boost::json;
using Names = std::set<std::string>;

// The rows of `services` of that name and state.
std::vector<json::object> rows_of(const Scene& scene, const std::string& name, const std::string& state) {
  std::vector<json::object> rows;
  for (const json::value& row : scene.world.ctl.json({"services"}).as_array()) {
    if (text_of(row.at("name")) == name && text_of(row.at("state")) == state) rows.push_back(row.as_object());
  }
  return rows;
}

TEST_CASE("two Services with one address and port: the older has it, the other is shown as refused") {
  Scene scene;
  ServiceObject older = Scene::web_service();
  older.created = "2026-01-01T00:00:00Z";
  ServiceObject younger = Scene::web_service();
  younger.name = "again";
  younger.created = "2026-02-01T00:00:00Z";
  younger.selector = {{"app", "nobody"}};
  younger.ports = {{.name = "http", .port = 80, .target = "8080"}, {.name = "own", .port = 90, .target = "8080"}};
  scene.world.objects.put(younger);
  const Address vip = Address::of(kVip4, 80);
  scene.wait_backends(vip, {});
  CHECK(ask_tcp(scene.client(), vip).error == ECONNREFUSED);
  scene.put_and_wait(older, {"web-1", "web-2"});
  CHECK(who_answers(scene.client(), vip) == Names{"web-1", "web-2"});
  // Of the younger one its own port is there.
  CHECK(ask_tcp(scene.client(), Address::of(kVip4, 90)).error == ECONNREFUSED);
  CHECK(eventually(seconds(5), [&] { return rows_of(scene, "again", "refused").size() == 1; }));
  const std::vector<json::object> refused = rows_of(scene, "again", "refused");
  REQUIRE(refused.size() == 1);
  CHECK(text_of(refused[0].at("cause")).find("shop/web") != std::string::npos);
  CHECK_FALSE(rows_of(scene, "web", "active").empty());
  CHECK(rows_of(scene, "web", "refused").empty());
  const std::string status = json::serialize(scene.world.ctl.json({"status"}));
  CHECK_MESSAGE(status.find("again") != std::string::npos, status);

  // The older one goes: the younger is no longer refused.
  scene.world.objects.remove_service("shop", "web");
  CHECK(eventually(seconds(5), [&] { return rows_of(scene, "again", "refused").empty(); }));
  scene.wait_backends(vip, {});
  CHECK(ask_tcp(scene.client(), vip).error == ECONNREFUSED);
}

TEST_CASE("a named targetPort that no pod has, a port out of range, SCTP: refused or without backends, others work") {
  Scene scene;
  ServiceObject named = Scene::web_service();
  named.name = "named";
  named.cluster_ips = {"10.96.0.2"};
  named.ports = {{.name = "http", .port = 80, .target = "nobody-has-it"}};
  scene.world.objects.put(named);
  for (const auto& [name, port] : {std::pair{"zero", 0}, std::pair{"large", 65536}}) {
    ServiceObject bad = named;
    bad.name = name;
    bad.cluster_ips = {"10.96.0.3"};
    bad.ports = {{.name = "http", .port = port, .target = "8080"}};
    scene.world.objects.put(bad);
  }
  ServiceObject sctp = named;
  sctp.name = "sctp";
  sctp.cluster_ips = {"10.96.0.4"};
  sctp.ports = {{.name = "sip", .port = 80, .protocol = "SCTP"}};
  scene.world.objects.put(sctp);
  scene.put_and_wait(Scene::web_service(), {"web-1", "web-2"});
  scene.wait_backends(Address::of("10.96.0.2", 80), {});
  CHECK(ask_tcp(scene.client(), Address::of("10.96.0.2", 80)).error == ECONNREFUSED);
  for (const char* name : {"zero", "large", "sctp"}) {
    CAPTURE(std::string(name));
    const std::vector<json::object> refused = rows_of(scene, name, "refused");
    REQUIRE(refused.size() == 1);
    CHECK(text_of(refused[0].at("cause")).find("ports[0]") != std::string::npos);
  }
  CHECK(who_answers(scene.client(), Address::of(kVip4, 80)) == Names{"web-1", "web-2"});
}

TEST_CASE("five thousand endpoints in one Service, then none; a slice that outlives its Service") {
  Scene scene;
  ServiceObject service = Scene::web_service();
  service.cluster_ips = {kVip4};
  service.selector = {};
  const auto slice = [&](int number, std::vector<EndpointObject> endpoints) {
    return EndpointSliceObject{.ns = "shop",
                               .name = "web-" + std::to_string(number),
                               .service = "web",
                               .ports = {{.name = "http", .port = kTarget}},
                               .endpoints = std::move(endpoints)};
  };
  const Address vip = Address::of(kVip4, 80);
  std::multiset<std::string> wanted;
  const auto add = [&](std::vector<EndpointObject>& endpoints, const std::string& ip) {
    endpoints.push_back({.ip = ip});
    wanted.insert(ip + ":" + std::to_string(kTarget));
  };
  for (int number = 0; number < 50; ++number) {
    std::vector<EndpointObject> endpoints;
    for (int i = 0; i < 100; ++i) {
      const bool real = number == 0 && i < 2;
      add(endpoints, real ? scene.world.at(i == 0 ? "web-1" : "web-2").v4
                          : "10.200." + std::to_string(number) + "." + std::to_string(i + 1));
    }
    scene.world.objects.put(slice(number, std::move(endpoints)));
  }
  scene.world.objects.put(service);
  const ServiceTables tables = scene.tables();
  CHECK(eventually(seconds(20), [&] { return tables.slots(vip).size() == 5000; }));
  CHECK(tables.slots(vip) == wanted);
  // Two that answer are left.
  for (int number = 1; number < 50; ++number) scene.world.objects.remove_slice("shop", "web-" + std::to_string(number));
  scene.world.objects.put(slice(0, {{.ip = scene.world.at("web-1").v4}, {.ip = scene.world.at("web-2").v4}}));
  scene.wait_backends(vip, {"web-1", "web-2"});
  CHECK(who_answers(scene.client(), vip) == Names{"web-1", "web-2"});
  CHECK(eventually(seconds(5), [&] { return scene.world.pinned.entries("up_backends") == 2; }));

  scene.world.objects.remove_service("shop", "web");
  scene.wait_gone(vip);
  CHECK(ask_tcp(scene.client(), vip, milliseconds(200)).error != 0);
  CHECK(eventually(seconds(5), [&] { return scene.world.pinned.entries("up_backends") == 0; }));
  CHECK(scene.world.agent.running());
  CHECK(scene.world.ctl.state() == "ready");
  scene.world.objects.put(service);
  scene.wait_backends(vip, {"web-1", "web-2"});
}

// Services with so many ports each, at addresses of 10.97.0.0/16.
std::string many_services(const std::string& name, int services, int ports) {
  std::string text;
  for (int i = 0; i < services; ++i) {
    json::array all;
    for (int port = 1; port <= ports; ++port) all.push_back({{"name", "p" + std::to_string(port)}, {"port", port}});
    const std::string ip = "10.97." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1);
    const json::object service{
        {"apiVersion", "v1"},
        {"kind", "Service"},
        {"metadata", {{"namespace", "shop"}, {"name", name + std::to_string(i)}}},
        {"spec", {{"clusterIP", ip}, {"clusterIPs", json::array{ip}}, {"ports", std::move(all)}}}};
    text += "---\n" + json::serialize(service) + "\n";
  }
  return text;
}

TEST_CASE("the table of Services fills up: reported before, the newest refused, the rest works, room is used again") {
  constexpr std::size_t kCapacity = 65536;
  constexpr int kPorts = 200;
  Scene scene;
  const auto status = [&] { return json::serialize(scene.world.ctl.json({"status"})); };
  const auto entries = [&] { return scene.world.pinned.entries("up_services"); };
  scene.put_and_wait(Scene::web_service(), {"web-1", "web-2"});
  const auto own = entries();
  CHECK(status().find(" full") == std::string::npos);

  const int fillers = static_cast<int>((kCapacity - own) / kPorts);
  scene.world.objects.put_text("fill.yaml", many_services("fill", fillers, kPorts));
  REQUIRE(eventually(seconds(60), [&] { return entries() == own + static_cast<std::size_t>(fillers) * kPorts; }));
  CHECK_MESSAGE(status().find("up_services is 99 % full") != std::string::npos, status());

  ServiceObject straw = Scene::web_service();
  straw.name = "straw";
  straw.cluster_ips = {"10.96.7.7"};
  straw.ports.clear();
  for (int port = 1; port <= kPorts; ++port)
    straw.ports.push_back({.name = "p" + std::to_string(port), .port = port, .target = std::to_string(kTarget)});
  scene.world.objects.put(straw);
  REQUIRE(eventually(seconds(20), [&] { return entries() == kCapacity; }));
  CHECK(
      eventually(seconds(5), [&] { return status().find("Service shop/straw: port 200/TCP: ") != std::string::npos; }));
  CHECK_MESSAGE(status().find("up_services is full (65536 entries)") != std::string::npos, status());
  CHECK(who_answers(scene.client(), Address::of("10.96.7.7", 1)) == Names{"web-1", "web-2"});
  CHECK_FALSE(scene.tables().service(Address::of("10.96.7.7", kPorts)).has_value());
  // What is there goes on being kept up to date.
  scene.set_ready("web-1", false);
  scene.wait_backends(Address::of(kVip4, 80), {"web-2"});
  CHECK(who_answers(scene.client(), Address::of(kVip4, 80)) == Names{"web-2"});

  scene.world.objects.remove_text("fill.yaml");
  scene.wait_backends(Address::of("10.96.7.7", kPorts), {"web-2"});
  CHECK(who_answers(scene.client(), Address::of("10.96.7.7", kPorts)) == Names{"web-2"});
  CHECK(entries() == own + kPorts);
  CHECK(eventually(seconds(5), [&] { return status().find(" full") == std::string::npos; }));
}

TEST_CASE("endpoints of the other family: the slice is refused, the Service is without them") {
  Scene scene;
  ServiceObject service = Scene::web_service();
  service.selector = {};
  scene.world.objects.put(service);
  scene.world.objects.put(EndpointSliceObject{.ns = "shop",
                                              .name = "wrong",
                                              .service = "web",
                                              .ports = {{.name = "http", .port = kTarget}},
                                              .endpoints = {{.ip = scene.world.at("web-1").v6}}});
  scene.wait_backends(Address::of(kVip4, 80), {});
  scene.wait_backends(Address::of(kVip6, 80), {});
  CHECK(ask_tcp(scene.client(), Address::of(kVip4, 80)).error == ECONNREFUSED);
  CHECK(ask_tcp(scene.client(), Address::of(kVip6, 80)).error == ECONNREFUSED);
  const std::string status = json::serialize(scene.world.ctl.json({"status"}));
  CHECK_MESSAGE(status.find("wrong") != std::string::npos, status);
}

}  // namespace
}  // namespace underpass::test
