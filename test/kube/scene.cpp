// SPDX-License-Identifier: Apache-2.0
#include "test/kube/scene.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <stdexcept>
#include <utility>

#include "test/support/sockets.h"
#include "test/support/traces.h"
#include "test/support/world.h"

namespace underpass::test {
namespace {

namespace json = boost::json;

const fs::path kManifests = fs::path(UNDERPASS_MANIFESTS) / "base";
const fs::path kDefinitions = fs::path(UNDERPASS_KUBE_TESTS) / "crds";
constexpr const char* kAgentUid = "11111111-2222-3333-4444-555555555555";
constexpr auto kPatience = seconds(20);

void move_out(pid_t process) { write_existing(cgroup2_mount() / "cgroup.procs", std::to_string(process)); }

std::string next_name() {
  static int n = 0;
  return "node-" + std::to_string(n++);
}

std::string policy_path(const std::string& ns, const std::string& name) {
  return "/apis/security.istio.io/v1/namespaces/" + ns + "/authorizationpolicies/" + name;
}

Agent::Options agent_options(MeshCluster& cluster, const KubeNode::Options& options, const std::string& node,
                             const Sandbox& sandbox) {
  // The Node and the agent's Pod on it, to which its token is bound: so the API server knows whose node it speaks for.
  const PodObject pod{
      .ns = kAgentNamespace, .name = "agent-" + node, .node = node, .service_account = kAgentName, .ready = true};
  cluster.kube.load({to_yaml(NodeObject{node, {"192.0.2.1"}}), to_yaml(pod)});
  const fs::path kubeconfig = options.kubeconfig.empty()
                                  ? cluster.kube.kubeconfig_of(kAgentNamespace, kAgentName, {.pod = pod.name})
                                  : options.kubeconfig;
  Agent::Options out{.node = node,
                     .source = "kubernetes",
                     .more = {"--kubeconfig", kubeconfig, "--cni", options.cni ? "on" : "off", "--cni-bin-dir",
                              sandbox.root() / "bin", "--cni-conf-dir", sandbox.root() / "net.d", "--daemon-set",
                              std::string(kAgentNamespace) + "/" + kAgentName}};
  out.more.insert(out.more.end(), options.more.begin(), options.more.end());
  return out;
}

}  // namespace

MeshCluster::MeshCluster(Istio istio, KubeCluster::Options options) : kube(std::move(options)) {
  apply_manifests();
  if (istio == Istio::kInstalled) kube.apply_path(kDefinitions);
  kube.kubectl({"wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"});
  kube.load({"apiVersion: v1\nkind: ServiceAccount\nmetadata: {namespace: kube-system, name: tester}\n"});
  kube.kubectl(
      {"create", "clusterrolebinding", "tester", "--clusterrole=cluster-admin", "--serviceaccount=kube-system:tester"});
  token_ = kube.token_of("kube-system", "tester");
}

MeshCluster& MeshCluster::shared() {
  static MeshCluster cluster;
  return cluster;
}

MeshCluster& MeshCluster::battered() {
  static MeshCluster cluster;
  cluster.apply_manifests();
  return cluster;
}

fs::path MeshCluster::manifests() { return kManifests; }

void MeshCluster::remove_manifests() const {
  kube.kubectl({"delete", "-k", manifests(), "--ignore-not-found", "--wait=false"}, "", seconds(90));
  const std::string ns = kAgentNamespace;
  const bool removed = eventually(seconds(30), [&] {
    return kube.kubectl({"get", "daemonset", "-n", ns, "--ignore-not-found", "-o", "name"}).empty();
  });
  if (!removed) throw std::runtime_error("the DaemonSet stays");
  // As kubelets do, without whom a Namespace waits for its Pods.
  kube.kubectl({"delete", "pods", "--all", "-n", ns, "--force", "--grace-period=0"});
  kube.kubectl({"wait", "--for=delete", "namespace/" + ns, "--timeout=60s"}, "", seconds(90));
}

void MeshCluster::start_apiserver() {
  kube.start_apiserver();
  move_out(kube.apiserver_pid());
}

void MeshCluster::start_etcd() {
  kube.start_etcd();
  move_out(kube.etcd_pid());
}

void MeshCluster::restart_apiserver() {
  kube.kill_apiserver();
  start_apiserver();
}

std::string MeshCluster::ask(const std::vector<std::string>& options, const std::string& path) const {
  std::vector<std::string> argv{
      "curl",    "--silent",   "--show-error", "--fail-with-body", "--cacert",
      kube.ca(), "--max-time", "20",           "--header",         "Authorization: Bearer " + token_};
  argv.insert(argv.end(), options.begin(), options.end());
  argv.push_back(kube.server() + path);
  return run_ok({.argv = std::move(argv)});
}

json::value MeshCluster::get(const std::string& path) const { return json::parse(ask({}, path)); }

void MeshCluster::merge(const std::string& path, const std::string& patch) const {
  ask({"--request", "PATCH", "--header", "Content-Type: application/merge-patch+json", "--data", patch}, path);
}

void MeshCluster::apply_istio(const std::string& kind) const {
  kube.apply_path(kDefinitions / (kind + ".yaml"));
  kube.kubectl({"wait", "--for=condition=Established", "--timeout=30s", "crd/" + kind + ".security.istio.io"});
}

void MeshCluster::put(const Settings& settings, const std::string& ns) const {
  kube.load({to_yaml(NamespaceObject{ns, settings})});
}

void MeshCluster::put_policy(const std::string& ns, const std::string& name, const std::string& spec) const {
  const std::string object =
      R"({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"namespace": ")" + ns +
      R"(", "name": ")" + name + R"("}, "spec": )" + spec + "}";
  ask({"--request", "PATCH", "--header", "Content-Type: application/apply-patch+yaml", "--data", object},
      policy_path(ns, name) + "?fieldManager=test&force=true");
}

void MeshCluster::remove_policy(const std::string& ns, const std::string& name) const {
  ask({"--request", "DELETE"}, policy_path(ns, name));
}

std::vector<std::string> MeshCluster::events_about(const std::string& kind, const std::string& ns,
                                                   const std::string& name) const {
  std::vector<std::string> out;
  const json::value events = json::parse(kube.kubectl({"get", "events.events.k8s.io", "-n", ns, "-o", "json"}));
  for (const json::value& event : events.at("items").as_array()) {
    const json::object& subject = event.at("regarding").as_object();
    if (subject.at("kind") == json::value(kind) && subject.at("name") == json::value(name))
      out.push_back(text_of(event.at("reason")) + ": " + text_of(event.at("note")));
  }
  return out;
}

KubeNode::KubeNode(MeshCluster& the_cluster, Options options)
    : cluster(the_cluster),
      net(PodNet::Bridge::kOwnNamespace, options.net),
      name_(next_name()),
      options_(std::move(options)),
      agent_pod_(sandbox, kAgentUid, "", options_.layout),
      agent(sandbox, agent_options(cluster, options_, name_, sandbox)) {
  fs::create_directories(cni_conf());
  fs::create_directories(cni_bin());
}

KubeNode::~KubeNode() {
  std::vector<std::string> documents{to_yaml(NodeObject{name_, {}}),
                                     to_yaml(PodObject{.ns = kAgentNamespace, .name = "agent-" + name_})};
  for (const auto& [name, pod] : pods_) documents.push_back(to_yaml(pod.object));
  try {
    cluster.kube.remove(documents);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "objects of %s are left: %s\n", name_.c_str(), e.what());
  }
}

void KubeNode::launch() {
  const InsidePod inside(sandbox, agent_pod_, agent_pod_.next_scope());
  agent.launch();
}

Agent::Options KubeNode::other_agent(const std::string& instance, const std::string& program,
                                     const fs::path& kubeconfig) const {
  auto options = options_;
  options.more = {"--instance", instance};
  options.kubeconfig = kubeconfig;
  auto out = agent_options(cluster, options, name_, sandbox);
  out.program = program;
  // Workers are of their agent's version.
  if (program == "other_version_agent")
    out.more.insert(out.more.end(), {"--proxy", built_program("other_version_worker")});
  return out;
}

void KubeNode::launch_other(Agent& other) {
  const InsidePod inside(sandbox, agent_pod_, agent_pod_.next_scope());
  other.launch();
}

void KubeNode::start(const std::string& state) {
  launch();
  if (!eventually(seconds(30), [&] { return !agent.running() || ctl.state() == state; }) || !agent.running())
    throw std::runtime_error("underpassd did not become " + state + ": " + describe());
}

PodObject KubeNode::pod(const std::string& ns, const std::string& name) const {
  return {.ns = ns, .name = name, .node = name_, .labels = {{"app", name}}, .ready = true};
}

std::string KubeNode::put(const PodObject& object) {
  Pod& pod = pods_[object.name];
  pod.object = object;
  pod.uid = cluster.kube.load({to_yaml(object)}).front().uid;
  return pod.uid;
}

const Place& KubeNode::run(PodObject object) {
  const Place& place = net.add(object.name);
  if (object.ips.empty()) object.ips = {place.v4, place.v6};
  put(object);
  start_sandbox(object.name, place.netns);
  return place;
}

void KubeNode::start_sandbox(const std::string& name, const std::string& netns) {
  Pod& pod = pods_.at(name);
  pod.sandbox.reset();
  pod.sandbox = std::make_unique<KubeletPod>(sandbox, pod.uid, netns, options_.layout);
  pod.sandbox->add_container();
}

const Place& KubeNode::new_place(const std::string& place, const std::optional<Place>& address) {
  const Place& made = net.add(place);
  if (address) {
    run_ok({.argv = {"ip", "-batch", "-"},
            .netns = made.netns,
            .input = "addr flush dev eth0 scope global\naddr add " + address->v4 + "/16 dev eth0\naddr add " +
                     address->v6 + "/64 dev eth0 nodad\n"});
  }
  return made;
}

const Place& KubeNode::recreate(const std::string& name, const std::string& place,
                                const std::optional<Place>& address) {
  const Place& made = new_place(place, address);
  pods_.at(name).sandbox->recreate(made.netns);
  places_[place] = name;
  return made;
}

void KubeNode::stop_sandboxes() {
  for (auto& [name, pod] : pods_) pod.sandbox.reset();
}

void KubeNode::end(const std::string& name) {
  cluster.kube.remove({to_yaml(pods_.at(name).object)});
  pods_.erase(name);
}

Place KubeNode::inside(const std::string& name) const {
  Place out = at(name);
  if (const Pod* pod = pod_at(name)) out.cgroup = pod->sandbox->cgroups().front();
  return out;
}

bool KubeNode::has_row(NetnsCookie cookie) const {
  return fs::exists(sandbox.pins() / "up_pods") && pinned.pod(cookie).has_value();
}

bool KubeNode::enrolled(const std::string& place) const { return has_row(net.cookie(place)); }

void KubeNode::wait_enrolled(const std::string& place) const {
  if (!eventually(kPatience, [&] { return enrolled(place); }))
    throw std::runtime_error(place + " is not enrolled: " + describe());
}

void KubeNode::wait_left(const std::string& place) const {
  if (!eventually(kPatience, [&] { return !enrolled(place); }))
    throw std::runtime_error(place + " is still enrolled: " + describe());
}

void KubeNode::wait_refused(const std::string& pod, const std::string& text) const {
  const bool refused = eventually(kPatience, [&] {
    const auto row = ctl.pod(pod);
    return row && !row->enrolled && row->reason.contains(text);
  });
  if (!refused) throw std::runtime_error(pod + " is not refused for \"" + text + "\": " + describe());
}

json::value KubeNode::kind(const std::string& kind) const {
  const json::value status = ctl.json({"status"});
  for (const json::value& one : status.at("source").at("kinds").as_array())
    if (one.at("kind") == json::value(kind)) return one;
  return {};
}

std::string KubeNode::readiness() const {
  const std::string at = text_of(ctl.json({"status"}).at("listen").at("ready"));
  return test::run({.argv = {"curl", "--silent", "--max-time", "5", "--write-out", " %{http_code}",
                             "http://" + at + "/healthz/ready"}})
      .out;
}

std::string KubeNode::describe() const {
  return ctl.run({"status"}).out + ctl.run({"pods"}).out + ctl.run({"policies"}).out + agent.log();
}

const KubeNode::Pod* KubeNode::pod_at(const std::string& place) const {
  const auto later = places_.find(place);
  const auto found = pods_.find(later == places_.end() ? place : later->second);
  return found == pods_.end() || !found->second.sandbox ? nullptr : &found->second;
}

std::string KubeNode::way(const std::string& from, const std::string& to, int family) const {
  std::optional<InsidePod> inside;
  if (const Pod* pod = pod_at(from)) inside.emplace(sandbox, *pod->sandbox, "");
  const UniqueFd listener = listen_at(at(to), family);
  UniqueFd client;
  try {
    client = connect_from(at(from), local_address(listener.get()));
  } catch (const std::runtime_error& error) {
    if (std::string(error.what()).contains("Connection refused")) return "refused";
    throw;
  }
  const UniqueFd server = accept_from(listener.get());
  exchange(client.get(), server.get());
  const std::optional<ConnectionRow> row = ctl.connection(client.get());
  return row ? row->way : "unknown";
}

std::string KubeNode::dial(const std::string& from, const Address& to) const {
  std::optional<InsidePod> inside;
  if (const Pod* pod = pod_at(from)) inside.emplace(sandbox, *pod->sandbox, "");
  try {
    (void)connect_from(at(from), to);
    return "";
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

}  // namespace underpass::test
