// SPDX-License-Identifier: Apache-2.0
#include "test/netns/decided/scene.h"

#include <doctest/doctest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "test/support/files.h"

namespace underpass::test {
namespace {

namespace fs = std::filesystem;

const std::string kNodeV4 = "10.77.255.1";
const std::string kNodeV6 = "fd00:77::ffff";
constexpr seconds kSoon{15};

Agent::Options deciding(Agent::Options options, const Sandbox& sandbox, const PodNet& net) {
  options.netns = net.bridge_netns();
  fs::create_directories(sandbox.cgroup() / "pods");
  options.more.insert(options.more.end(),
                      {"--pods-cgroup", sandbox.cgroup() / "pods", "--proxy", built_program("underpass-proxy")});
  return options;
}

}  // namespace

std::string allow_get(std::uint16_t port) {
  const std::string ports = port == 0 ? "" : R"(, "ports": [")" + std::to_string(port) + "\"]";
  return policy_of("get", R"({"selector": {"matchLabels": {"app": "b"}}, "rules": [{"to": [{"operation": {"methods": )"
                          R"(["GET"])" +
                              ports + "}}]}]}");
}

void ask_again(int client, int server) {
  const std::string request = "GET / HTTP/1.1\r\nhost: b\r\n\r\n",
                    answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
  send_all(client, request);
  std::string heard;
  while (!heard.ends_with("\r\n\r\n")) heard += receive_exactly(server, 1);
  CHECK_MESSAGE(heard.starts_with("GET / HTTP/1.1\r\n"), heard);
  send_all(server, answer);
  heard.clear();
  while (!heard.ends_with("ok")) heard += receive_exactly(client, 1);
  CHECK_MESSAGE(heard.starts_with("HTTP/1.1 200 OK\r\n"), heard);
}

UniqueFd ask(int client, int listener) {
  send_all(client, "GET /first HTTP/1.1\r\nhost: b\r\n\r\n");
  UniqueFd server = accept_from(listener);
  std::string heard;
  while (!heard.ends_with("\r\n\r\n")) heard += receive_exactly(server.get(), 1);
  send_all(server.get(), "HTTP/1.1 204 No Content\r\n\r\n");
  heard.clear();
  while (!heard.ends_with("\r\n\r\n")) heard += receive_exactly(client, 1);
  CHECK_MESSAGE(heard.starts_with("HTTP/1.1 204"), heard);
  return server;
}

Decided::Decided(const Agent::Options& options) : agent(sandbox, deciding(options, sandbox, net)) {
  for (const char* name : {"a", "b", "c", "out"}) net.add(name);
  const std::string bridge = run_ok(
      {.argv = {"sh", "-c", "ip -o link show type bridge | cut -d: -f2 | tr -d ' \n'"}, .netns = net.bridge_netns()});
  run_ok({.argv = {"ip", "-batch", "-"},
          .netns = net.bridge_netns(),
          .input = "addr add " + kNodeV4 + "/16 dev " + bridge + "\naddr add " + kNodeV6 + "/64 dev " + bridge +
                   " nodad\n"});
  objects.put(NamespaceObject{"shop", {.mesh = "enabled", .short_circuit = "off"}});
  objects.put(NamespaceObject{"bank", {.mesh = "enabled", .short_circuit = "off", .capture = "always"}});
  objects.put(object_of("shop", "a"));
  put_b();
  objects.put(object_of("bank", "c"));
  objects.put(object_of("elsewhere", "out", {.mesh = "disabled"}));
  put_policy(allow_get());
  agent.start();
  wait_decided();
  if (!eventually(kSoon, [&] { return has_worker("c"); })) throw std::runtime_error("c has no worker\n" + agent.log());
}

Place Decided::host() const { return {.netns = net.bridge_netns(), .v4 = kNodeV4, .v6 = kNodeV6}; }

PodObject Decided::object_of(const std::string& ns, const std::string& name, const Settings& settings) const {
  const Place& place = net.at(name);
  return {
      .ns = ns, .name = name, .node = kNode, .netns = place.netns, .ips = {place.v4, place.v6}, .settings = settings};
}

void Decided::put_b(const Strings& annotations, std::uint16_t probe_port) const {
  PodObject pod = object_of("shop", "b");
  pod.labels = {{"app", "b"}};
  pod.annotations = annotations;
  std::string yaml = to_yaml(pod);
  const std::string image = "    image: app\n";
  if (probe_port != 0)
    yaml.insert(yaml.find(image) + image.size(),
                "    readinessProbe:\n      tcpSocket:\n        port: " + std::to_string(probe_port) + "\n");
  objects.put_text("b.yaml", yaml);
}

std::uint32_t Decided::capture_of(const std::string& name) const {
  const auto pod = pinned.pod(net.cookie(name));
  return pod ? pod->capture : 0;
}

bool Decided::has_worker(const std::string& name) const { return pinned.worker(net.cookie(name)).has_value(); }

void Decided::wait_decided() const {
  if (!eventually(kSoon, [&] { return (capture_of("b") & UP_CAPTURE_MUST) != 0 && has_worker("b"); }))
    throw std::runtime_error("b has no worker that decides\n" + agent.log());
}

std::vector<pid_t> Decided::workers(const std::string& ns) const {
  std::vector<pid_t> out;
  std::ifstream lines(sandbox.cgroup() / "underpass" / ("worker-" + ns) / "cgroup.procs");  // which may go
  for (pid_t pid = 0; lines >> pid;) out.push_back(pid);
  return out;
}

// Five deaths in a minute are too many.
void Decided::kill_for_good(const std::string& ns) const {
  const auto place = ns == "bank" ? "c" : "b";
  const bool gone = eventually(seconds(30), [&] {
    for (const pid_t pid : workers(ns)) ::kill(pid, SIGKILL);
    return !has_worker(place);
  });
  if (!gone) throw std::runtime_error("the worker of " + ns + " always comes again\n" + agent.log());
}

std::string Decided::way(const Place& from, const Place& to, int family, std::uint16_t port) const {
  const auto proxied = pinned.stats().connections[UP_WAY_PROXIED];
  const UniqueFd listener = listen_at(to, family, {}, port);
  const UniqueFd client = connect_from(from, local_address(listener.get()));
  (void)ask(client.get(), listener.get());
  return pinned.stats().connections[UP_WAY_PROXIED] > proxied ? "proxied" : "direct";
}

bool Decided::metric_says_no_worker() const {
  const auto listen = ctl.json({"status"}).at("listen").at("metrics");
  const std::string url = "http://" + std::string(listen.as_string()) + "/metrics";
  return run_ok({.argv = {"curl", "-s", url}, .netns = net.bridge_netns()})
      .contains("underpass_denied_total{policy=\"no worker\"");
}

}  // namespace underpass::test
