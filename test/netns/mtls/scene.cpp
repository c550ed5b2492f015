// SPDX-License-Identifier: Apache-2.0
#include "test/netns/mtls/scene.h"

#include <boost/json.hpp>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "test/support/files.h"

namespace underpass::test {
namespace {

namespace json = boost::json;

constexpr seconds kSoon{20};
constexpr const char* kThirdNode = "node-c";

Agent::Options options_of(const std::string& name, const fs::path& objects, const fs::path& ca_dir,
                          const TwoNodes::Options& given) {
  Agent::Options out{.node = name,
                     .source = "dir:" + objects.string(),
                     .watchpoints = given.watchpoints,
                     .more = {"--ca-dir", ca_dir.string()},
                     .output = given.output};
  out.more.insert(out.more.end(), given.more.begin(), given.more.end());
  return out;
}

// The test is in the second's: an agent in there would outlive it.
Agent::Options started_in(Agent::Options options, const Sandbox& sandbox) {
  options.cgroup = sandbox.cgroup();
  return options;
}

fs::path made(const fs::path& folder) {
  fs::create_directories(folder);
  return folder;
}

std::string selector_of(const std::string& pod) {
  return pod.empty() ? "" : R"("selector": {"matchLabels": {"app": ")" + pod + R"("}}, )";
}

std::string object_of(const std::string& kind, const std::string& name, const std::string& spec) {
  return R"({"apiVersion": "security.istio.io/v1", "kind": ")" + kind +
         R"(", "metadata": {"namespace": "shop", "name": ")" + name + R"("}, "spec": {)" + spec + "}}\n";
}

// Once its port 8080 can be dialled.
Process started(const Place& place, std::vector<std::string> argv) {
  const std::string name = argv.front();
  Process process({.argv = std::move(argv), .netns = place.netns, .cgroup = place.cgroup});
  const bool is_up = eventually(kSoon, [&] {
    try {
      connect_from({.netns = place.netns}, Address::of(place.v4, kWebPort));
      return true;
    } catch (const std::exception&) {
      return false;
    }
  });
  if (!is_up) throw std::runtime_error(name + " does not answer: " + process.out() + process.err());
  return process;
}

}  // namespace

TwoNodes::Node::Node(int number, const Agent::Options& options)
    : name(options.node), net(PodNet::Bridge::kOwnNamespace, number), agent(sandbox, started_in(options, sandbox)) {}

TwoNodes::TwoNodes(const Options& options)
    : objects(made(shared_ / "objects")),
      one(77, options_of("node-a", shared_ / "objects", ca_dir, options)),
      two(78, options_of("node-b", shared_ / "objects", ca_dir, options)),
      wire(one.net.join_with(two.net)) {
  if (!options.own_ca) ca.write_cacerts(ca_dir);
  if (!options.mesh_spec.empty())
    objects.put_text("mesh.yaml", "apiVersion: underpass.dev/v1alpha1\nkind: Mesh\nmetadata:\n  name: default\nspec: " +
                                      options.mesh_spec + "\n");
  objects.put(NamespaceObject{"shop", {.mesh = "enabled", .short_circuit = "off"}});
  objects.put(NamespaceObject{"bank", {.mesh = "enabled", .short_circuit = "off"}});
  objects.put(NamespaceObject{"elsewhere"});
  add(one, "shop", "client");
  add(two, "shop", "server");
  add(one, "elsewhere", "out");
  add(two, "elsewhere", "far");
  one.agent.start();
  two.agent.start();
  wait_tunnels(one, "client");
  wait_tunnels(two, "server");
  wait_remote(one, "server");
  wait_remote(two, "client");
}

const Place& TwoNodes::add(Node& node, const std::string& ns, const std::string& name, const PodOptions& options) {
  Place place = node.net.add(name);
  place.cgroup = node.sandbox.cgroup();
  const Place& kept = places_.emplace(name, place).first->second;
  put_pod(node, ns, name, options);
  return kept;
}

void TwoNodes::put_pod(const Node& node, const std::string& ns, const std::string& name,
                       const PodOptions& options) const {
  const Place& place = at(name);
  objects.put(PodObject{.ns = ns,
                        .name = name,
                        .node = node.name,
                        .netns = place.netns,
                        .ips = {place.v4, place.v6},
                        .service_account = options.account.empty() ? name : options.account,
                        .settings = options.settings,
                        .labels = {{"app", name}},
                        .annotations = options.annotations});
}

const Place& TwoNodes::add_foreign(const std::string& ns, const std::string& name) {
  const Place& place = places_.emplace(name, one.net.add(name)).first->second;
  objects.put(PodObject{.ns = ns,
                        .name = name,
                        .node = kThirdNode,
                        .ips = {place.v4, place.v6},
                        .service_account = name,
                        .labels = {{"app", name}}});
  return place;
}

void TwoNodes::wait_tunnels(const Node& node, const std::string& pod) const {
  const auto cookie = node.net.cookie(pod);
  const bool is = eventually(kSoon, [&] {
    const auto row = node.pinned.pod(cookie);
    return row && (row->capture & UP_CAPTURE_TUNNEL) != 0 && node.pinned.worker(cookie);
  });
  if (!is) throw std::runtime_error("pod " + pod + " of " + node.name + " has no tunnels\n" + node.agent.log());
}

bool TwoNodes::is_remote(const Node& node, const std::string& pod) const {
  const json::value dump = node.ctl.json({"map", "dump", "up_remotes"});
  return json::serialize(dump).contains("\"" + pod + "\"");
}

void TwoNodes::wait_remote(const Node& node, const std::string& pod, bool is) const {
  if (!eventually(kSoon, [&] { return is_remote(node, pod) == is; }))
    throw std::runtime_error(node.name + ": a tunnel to " + pod + (is ? " is not known\n" : " is still known\n") +
                             node.agent.log());
}

void TwoNodes::put_authentication(const std::string& pod, const std::string& spec) const {
  objects.put_text("authentication" + pod + ".yaml",
                   object_of("PeerAuthentication", pod.empty() ? "all" : pod, selector_of(pod) + spec));
}

void TwoNodes::put_policy(const std::string& name, const std::string& pod, const std::string& spec) const {
  objects.put_text("policy-" + name + ".yaml", object_of("AuthorizationPolicy", name, selector_of(pod) + spec));
}

std::vector<json::value> TwoNodes::lines(const Node& node, const std::string& destination) {
  std::vector<json::value> out;
  std::istringstream text(node.agent.log());
  for (std::string line; std::getline(text, line);) {
    if (!line.starts_with('{')) continue;
    json::value value = json::parse(line);
    if (text_of(value.at("destination").at("pod")) == destination) out.push_back(std::move(value));
  }
  return out;
}

std::vector<pid_t> TwoNodes::workers(const Node& node, const std::string& ns) const {
  std::vector<pid_t> out;
  std::ifstream lines(node.sandbox.cgroup() / "underpass" / ("worker-" + ns) / "cgroup.procs");  // which may go
  for (pid_t pid = 0; lines >> pid;) out.push_back(pid);
  return out;
}

std::string TwoNodes::metrics(const Node& node) const {
  const auto listen = node.ctl.json({"status"}).at("listen").at("metrics");
  return run_ok({.argv = {"curl", "-sf", "http://" + std::string(listen.as_string()) + "/metrics"}});
}

std::string TwoNodes::logs() const { return one.agent.log() + "\n--- the other node ---\n" + two.agent.log(); }

std::string run_at(const Place& place, std::vector<std::string> argv, milliseconds deadline) {
  return run_ok({.argv = std::move(argv), .netns = place.netns, .cgroup = place.cgroup}, deadline);
}

std::string curl_at(const Place& place, const std::string& url, const std::vector<std::string>& more) {
  std::vector<std::string> argv{"curl", "-s", "--globoff", "--path-as-is", "--max-time", "10", "-w", "(%{http_code})"};
  argv.insert(argv.end(), more.begin(), more.end());
  argv.push_back(url);
  return run({.argv = std::move(argv), .netns = place.netns, .cgroup = place.cgroup}).out;
}

std::string url_of(const Place& server, int family, std::uint16_t port, const std::string& path) {
  return "http://" + Address::of(server.ip(family), port).to_string() + path;
}

Process start_web(const Place& place, const fs::path& folder) {
  fs::create_directories(folder);
  std::ofstream(folder / "nginx.conf")
      << "daemon off; master_process off; user root; error_log stderr; pid nginx.pid;\n"
         "events { worker_connections 2048; }\n"
         "http { access_log off; keepalive_requests 1000000; default_type text/plain;\n"
         " client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t; scgi_temp_path t;\n"
         " server { listen "
      << place.v4 << ":" << kWebPort << " backlog=2048; listen [" << place.v6 << "]:" << kWebPort
      << " backlog=2048;\n  location / { return 200 '" << kWebSays << "'; } } }\n";
  return started(place, {"nginx", "-p", folder.string() + "/", "-c", "nginx.conf", "-e", "stderr"});
}

Process start_gateway(const Place& place, const Place& server, const fs::path& folder) {
  fs::create_directories(folder);
  std::ofstream(folder / "haproxy.cfg")
      << "global\n  nbthread 1\ndefaults\n  mode http\n  retries 0\n  timeout connect 5s\n  timeout client 30s\n"
         "  timeout server 30s\nfrontend door\n  bind "
      << place.v4 << ":" << kWebPort << "\n  default_backend pod\nbackend pod\n  server pod " << server.v4 << ":"
      << kWebPort << "\n";
  return started(place, {"haproxy", "-db", "-f", folder / "haproxy.cfg"});
}

std::string dial_and_talk(const Place& client, const Place& server, int family, const std::string& words) {
  try {
    const UniqueFd listener = listen_at(server, family);
    const UniqueFd dialled = connect_from(client, local_address(listener.get()));
    send_all(dialled.get(), words);
    const UniqueFd accepted = accept_from(listener.get(), seconds(5));
    if (receive_exactly(accepted.get(), words.size()) != words) return "other words arrived";
    send_all(accepted.get(), words);
    return receive_exactly(dialled.get(), words.size()) == words ? "" : "other words came back";
  } catch (const std::exception& error) {
    return error.what();
  }
}

bool eventually_ends(const std::function<std::string()>& how, const std::string& wanted, milliseconds deadline) {
  return eventually(deadline, [&] { return wanted.empty() ? how().empty() : how().contains(wanted); });
}

}  // namespace underpass::test
