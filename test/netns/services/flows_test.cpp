// SPDX-License-Identifier: Apache-2.0
// What operators see of connections through a Service: `flows`, and Istio's TCP metrics with the exact sums of bytes,
// for direct and for short-circuited connections.
#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <csignal>
#include <sstream>

#include "test/netns/services/scene.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

namespace json = boost::json;

constexpr int kConnections = 5;
constexpr std::size_t kBytes = 20'000;

std::vector<json::object> flows(const Scene& scene, const std::string& event) {
  const Finished done = scene.world.ctl.run({"-o", "json", "flows"});
  REQUIRE_MESSAGE(done.exit.ok(), done.out << done.err);
  std::vector<json::object> out;
  std::istringstream lines(done.out);
  for (std::string line; std::getline(lines, line);) {
    const json::object flow = json::parse(line).as_object();
    if (text_of(flow.at("event")) == event && text_of(flow.at("destination").at("service")) == "shop/web:80")
      out.push_back(flow);
  }
  return out;
}

// The metric's value summed over the series that have all these labels.
double metric(const Scene& scene, const std::string& name, const std::vector<std::string>& labels) {
  const std::string listen = text_of(scene.world.ctl.json({"status"}).at("listen").at("metrics"));
  const std::string text = run_ok({.argv = {"curl", "-sSf", "http://" + listen + "/metrics"}});
  double sum = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name + "{")) continue;
    const bool all =
        std::ranges::all_of(labels, [&](const std::string& label) { return line.find(label) != std::string::npos; });
    if (all) sum += std::stod(line.substr(line.rfind(' ')));
  }
  return sum;
}

void check_seen(const Scene& scene, const std::string& way) {
  const Address vip = Address::of(kVip4, 80);
  std::size_t names = 0;  // what the backends say before they return what they get
  for (int i = 0; i < kConnections; ++i) {
    const Connection connection = open_tcp(scene.client(), vip);
    REQUIRE_MESSAGE(connection.answer.error == 0, connection.answer.to_string());
    names += connection.answer.backend.size() + 1;
    for (std::size_t done = 0; done < kBytes; done += 1000) {
      send_all(connection.fd.get(), std::string(1000, 'x'));
      receive_exactly(connection.fd.get(), 1000);
    }
  }
  const double sent = kConnections * kBytes;
  for (const char* reporter : {"reporter=\"source\"", "reporter=\"destination\""}) {
    CAPTURE(std::string(reporter));
    const std::vector<std::string> labels{reporter,
                                          R"(destination_service="web.shop.svc.cluster.local")",
                                          R"(destination_service_name="web")",
                                          R"(destination_service_namespace="shop")",
                                          R"(source_workload_namespace="shop")",
                                          R"(connection_security_policy="none")"};
    const auto is = [&](const std::string& name, double value) {
      CAPTURE(std::string(name));
      double got = 0;
      CHECK_MESSAGE(eventually(seconds(10), [&] { return (got = metric(scene, name, labels)) == value; }),
                    name << " is " << got << ", wanted " << value);
    };
    is("istio_tcp_connections_opened_total", kConnections);
    is("istio_tcp_connections_closed_total", kConnections);
    is("istio_tcp_received_bytes_total", sent);
    is("istio_tcp_sent_bytes_total", sent + static_cast<double>(names));
  }
  CHECK(eventually(seconds(5), [&] { return flows(scene, "closed").size() == kConnections; }));
  CHECK(flows(scene, "opened").size() == kConnections);
  for (const json::object& flow : flows(scene, "closed")) {
    CAPTURE(json::serialize(flow));
    CHECK(text_of(flow.at("way")) == way);
    CHECK(text_of(flow.at("protocol")) == "tcp");
    CHECK(text_of(flow.at("source").at("pod")) == "a");
    CHECK(text_of(flow.at("destination").at("pod")).starts_with("web-"));
    CHECK(text_of(flow.at("dialled")) == "10.96.0.1:80");
    CHECK(flow.at("bytesSent").to_number<std::size_t>() == kBytes);
    CHECK(flow.at("bytesReceived").to_number<std::size_t>() == kBytes + 6);  // "web-1\n"
  }
}

TEST_CASE("flows and metrics of direct connections") {
  Scene scene;
  for (const char* pod : {"web-1", "web-2"}) scene.world.wait_enrolled("shop", pod, "off");
  scene.put_and_wait(Scene::web_service(), {"web-1", "web-2"});
  check_seen(scene, "direct");
}

TEST_CASE("flows and metrics of short-circuited connections") {
  Scene scene(kAccelerated);
  for (const char* pod : {"web-1", "web-2"}) scene.world.wait_enrolled("shop", pod, "on");
  scene.put_and_wait(Scene::web_service(), {"web-1", "web-2"});
  check_seen(scene, "short-circuit");
  CHECK(scene.world.redirected() > kConnections * kBytes);
}

TEST_CASE("a refused connection is a flow that names the Service") {
  Scene scene;
  for (const char* pod : {"web-1", "web-2"}) scene.set_ready(pod, false);
  scene.put_and_wait(Scene::web_service(), {});
  CHECK(ask_tcp(scene.client(), Address::of(kVip4, 80)).error != 0);
  CHECK(eventually(seconds(5), [&] { return flows(scene, "refused").size() == 1; }));
  for (const json::object& flow : flows(scene, "refused")) {
    CHECK(text_of(flow.at("source").at("pod")) == "a");
    CHECK(text_of(flow.at("dialled")) == "10.96.0.1:80");
  }
}

TEST_CASE("flows -f goes on with the next agent, and ends by an interrupt") {
  Scene scene;
  scene.put_and_wait(Scene::web_service(), {"web-1", "web-2"});
  const Sandbox& sandbox = scene.world.sandbox;
  Process follower({.argv = {built_program("underpassctl").string(), "--run-dir", sandbox.run_dir(), "flows", "-f"}});
  const auto lines_with = [&](const std::string& word) {
    const std::string out = follower.out();
    std::size_t count = 0;
    for (std::size_t at = out.find(word); at != std::string::npos; at = out.find(word, at + 1)) ++count;
    return count;
  };
  CHECK(ask_tcp(scene.client(), Address::of(kVip4, 80)).error == 0);
  CHECK(eventually(seconds(5), [&] { return lines_with("closed") == 1; }));
  scene.world.agent.kill9();
  CHECK(eventually(seconds(5), [&] { return follower.err().find("waiting for the next one") != std::string::npos; }));
  scene.world.agent.start();
  CHECK(ask_tcp(scene.client(), Address::of(kVip4, 80)).error == 0);
  CHECK(eventually(seconds(10), [&] { return lines_with("closed") == 2; }));
  follower.signal(SIGINT);
  const auto exit = follower.wait(seconds(5));
  REQUIRE(exit.has_value());
  CHECK(exit->ok());
}

TEST_CASE("the agent is dead: Services go on being translated, and the next agent counts on") {
  Scene scene;
  for (const char* pod : {"web-1", "web-2"}) scene.world.wait_enrolled("shop", pod, "off");
  scene.put_and_wait(Scene::web_service(), {"web-1", "web-2"});
  scene.world.agent.kill9();
  const std::set<std::string> both{"web-1", "web-2"};
  for (const char* ip : {kVip4, kVip6}) {
    CHECK(who_answers(scene.client(), Address::of(ip, 80)) == both);
    const Address dns = Address::of(ip, 53);
    const UniqueFd udp = udp_socket(scene.client(), dns.family());
    CHECK(ask_udp(udp, dns).peer == dns.to_string());
  }
  const std::uint32_t id = scene.tables().service(Address::of(kVip4, 80)).value().id;
  scene.world.agent.start();
  scene.put_and_wait(Scene::web_service(), {"web-1", "web-2"});
  CHECK(scene.tables().service(Address::of(kVip4, 80)).value().id == id);
  CHECK(who_answers(scene.client(), Address::of(kVip4, 80)) == both);
  // What changed meanwhile counts: a Service that went while no agent ran.
  scene.world.agent.kill9();
  scene.world.objects.remove_service("shop", "web");
  scene.world.agent.start();
  scene.wait_gone(Address::of(kVip4, 80));
  CHECK(eventually(seconds(5), [&] { return scene.world.pinned.entries("up_backends") == 0; }));
}

}  // namespace
}  // namespace underpass::test
