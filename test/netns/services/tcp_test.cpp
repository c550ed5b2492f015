// SPDX-License-Identifier: Apache-2.0
// TCP through a Service: who answers, what the client sees, and what happens where nobody is ready.
#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <cerrno>

#include "test/netns/services/scene.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

namespace json = boost::json;
using Names = std::set<std::string>;

// The record of the connection of `fd` as `connections` has it.
json::object record_of(const Scene& scene, int fd) {
  const std::string id = std::to_string(socket_cookie(fd));
  json::object found;
  const bool listed = eventually(seconds(5), [&] {
    for (const json::value& row : scene.world.ctl.json({"connections"}).as_array()) {
      if (text_of(row.at("id")) == id) found = row.as_object();
    }
    return !found.empty();
  });
  if (!listed) throw std::runtime_error("connection " + id + " is not listed");
  return found;
}

std::string ip_of(const Place& place, const Address& reached_by) {
  return place.ip(reached_by.to_string().starts_with("[fd00") ? AF_INET6 : AF_INET);
}

void check_each_backend(Scene& scene, const Address& to) {
  CAPTURE(to.to_string());
  Names answered;
  for (int i = 0; i < 40; ++i) {
    const Connection connection = open_tcp(scene.client(), to);
    REQUIRE_MESSAGE(connection.answer.error == 0, connection.answer.to_string());
    CHECK(connection.answer.peer == to.to_string());
    if (!answered.insert(connection.answer.backend).second) continue;
    const json::object record = record_of(scene, connection.fd.get());
    const json::value& destination = record.at("destination");
    CHECK(text_of(destination.at("service")) == "shop/web:" + std::to_string(to.port()));
    CHECK(text_of(destination.at("ip")) == ip_of(scene.world.at(connection.answer.backend), to));
    CHECK(text_of(destination.at("pod")) == connection.answer.backend);
    CHECK(destination.at("port").to_number<int>() == kTarget);
  }
  CHECK(answered == Names{"web-1", "web-2"});
}

TEST_CASE("a ClusterIP reaches every ready pod, and the client sees the address that it asked for") {
  for (const Settings& settings : {kPlainTcp, kAccelerated}) {
    CAPTURE(*settings.short_circuit);
    Scene scene(settings);
    for (const char* pod : {"web-1", "web-2"}) scene.world.wait_enrolled("shop", pod, *settings.short_circuit);
    scene.put_and_wait(Scene::web_service(), {"web-1", "web-2"});
    for (const auto port : std::initializer_list<std::uint16_t>{80, 81}) {
      for (const char* ip : {kVip4, kVip6, "::ffff:10.96.0.1"}) check_each_backend(scene, Address::of(ip, port));
    }
    // A port that the Service does not have is nobody's.
    CHECK(ask_tcp(scene.client(), Address::of(kVip4, 82), milliseconds(200)).error != 0);
  }
}

TEST_CASE("a connection through a Service carries what is sent, short-circuited or not") {
  for (const Settings& settings : {kPlainTcp, kAccelerated}) {
    CAPTURE(*settings.short_circuit);
    Scene scene(settings);
    for (const char* pod : {"web-1", "web-2"}) scene.world.wait_enrolled("shop", pod, *settings.short_circuit);
    scene.put_and_wait(Scene::web_service(), {"web-1", "web-2"});
    for (const char* ip : {kVip4, kVip6, "::ffff:10.96.0.1"}) {
      CAPTURE(std::string(ip));
      const Connection connection = open_tcp(scene.client(), Address::of(ip, 80));
      REQUIRE_MESSAGE(connection.answer.error == 0, connection.answer.to_string());
      for (int i = 0; i < 20; ++i) {
        const std::string bytes(1000, static_cast<char>('a' + i));
        send_all(connection.fd.get(), bytes);
        CHECK(receive_exactly(connection.fd.get(), bytes.size()) == bytes);
      }
      CHECK(text_of(record_of(scene, connection.fd.get()).at("way")) ==
            (*settings.short_circuit == "on" ? "short-circuit" : "direct"));
    }
  }
}

TEST_CASE("nothing is ready: refused at once; a pod that becomes ready is reached") {
  Scene scene;
  for (const char* pod : {"web-1", "web-2"}) scene.set_ready(pod, false);
  scene.put_and_wait(Scene::web_service(), {});
  for (const char* ip : {kVip4, kVip6, "::ffff:10.96.0.1"}) {
    CAPTURE(std::string(ip));
    const auto begin = Clock::now();
    CHECK(ask_tcp(scene.client(), Address::of(ip, 80)).error == ECONNREFUSED);
    const UniqueFd connected = udp_socket(scene.client(), Address::of(ip, 53).family());
    CHECK(connect_udp(connected, Address::of(ip, 53)) == ECONNREFUSED);
    const UniqueFd loose = udp_socket(scene.client(), Address::of(ip, 53).family());
    CHECK(ask_udp(loose, Address::of(ip, 53)).error == ECONNREFUSED);
    CHECK(Clock::now() - begin < seconds(1));
  }
  scene.set_ready("web-1", true);
  scene.put_and_wait(Scene::web_service(), {"web-1"});
  for (const char* ip : {kVip4, kVip6}) CHECK(who_answers(scene.client(), Address::of(ip, 80)) == Names{"web-1"});
  scene.set_ready("web-2", true);
  scene.put_and_wait(Scene::web_service(), {"web-1", "web-2"});
  CHECK(who_answers(scene.client(), Address::of(kVip4, 80)) == Names{"web-1", "web-2"});
  scene.set_ready("web-1", false);
  scene.put_and_wait(Scene::web_service(), {"web-2"});
  CHECK(who_answers(scene.client(), Address::of(kVip4, 80)) == Names{"web-2"});
}

TEST_CASE("publishNotReadyAddresses: readiness does not matter") {
  Scene scene;
  scene.set_ready("web-1", false);
  ServiceObject service = Scene::web_service();
  service.publish_not_ready = true;
  scene.put_and_wait(service, {"web-1", "web-2"});
  CHECK(who_answers(scene.client(), Address::of(kVip4, 80)) == Names{"web-1", "web-2"});
}

TEST_CASE("a pod that terminates is reached only while nothing else is ready") {
  Scene scene;
  for (const char* pod : {"web-1", "web-2"}) {
    PodObject object = scene.backend_object(pod);
    object.deleting = std::string(pod) == "web-1";
    object.ready = object.deleting;  // web-1 ends and still serves, web-2 is not ready yet
    scene.world.objects.put(object);
  }
  scene.put_and_wait(Scene::web_service(), {"web-1"});
  CHECK(who_answers(scene.client(), Address::of(kVip4, 80)) == Names{"web-1"});
  scene.set_ready("web-2", true);
  scene.put_and_wait(Scene::web_service(), {"web-2"});
  CHECK(who_answers(scene.client(), Address::of(kVip4, 80)) == Names{"web-2"});
}

TEST_CASE("headless and ExternalName Services leave addresses alone") {
  Scene scene;
  ServiceObject headless = Scene::web_service();
  headless.cluster_ips = {"None"};
  scene.world.objects.put(headless);
  scene.world.objects.put(ServiceObject{.ns = "shop", .name = "far", .type = "ExternalName", .external_name = "a.b"});
  ServiceObject other = Scene::web_service();  // when this one is there, the two before were read
  other.name = "web-last";
  scene.put_and_wait(other, {"web-1", "web-2"});
  CHECK(scene.world.pinned.entries("up_services") == 6);
  for (const int family : {AF_INET, AF_INET6}) {
    const Address pod = Address::of(scene.world.at("web-1").ip(family), kTarget);
    const Connection connection = open_tcp(scene.client(), pod);
    CHECK(connection.answer.backend == "web-1");
    CHECK(connection.answer.peer == pod.to_string());
    CHECK(record_of(scene, connection.fd.get()).at("destination").at("service").is_null());
  }
}

TEST_CASE("a NodePort at a node's address, an external IP and a load balancer's") {
  Scene scene;
  scene.world.objects.put(NodeObject{kNode, {"192.0.2.10", "2001:db8::10"}});
  scene.world.objects.put(NodeObject{"node-b", {"192.0.2.11"}});
  ServiceObject service = Scene::web_service();
  service.type = "LoadBalancer";
  service.ports[0].node_port = 30080;
  service.ports[2].node_port = 30053;
  service.external_ips = {"198.51.100.7", "2001:db8:1::7"};
  service.balancer_ips = {"203.0.113.9"};
  scene.put_and_wait(service, {"web-1", "web-2"});
  scene.wait_backends(Address::of("0.0.0.0", 30080), {"web-1", "web-2"});
  CHECK(eventually(seconds(5), [&] { return scene.world.pinned.entries("up_nodes") == 3; }));
  for (const auto& [ip, port] : std::vector<std::pair<const char*, std::uint16_t>>{{"192.0.2.10", 30080},
                                                                                   {"192.0.2.11", 30080},
                                                                                   {"::ffff:192.0.2.10", 30080},
                                                                                   {"2001:db8::10", 30080},
                                                                                   {"198.51.100.7", 80},
                                                                                   {"2001:db8:1::7", 80},
                                                                                   {"203.0.113.9", 81}}) {
    const Address to = Address::of(ip, port);
    CAPTURE(to.to_string());
    const Connection connection = open_tcp(scene.client(), to);
    REQUIRE_MESSAGE(connection.answer.error == 0, connection.answer.to_string());
    CHECK(connection.answer.peer == to.to_string());
    CHECK(text_of(record_of(scene, connection.fd.get()).at("destination").at("service")) ==
          (port == 81 ? "shop/web:81" : "shop/web:80"));
    CHECK(who_answers(scene.client(), to) == Names{"web-1", "web-2"});
  }
  const UniqueFd udp = udp_socket(scene.client(), AF_INET);
  CHECK(ask_udp(udp, Address::of("192.0.2.10", 30053)).peer == "192.0.2.10:30053");
  // Not a node's address, and not a NodePort.
  CHECK(ask_tcp(scene.client(), Address::of("192.0.2.99", 30080), milliseconds(200)).error != 0);
  CHECK(ask_tcp(scene.client(), Address::of("192.0.2.10", 80), milliseconds(200)).error != 0);
}

TEST_CASE("a pod reaches itself through its Service") {
  for (const Settings& settings : {kPlainTcp, kAccelerated}) {
    CAPTURE(*settings.short_circuit);
    Scene scene(settings);
    scene.world.wait_enrolled("shop", "web-1", *settings.short_circuit);
    scene.set_ready("web-2", false);
    scene.put_and_wait(Scene::web_service(), {"web-1"});
    for (const char* ip : {kVip4, kVip6, "::ffff:10.96.0.1"}) {
      CAPTURE(std::string(ip));
      const Address tcp = Address::of(ip, 80);
      const Connection connection = open_tcp(scene.world.at("web-1"), tcp);
      CHECK(connection.answer.to_string() == "web-1 as " + tcp.to_string());
      if (connection.answer.error == 0) {
        send_all(connection.fd.get(), std::string(5000, 'x'));
        CHECK(receive_exactly(connection.fd.get(), 5000) == std::string(5000, 'x'));
      }
      const Address udp = Address::of(ip, 53);
      const UniqueFd socket = udp_socket(scene.world.at("web-1"), udp.family());
      CHECK(ask_udp(socket, udp).to_string() == "web-1 as " + udp.to_string());
    }
  }
}

TEST_CASE("internalTrafficPolicy Local: refused without an endpoint on this node") {
  Scene scene;
  ServiceObject service = Scene::web_service();
  service.cluster_ips = {kVip4};
  service.selector = {};
  service.internal_local = true;
  scene.world.objects.put(service);
  const auto at = [&](const char* pod, const char* node) {
    return EndpointObject{.ip = scene.world.at(pod).v4, .node = node};
  };
  EndpointSliceObject slice{.ns = "shop",
                            .name = "web-x",
                            .service = "web",
                            .ports = {{.name = "http", .port = kTarget}},
                            .endpoints = {at("web-1", "node-b")}};
  scene.world.objects.put(slice);
  const Address vip = Address::of(kVip4, 80);
  scene.wait_backends(vip, {});
  CHECK(ask_tcp(scene.client(), vip).error == ECONNREFUSED);
  slice.endpoints.push_back(at("web-2", kNode));
  scene.world.objects.put(slice);
  scene.wait_backends(vip, {"web-2"});
  CHECK(who_answers(scene.client(), vip) == Names{"web-2"});
}

TEST_CASE("pods that are not enrolled are left alone") {
  Scene scene;
  scene.world.objects.put(NamespaceObject{"plain"});
  scene.world.add_pod("plain", "outsider");
  scene.world.add_pod("shop", "left", {.mesh = "disabled"});
  scene.put_and_wait(Scene::web_service(), {"web-1", "web-2"});
  for (const char* pod : {"outsider", "left"}) {
    CAPTURE(std::string(pod));
    // So that packets to the address would go somewhere, and nobody answers there.
    run_ok({.argv = {"ip", "route", "add", std::string(kVip4) + "/32", "via", scene.world.at("b").v4},
            .netns = scene.world.at(pod).netns});
    CHECK(ask_tcp(scene.world.at(pod), Address::of(kVip4, 80), milliseconds(300)).error != 0);
    const UniqueFd udp = udp_socket(scene.world.at(pod), AF_INET);
    CHECK(ask_udp(udp, Address::of(kVip4, 53), milliseconds(300)).error != 0);
    CHECK(ask_tcp(scene.world.at(pod), Address::of(scene.world.at("web-1").v4, kTarget)).backend == "web-1");
  }
  CHECK(ask_tcp(scene.client(), Address::of(kVip4, 80), milliseconds(300)).error == 0);
}

}  // namespace
}  // namespace underpass::test
