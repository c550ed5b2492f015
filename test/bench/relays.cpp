// SPDX-License-Identifier: Apache-2.0
#include "test/bench/relays.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "test/bench/processes.h"
#include "test/support/files.h"
#include "test/support/sockets.h"

namespace underpass::bench {
namespace {

namespace fs = test::fs;

constexpr std::uint16_t kServerPort = 8080;
// Where these listen; a pair says so as of a Service, since the client dials something else than the server.
constexpr const char* kHaproxy = "127.0.0.1";
constexpr const char* kNghttpx = "127.0.0.2";

test::Settings captured(const std::string& mode) {
  return {.mesh = "enabled", .short_circuit = mode, .capture = "always"};
}

std::string rule_of(int i) {
  const std::string number = std::to_string(i);
  const std::string source = i % 4 == 3 ? R"("namespaces": ["team-)" + number + R"("])"
                                        : R"("principals": ["cluster.local/ns/)" + number + R"(/sa/client"])";
  const std::string path = i % 3 == 0   ? "/api/v1/items/" + number
                           : i % 3 == 1 ? "/api/v1/users/" + number + "/*"
                                        : "*/file-" + number + ".json";
  return R"({"from": [{"source": {)" + source +
         R"(}}], "to": [{"operation": {"methods": ["GET", "HEAD"], "paths": [")" + path + R"("]}}]})";
}

std::string rules_text(const std::string& ns, int rules) {
  std::string out =
      R"({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"namespace": ")" + ns +
      R"(", "name": "rules"}, "spec": {"action": "ALLOW", "rules": [)";
  for (int i = 0; i + 1 < rules; ++i) out += rule_of(i) + ", ";
  return out + R"({"from": [{"source": {"namespaces": [")" + ns +
         R"("]}}], "to": [{"operation": {"methods": ["GET"], "paths": ["/"]}}]}]}})" + "\n";
}

}  // namespace

Relays::Relays(int relay_cpu, int ends_cpu, Speak speak)
    : relay_cpu_(relay_cpu),
      ends_cpu_(ends_cpu),
      world_({.mesh = "enabled", .short_circuit = "off"}, test::usual_state(),
             {.watchpoints = "auto", .output = "/dev/null"}) {
  world_.objects.put_text("mesh.yaml",
                          "apiVersion: underpass.dev/v1alpha1\nkind: Mesh\nmetadata:\n  name: default\n"
                          "spec: {proxy: {threads: 1}}\n");
  world_.objects.put(test::NamespaceObject{"shop", captured("off")});
  world_.objects.put(test::NamespaceObject{"fast", captured("on")});
  world_.objects.put(test::NamespaceObject{"tcp", {.mesh = "enabled", .short_circuit = "off"}});
  world_.objects.put(test::NamespaceObject{"plain"});
  for (const char* pod : {"fast-client", "fast-server"}) world_.add_pod("fast", pod);
  for (const char* pod : {"tcp-client", "tcp-server"}) world_.add_pod("tcp", pod);
  for (const char* pod : {"plain-client", "plain-server"}) world_.add_pod("plain", pod);
  for (const char* pod : {"a", "b", "fast-client", "fast-server"}) wait_captured(pod);
  for (const char* pod : {"tcp-client", "tcp-server"}) world_.wait_enrolled("tcp", pod, "off");
  // Thousands of connections a second, all to one address and port, use up ports that wait.
  for (const char* pod :
       {"a", "b", "fast-client", "fast-server", "tcp-client", "tcp-server", "plain-client", "plain-server"}) {
    test::set_sysctl(world_.at(pod).netns, "net.ipv4.tcp_tw_reuse", "1");
    test::set_sysctl(world_.at(pod).netns, "net.ipv4.ip_local_port_range", "1024 65000");
  }
  for (const pid_t pid : ours()) pin(pid, relay_cpu_);
  for (const Pair& pair : {haproxy(), haproxy_in_mesh()}) start(pair, haproxy_command(pair, speak));
  if (speak == Speak::kTcp) return;
  start(nghttpx(),
        {"nghttpx", "--single-process", "--workers=1", "--no-ocsp", "--conf=/dev/null", "--errorlog-file=/dev/null",
         "--frontend=" + std::string(kNghttpx) + "," + std::to_string(Pair::kServicePort) + ";no-tls",
         "--backend=" + nghttpx().host + "," + std::to_string(kServerPort) + ";;proto=h2"});
}

void Relays::have_rules(const std::string& ns, int rules) {
  world_.objects.put(test::NamespaceObject{ns, captured("off")});
  for (const char* end : {"-client", "-server"}) world_.add_pod(ns, ns + end);
  world_.objects.put_text(ns + "-rules.yaml", rules_text(ns, rules));
  for (const char* end : {"-client", "-server"}) wait_captured(ns + end);
  for (const pid_t pid : ours()) pin(pid, relay_cpu_);
}

void Relays::wait_captured(const std::string& pod) const {
  const bool is =
      test::eventually(test::seconds(10), [&] { return world_.pinned.worker(world_.net.cookie(pod)).has_value(); });
  if (!is) throw std::runtime_error("pod " + pod + " is in no worker's hands: " + world_.agent.log());
}

// The agent, the process that makes sockets for it, and the workers.
std::vector<pid_t> Relays::ours() const {
  std::vector<pid_t> out = processes_in(world_.sandbox.cgroup() / "underpass");
  if (std::ranges::find(out, world_.agent.pid()) == out.end()) out.push_back(world_.agent.pid());
  return out;
}

std::vector<std::string> Relays::haproxy_command(const Pair& pair, Speak speak) const {
  fs::create_directories(folder());
  const fs::path config = folder() / (pair.variant + ".cfg");
  std::ofstream out(config);
  out << "global\n  nbthread 1\n  maxconn 4096\n  tune.bufsize 65536\n"  // as large as the worker's
      << "defaults\n  mode " << (speak == Speak::kTcp ? "tcp" : "http\n  http-reuse always")
      << "\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n"
      << "frontend relay\n  bind " << pair.address(0).to_string() << "\n  default_backend pod\n"
      << "backend pod\n  server pod " << test::Address::of(pair.host, kServerPort).to_string() << "\n";
  if (!out.flush()) throw std::runtime_error("cannot write " + config.string());
  return {"haproxy", "-db", "-f", config.string()};
}

void Relays::start(const Pair& pair, std::vector<std::string> argv) {
  argv.insert(argv.begin(), {"taskset", "-c", std::to_string(relay_cpu_)});
  const auto& process =
      others_
          .emplace(pair.variant,
                   test::Process({.argv = std::move(argv), .netns = pair.client.netns, .cgroup = pair.client.cgroup}))
          .first->second;
  const bool up = test::eventually(test::seconds(10), [&] {
    try {
      test::connect_from({.netns = pair.client.netns}, pair.address(0));
      return true;
    } catch (const std::exception&) {
      return false;
    }
  });
  if (!up) throw std::runtime_error(pair.variant + " does not answer: " + process.err());
}

Pair Relays::between(const std::string& variant, const std::string& client, const std::string& server,
                     const std::string& cgroup) const {
  return {.variant = variant,
          .client = {.netns = world_.at(client).netns, .cgroup = cgroup, .cpu = ends_cpu_},
          .server = {.netns = world_.at(server).netns, .cgroup = cgroup, .cpu = ends_cpu_},
          .host = world_.at(server).v4,
          .port = kServerPort};
}

Pair Relays::direct() const { return between("direct", "plain-client", "plain-server", plain_cgroup_.path()); }
Pair Relays::worker() const { return between("worker", "a", "b", world_.sandbox.cgroup()); }
Pair Relays::short_circuit() const {
  return between("worker, on", "fast-client", "fast-server", world_.sandbox.cgroup());
}
Pair Relays::haproxy() const {
  Pair pair = direct();
  pair.variant = "haproxy";
  pair.service = kHaproxy;
  return pair;
}

Pair Relays::nghttpx() const {
  Pair pair = direct();
  pair.variant = "nghttpx";
  pair.service = kNghttpx;
  return pair;
}

Pair Relays::of_namespace(const std::string& variant, const std::string& ns) const {
  return between(variant, ns + "-client", ns + "-server", world_.sandbox.cgroup());
}

Pair Relays::haproxy_in_mesh() const {
  Pair pair = between("haproxy in mesh", "tcp-client", "tcp-server", world_.sandbox.cgroup());
  pair.service = kHaproxy;
  return pair;
}

double Relays::cpu_seconds(const Pair& pair) const {
  if (pair.variant == "direct") return 0;
  if (const auto it = others_.find(pair.variant); it != others_.end()) return cpu_seconds_of(it->second.pid());
  double sum = 0;
  for (const pid_t pid : ours()) sum += cpu_seconds_of(pid);
  return sum;
}

void Relays::check_way(const Pair& pair, const up_stats& before) const {
  const up_stats after = stats();
  const auto went = [&](up_way way) { return after.connections[way] - before.connections[way]; };
  const bool in_mesh = pair.variant == "haproxy in mesh",
             proxied = !in_mesh && pair.variant != "direct" && !others_.contains(pair.variant);
  if ((went(UP_WAY_PROXIED) > 0) != proxied || (went(UP_WAY_DIRECT) > 0) != in_mesh)
    throw std::runtime_error("variant " + pair.variant + ": " + std::to_string(went(UP_WAY_PROXIED)) + " proxied, " +
                             std::to_string(went(UP_WAY_DIRECT)) + " direct");
}

double Relays::worker_rss_kib() const {
  const auto pids = processes_in(world_.sandbox.cgroup() / "underpass" / "worker-shop");
  if (pids.size() != 1) throw std::runtime_error("there is no one worker: " + world_.agent.log());
  const std::string text = test::read_file("/proc/" + std::to_string(pids.front()) + "/status");
  return std::stod(text.substr(text.find("VmRSS:") + 6));
}

std::string Relays::cpus_text() const {
  return "relay CPU " + std::to_string(relay_cpu_) + " (with the agent), client and server CPU " +
         std::to_string(ends_cpu_);
}

}  // namespace underpass::bench
