// SPDX-License-Identifier: Apache-2.0
#include "test/bench/sidecars.h"

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <stdexcept>

#include "test/bench/processes.h"
#include "test/support/files.h"
#include "test/support/sockets.h"

namespace underpass::bench {
namespace {

namespace fs = test::fs;

constexpr std::uint16_t kServerPort = 8080, kTlsPort = 15443;
constexpr const char* kHaproxies = "haproxies";
constexpr const char* kWorkers = "workers";

void write_file(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream out(path);
  if (!(out << text).flush()) throw std::runtime_error("cannot write " + path.string());
}

std::string config_of(Sidecars::Speak speak, const std::string& bind, const std::string& server) {
  return "global\n  nbthread 1\n  maxconn 4096\n  tune.bufsize 65536\n"  // as large as the worker's
         "defaults\n  mode " +
         std::string(speak == Sidecars::Speak::kTcp ? "tcp" : "http\n  http-reuse always") +
         "\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n"
         "frontend relay\n  bind " +
         bind + "\n  default_backend next\nbackend next\n  server next " + server + "\n";
}

}  // namespace

Sidecars::Sidecars(int relay_cpu, int ends_cpu, Speak speak)
    : relay_cpu_(relay_cpu),
      ends_cpu_(ends_cpu),
      nodes_({.watchpoints = "auto", .output = "/dev/null", .mesh_spec = "{proxy: {threads: 1}}"}) {
  nodes_.objects.put(test::NamespaceObject{"open", {.mesh = "enabled", .short_circuit = "off", .capture = "always"}});
  nodes_.objects.put_text("open-authentication.yaml",
                          R"({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": )"
                          R"({"namespace": "open", "name": "all"}, "spec": {"mtls": {"mode": "DISABLE"}}})"
                          "\n");
  nodes_.add(nodes_.one, "open", "open-client");
  nodes_.add(nodes_.two, "open", "open-server");
  for (auto& [node, pod] : {std::pair{&nodes_.one, "open-client"}, {&nodes_.two, "open-server"}}) {
    const auto cookie = node->net.cookie(pod);
    if (!test::eventually(test::seconds(20), [&] { return node->pinned.worker(cookie).has_value(); }))
      throw std::runtime_error(std::string(pod) + " is in no worker's hands\n" + nodes_.logs());
  }
  // Thousands of connections a second, all to one address and port, use up ports that wait.
  for (const char* pod : {"client", "server", "open-client", "open-server", "out", "far"}) {
    test::set_sysctl(nodes_.at(pod).netns, "net.ipv4.tcp_tw_reuse", "1");
    test::set_sysctl(nodes_.at(pod).netns, "net.ipv4.ip_local_port_range", "1024 65000");
  }
  for (const pid_t pid : ours()) pin(pid, relay_cpu_);
  start_haproxies(speak);
  for (const Pair& pair : {direct(), workers(), plain_workers()}) check_way(pair);
}

void Sidecars::start_haproxies(Speak speak) {
  write_file(folder() / "root.pem", nodes_.ca.root());
  const auto show = [&](const std::string& account) {
    const test::Svid svid = nodes_.ca.svid("elsewhere", account);
    const fs::path path = folder() / (account + ".pem");
    write_file(path, svid.chain + svid.key);
    return "crt " + path.string() + " ca-file " + (folder() / "root.pem").string() +
           " verify required ssl-min-ver TLSv1.3";
  };
  const Pair pair = haproxies();
  const std::string meeting = test::Address::of(pair.host, kTlsPort).to_string();
  const std::string tls = speak == Speak::kHttp ? " alpn http/1.1" : "";
  haproxies_.push_back(start_haproxy(
      "far", pair.server,
      config_of(speak, meeting + " ssl " + show("far") + tls, test::Address::of(pair.host, kServerPort).to_string())));
  haproxies_.push_back(start_haproxy(
      "out", pair.client, config_of(speak, pair.address(0).to_string(), meeting + " ssl " + show("out") + tls)));
  const bool up = test::eventually(test::seconds(10), [&] {
    try {
      test::connect_from({.netns = pair.client.netns}, pair.address(0));
      test::connect_from({.netns = pair.client.netns}, test::Address::of(pair.host, kTlsPort));
      return true;
    } catch (const std::exception&) {
      return false;
    }
  });
  if (!up) throw std::runtime_error("a haproxy does not answer: " + haproxies_[0].err() + haproxies_[1].err());
}

test::Process Sidecars::start_haproxy(const std::string& name, const Place& place, const std::string& config) const {
  const fs::path path = folder() / (name + ".cfg");
  write_file(path, config);
  return test::Process({.argv = {"taskset", "-c", std::to_string(relay_cpu_), "haproxy", "-db", "-f", path.string()},
                        .netns = place.netns,
                        .cgroup = place.cgroup});
}

// The agents, the processes that make sockets for them, and the workers.
std::vector<pid_t> Sidecars::ours() const {
  std::vector<pid_t> out;
  for (const auto* node : {&nodes_.one, &nodes_.two}) {
    const auto below = processes_in(node->sandbox.cgroup() / "underpass");
    out.insert(out.end(), below.begin(), below.end());
    out.push_back(node->agent.pid());
  }
  std::ranges::sort(out);
  out.erase(std::ranges::unique(out).begin(), out.end());
  return out;
}

Pair Sidecars::between(const std::string& variant, const std::string& client, const std::string& server) const {
  const auto place = [&](const std::string& pod) -> Place {
    return {.netns = nodes_.at(pod).netns, .cgroup = nodes_.at(pod).cgroup, .cpu = ends_cpu_};
  };
  return {.variant = variant,
          .client = place(client),
          .server = place(server),
          .host = nodes_.at(server).v4,
          .port = kServerPort};
}

Pair Sidecars::direct() const {
  Pair pair = between("direct", "out", "far");
  pair.client.cgroup = pair.server.cgroup = plain_cgroup_.path();
  return pair;
}

// The client dials something else than the server, so it is as of a Service.
Pair Sidecars::haproxies() const {
  Pair pair = direct();
  pair.variant = kHaproxies;
  pair.service = "127.0.0.1";
  return pair;
}

Pair Sidecars::workers() const { return between(kWorkers, "client", "server"); }
Pair Sidecars::plain_workers() const { return between("plain workers", "open-client", "open-server"); }

double Sidecars::cpu_seconds(const Pair& pair) const {
  double sum = 0;
  if (pair.variant == kHaproxies)
    for (const test::Process& one : haproxies_) sum += cpu_seconds_of(one.pid());
  else if (pair.variant != "direct")
    for (const pid_t pid : ours()) sum += cpu_seconds_of(pid);
  return sum;
}

void Sidecars::check_way(const Pair& pair) const {
  const test::Place client{.netns = pair.client.netns, .cgroup = pair.client.cgroup};
  const test::Place server{.netns = pair.server.netns, .v4 = pair.host, .cgroup = pair.server.cgroup};
  const test::Pair ends = [&] {
    const UniqueFd listener = test::listen_at(server, AF_INET);
    test::Pair out{.client = test::connect_from(client, test::local_address(listener.get())), .server = {}};
    test::send_all(out.client.get(), "x");
    out.server = test::accept_from(listener.get());
    return out;
  }();
  if (test::receive_exactly(ends.server.get(), 1) != "x") throw std::runtime_error("another byte arrived");
  const std::string wanted = pair.variant == kWorkers   ? "proxied by hbone"
                             : pair.variant == "direct" ? ""
                                                        : "proxied by none";
  const int port = test::local_address(ends.client.get()).port();
  for (const auto* node : {&nodes_.one, &nodes_.two}) {
    std::string way;
    const bool is = test::eventually(test::seconds(10), [&] {
      way.clear();
      for (const auto& row : node->ctl.json({"connections"}).as_array())
        if (test::text_of(row.at("destination").at("ip")) == pair.host &&
            (node == &nodes_.two || row.at("source").at("port").to_number<int>() == port))
          way = test::text_of(row.at("way")) + " by " + test::text_of(row.at("tunnel"));
      return way == wanted;
    });
    if (!is) throw std::runtime_error("variant " + pair.variant + " goes, at " + node->name + ": \"" + way + "\"");
  }
}

std::string Sidecars::cpus_text() const {
  return "both relays on CPU " + std::to_string(relay_cpu_) + " (with the agents), client and server on CPU " +
         std::to_string(ends_cpu_);
}

}  // namespace underpass::bench
