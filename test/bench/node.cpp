// SPDX-License-Identifier: Apache-2.0
#include "test/bench/node.h"

#include <bpf/bpf.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <sstream>
#include <stdexcept>

#include "test/bench/policy_objects.h"
#include "test/bench/service_objects.h"
#include "test/support/files.h"
#include "test/support/sockets.h"
#include "test/support/traces.h"

namespace underpass::bench {
namespace {

// Pods by role; the names of the world's own two are "a" and "b", of namespace "shop".
constexpr std::array kShop{"a", "b"};
constexpr std::array kLearned{"auto-client", "auto-server"};
constexpr std::array kTcp{"tcp-client", "tcp-server"};
constexpr std::array kPlain{"plain-client", "plain-server"};

// Services before the servers of two pairs, and where these listen.
constexpr const char* kShopService = "10.96.0.1";
constexpr const char* kTcpService = "10.96.0.2";
constexpr const char* kLearnedService = "10.96.0.3";
constexpr std::uint16_t kServerPort = 8080;

// The number behind `label` in a file of lines "label: number ...", as /proc has them.
double number_after(const std::string& text, const std::string& label) {
  const auto at = text.find(label);
  return at == std::string::npos ? 0 : std::stod(text.substr(at + label.size()));
}

void set_bridge_netfilter(const std::string& bridge_netns, bool on) {
  if (!test::fs::exists("/proc/sys/net/bridge")) return;  // br_netfilter is not loaded
  for (const char* family : {"ip", "ip6", "arp"}) {
    test::set_sysctl(bridge_netns, std::string("net.bridge.bridge-nf-call-") + family + "tables", on ? "1" : "0");
  }
}

}  // namespace

PlainCgroup::PlainCgroup() : path_(test::cgroup2_mount() / (test::sandbox_prefix(::getpid()) + "plain")) {
  test::fs::create_directory(path_);
}

PlainCgroup::~PlainCgroup() { test::remove_cgroup(path_, true); }

Node::Node(bool bridge_netfilter) {
  set_bridge_netfilter(world_.net.bridge_netns(), bridge_netfilter);
  world_.objects.put(test::NamespaceObject{"tcp", {.mesh = "enabled", .short_circuit = "off"}});
  world_.objects.put(test::NamespaceObject{"learned", {.mesh = "enabled"}});
  world_.objects.put(test::NamespaceObject{"plain"});
  for (const char* pod : kTcp) world_.add_pod("tcp", pod);
  for (const char* pod : kLearned) world_.add_pod("learned", pod);
  for (const char* pod : kPlain) world_.add_pod("plain", pod);
  for (const char* pod : kLearned) world_.wait_enrolled("learned", pod, "");
  auto_problem_ = find_auto_problem();
  if (auto_problem_.empty()) teach();
  wait_enrolled();
  put_service("shop", kShop, kShopService);
  put_service("tcp", kTcp, kTcpService);
  put_service("learned", kLearned, kLearnedService);
  have_services(0);
}

std::string Node::find_auto_problem() const {
  const auto status = world_.ctl.json({"status"});
  for (const auto& row : status.at("capabilities").as_array())
    if (test::text_of(row.at("name")) == "call-watch" && test::text_of(row.at("result")) == "tcp")
      return test::text_of(row.at("reason"));
  return "";
}

// As an event loop would use its connections, until the agent has seen enough.
void Node::teach() const {
  const auto is_on = [&] {
    return std::ranges::all_of(kLearned, [&](const char* pod) {
      const auto row = world_.ctl.pod(std::string("learned/") + pod);
      return row && row->short_circuit == "on";
    });
  };
  const bool learned = test::eventually(test::seconds(20), [&] {
    const auto pair = test::make_pair_between(world_.at(kLearned[0]), world_.at(kLearned[1]), AF_INET);
    test::exchange(pair.client.get(), pair.server.get());
    return is_on();
  });
  if (!learned) throw std::runtime_error("mode auto did not learn: " + world_.agent.log());
}

void Node::wait_enrolled() const {
  for (const char* pod : kShop) world_.wait_enrolled("shop", pod, "on");
  for (const char* pod : kTcp) world_.wait_enrolled("tcp", pod, "off");
  for (const char* pod : kLearned) world_.wait_enrolled("learned", pod, auto_problem_.empty() ? "on" : "");
}

void Node::agent_on() {
  world_.agent.start(auto_problem_.empty() ? "ready" : "degraded");
  wait_enrolled();
}

void Node::agent_off() {
  const auto run_ctl = [&](const std::vector<std::string>& arguments) {
    const test::Finished done = world_.ctl.run(arguments);
    if (!done.exit.ok()) throw std::runtime_error("underpassctl " + arguments.back() + ": " + done.out + done.err);
  };
  run_ctl({"detach", "--node"});
  const bool gone = !world_.pinned.any();
  world_.agent.stop();
  // Without an agent: the next one is to attach its programs again.
  run_ctl({"--state-dir", world_.sandbox.state_dir(), "attach"});
  if (!gone) throw std::runtime_error("underpassctl detach left something pinned");
}

Pair Node::between(const std::string& variant, const Pods& pods, const std::string& cgroup, Cpus cpus) const {
  const test::Place& client = world_.at(pods[0]);
  const test::Place& server = world_.at(pods[1]);
  return {.variant = variant,
          .client = {.netns = client.netns, .cgroup = cgroup, .cpu = cpus.client},
          .server = {.netns = server.netns, .cgroup = cgroup, .cpu = cpus.server},
          .host = server.v4};
}

Pair Node::direct(Cpus cpus) const { return between("direct", kPlain, plain_cgroup_.path(), cpus); }
Pair Node::short_circuit(Cpus cpus) const { return between("short-circuit", kShop, world_.sandbox.cgroup(), cpus); }
Pair Node::learned(Cpus cpus) const {
  return between("short-circuit", auto_problem_.empty() ? kLearned : kShop, world_.sandbox.cgroup(), cpus);
}
Pair Node::enrolled_tcp(Cpus cpus) const { return between("enrolled, off", kTcp, world_.sandbox.cgroup(), cpus); }

Pair Node::loopback(Cpus cpus) const {
  Pair pair = direct(cpus);
  pair.variant = "loopback";
  pair.client.netns = pair.server.netns;
  pair.host = "127.0.0.1";
  return pair;
}

Pair Node::unix_socket(Cpus cpus) const {
  Pair pair = loopback(cpus);
  pair.variant = "unix";
  pair.host.clear();
  return pair;
}

void Node::put_service(const std::string& ns, const Pods& pods, const std::string& address) const {
  const auto port = [](const char* name, const char* protocol) {
    return test::ServicePortObject{
        .name = name, .port = Pair::kServicePort, .target = std::to_string(kServerPort), .protocol = protocol};
  };
  world_.objects.put(test::ServiceObject{
      .ns = ns, .name = "server", .cluster_ips = {address}, .ports = {port("tcp", "TCP"), port("udp", "UDP")}});
  world_.objects.put(test::EndpointSliceObject{
      .ns = ns,
      .name = "server-x",
      .service = "server",
      .ports = {{.name = "tcp", .port = kServerPort}, {.name = "udp", .port = kServerPort, .protocol = "UDP"}},
      .endpoints = {{.ip = world_.at(pods[1]).v4}}});
}

Pair Node::through_service(Cpus cpus, Mode mode) const {
  struct Way {
    const char* variant;
    Pair pair;
    const char* service;
  };
  const auto of_mode = [&]() -> Way {
    switch (mode) {
      case Mode::kOff:
        return {"Service, off", enrolled_tcp(cpus), kTcpService};
      case Mode::kOn:
        return {"Service, on", short_circuit(cpus), kShopService};
      case Mode::kAuto:
        break;
    }
    return {"Service, auto", learned(cpus), kLearnedService};
  };
  Way way = of_mode();
  way.pair.variant = way.variant;
  way.pair.port = kServerPort;
  way.pair.service = way.service;
  return way.pair;
}

void Node::have_services(int count) {
  const int files = (count + kServicesOfFile - 1) / kServicesOfFile;
  const int before = (services_ + kServicesOfFile - 1) / kServicesOfFile;
  for (int i = before; i < files; ++i) put_services(world_.objects, i);
  for (int i = files; i < before; ++i) remove_services(world_.objects, i);
  services_ = count;
  constexpr std::size_t kOurs = 6;  // three Services with a TCP and a UDP port
  const std::size_t services = kOurs + static_cast<std::size_t>(files) * kServicesOfFile;
  const std::size_t slots = kOurs + static_cast<std::size_t>(files) * kServicesOfFile * kEndpointsOfService;
  const bool there = test::eventually(test::seconds(60), [&] {
    return world_.pinned.entries("up_services") == services && world_.pinned.entries("up_backends") == slots;
  });
  if (!there) throw std::runtime_error("Services do not come into the maps: " + world_.agent.log());
}

Pair Node::from_outside(Cpus cpus) const {
  Pair pair = learned(cpus);
  pair.variant = "from outside";
  pair.client = direct(cpus).client;
  return pair;
}

void Node::have_policies(int count) {
  const bool in_shop = !auto_problem_.empty();
  const std::string ns = in_shop ? "shop" : "learned";
  const std::string file = "policies.yaml";
  if (count == 0) {
    world_.objects.remove_text(file);
  } else {
    std::string text;
    for (int i = 0; i + 1 < count; ++i) text += "---\n" + policy_text(ns, i);
    world_.objects.put_text(file, text + "---\n" + last_policy_text(ns, ns, world_.at(kPlain[0]).v4));
  }
  const auto server = world_.net.cookie(in_shop ? kShop[1] : kLearned[1]);
  // The last is two clauses.
  const std::uint32_t clauses = count == 0 ? 0 : static_cast<std::uint32_t>(count) + 1;
  const bool there = test::eventually(test::seconds(30), [&] {
    const auto pod = world_.pinned.pod(server);
    return pod && world_.pinned.clauses_of(pod->policy) == clauses;
  });
  if (!there) throw std::runtime_error("policies do not come into the maps: " + world_.agent.log());
}

Place Node::unenrolled(int cpu) const {
  return {.netns = world_.at(kPlain[0]).netns, .cgroup = world_.sandbox.cgroup(), .cpu = cpu};
}

std::vector<Node::Way> Node::ways_of(const Pair& pair, std::uint16_t server_port) const {
  std::vector<Way> ways;
  for (const boost::json::value& row : world_.ctl.json({"connections"}).as_array()) {
    const boost::json::value& to = row.at("destination");
    if (test::text_of(to.at("ip")) != pair.host || to.at("port").to_number<std::uint16_t>() != server_port) continue;
    const auto bytes =
        row.at("bytesSent").to_number<std::uint64_t>() + row.at("bytesReceived").to_number<std::uint64_t>();
    ways.push_back({test::text_of(row.at("way")), test::text_of(row.at("fallbackReason")), bytes});
  }
  return ways;
}

double Node::agent_rss_mib() const {
  return number_after(test::read_file("/proc/" + std::to_string(world_.agent.pid()) + "/status"), "VmRSS:") / 1024;
}

double Node::maps_mib() const {
  double bytes = 0;
  for (const std::uint32_t id : world_.pinned.map_ids()) {
    const UniqueFd map(::bpf_map_get_fd_by_id(id));
    if (map) bytes += number_after(test::read_file("/proc/self/fdinfo/" + std::to_string(map.get())), "memlock:");
  }
  return bytes / (1 << 20);
}

}  // namespace underpass::bench
