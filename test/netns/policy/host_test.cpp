// SPDX-License-Identifier: Apache-2.0
// The node's own processes, pods that use the node's network, and pods that nobody has told the agent about. The
// bridge's network namespace stands for the node's; a cgroup of the sandbox for that of all pods.
#include <doctest/doctest.h>

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "test/netns/policy/scene.h"

namespace underpass::test {
namespace {

namespace fs = std::filesystem;

const std::string kNodeV4 = "10.77.255.1";
const std::string kNodeV6 = "fd00:77::ffff";
const std::string kStrict =
    R"({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"namespace": "shop", "name": "strict"}, "spec": {"mtls": {"mode": "STRICT"}}}
)";

// A node with a pod "b" that declares a probe, a pod "plain" outside the mesh and a namespace "new" that is no pod yet.
class Node {
 public:
  explicit Node(const std::vector<std::string>& flags)
      : probed(listen_at(net.add("b"), AF_INET)),
        probed6(listen_at(net.at("b"), AF_INET6, {}, local_address(probed.get()).port())),
        other(listen_at(net.at("b"), AF_INET)),
        other6(listen_at(net.at("b"), AF_INET6, {}, local_address(other.get()).port())),
        agent(sandbox, {.more = replace(flags), .netns = net.bridge_netns()}) {
    fs::create_directories(pods_cgroup() / "pod1");
    const std::string bridge = run_ok(
        {.argv = {"sh", "-c", "ip -o link show type bridge | cut -d: -f2 | tr -d ' \n'"}, .netns = net.bridge_netns()});
    run_ok({.argv = {"ip", "-batch", "-"},
            .netns = net.bridge_netns(),
            .input = "addr add " + kNodeV4 + "/16 dev " + bridge + "\naddr add " + kNodeV6 + "/64 dev " + bridge +
                     " nodad\n"});
    net.add("plain");
    net.add("new");
    objects.put(NamespaceObject{"shop", {.mesh = "enabled", .short_circuit = "off"}});
    objects.put_text("b.yaml", with_probe(to_yaml(object_of("b", {}))));
    objects.put(object_of("plain", {.mesh = "disabled"}));
    agent.start();
  }

  [[nodiscard]] fs::path pods_cgroup() const { return sandbox.cgroup() / "pods"; }
  [[nodiscard]] PodObject object_of(const std::string& name, const Settings& settings) const {
    const Place& place = net.at(name);
    return {.ns = "shop",
            .name = name,
            .node = kNode,
            .netns = place.netns,
            .ips = {place.v4, place.v6},
            .settings = settings};
  }

  // Dials in a process of its own. A pod's is below the pods' cgroup.
  enum class Who { kNode, kPod };
  [[nodiscard]] bool gets_in(Who who, const std::string& netns, const Address& to) const {
    Command command{.argv = {"bash", "-c", "exec 3<>/dev/tcp/$0/$1", ip_of(to), std::to_string(to.port())},
                    .netns = netns,
                    .cgroup = who == Who::kPod ? pods_cgroup() / "pod1" : sandbox.cgroup()};
    const Finished done = run(command);
    if (!done.exit.ok() && !done.err.contains("refused") && !done.err.contains("not permitted"))
      throw std::runtime_error("dial " + to.to_string() + ": " + done.err);
    return done.exit.ok();
  }
  [[nodiscard]] bool host_gets_in(Who who, const Address& to) const { return gets_in(who, net.bridge_netns(), to); }

  Sandbox sandbox;
  PodNet net;
  Objects objects{sandbox.objects()};
  UniqueFd probed, probed6, other, other6;
  Agent agent;
  Ctl ctl{sandbox};

 private:
  static std::string ip_of(const Address& to) {
    const std::string text = to.to_string();
    const std::string ip = text.substr(0, text.rfind(':'));
    return ip.starts_with('[') ? ip.substr(1, ip.size() - 2) : ip;
  }
  // "PODS" stands for the pods' cgroup.
  std::vector<std::string> replace(std::vector<std::string> flags) const {
    fs::create_directories(pods_cgroup());
    for (std::string& flag : flags)
      if (flag == "PODS") flag = pods_cgroup();
    return flags;
  }
  std::string with_probe(std::string yaml) const {
    const std::string image = "    image: app\n";
    return yaml.insert(yaml.find(image) + image.size(), "    readinessProbe:\n      tcpSocket:\n        port: " +
                                                            std::to_string(local_address(probed.get()).port()) + "\n");
  }
};

using Who = Node::Who;

void close_with(const Node& node, const std::string& policy) {
  REQUIRE(node.host_gets_in(Who::kNode, local_address(node.other.get())));
  node.objects.put_text("policy.yaml", policy);
  REQUIRE(eventually(seconds(5), [&] { return !node.host_gets_in(Who::kNode, local_address(node.other.get())); }));
}

const std::vector<std::string> kClosed{policy_of("never", R"({"action": "DENY", "rules": [{}]})"), kStrict,
                                       allow_account("web")};

TEST_CASE("host: the kubelet reaches the ports of probes and no other, a pod on the node's network reaches none") {
  for (const std::string& policy : kClosed) {
    INFO(policy);
    Node node({"--pods-cgroup", "PODS"});
    close_with(node, policy);
    for (const bool alive : {true, false}) {
      if (!alive) node.agent.kill9();
      for (const UniqueFd* const fd : std::initializer_list<const UniqueFd*>{&node.probed, &node.probed6}) {
        CHECK(node.host_gets_in(Who::kNode, local_address(fd->get())));
        CHECK_FALSE(node.host_gets_in(Who::kPod, local_address(fd->get())));
        CHECK_FALSE(node.gets_in(Who::kNode, node.net.at("plain").netns, local_address(fd->get())));
        CHECK_FALSE(node.gets_in(Who::kPod, node.net.at("plain").netns, local_address(fd->get())));
      }
      for (const UniqueFd* const fd : std::initializer_list<const UniqueFd*>{&node.other, &node.other6})
        for (const Who who : {Who::kNode, Who::kPod}) CHECK_FALSE(node.host_gets_in(who, local_address(fd->get())));
    }
  }
}

TEST_CASE("host: where nobody says which cgroup is the pods', nobody is the node") {
  Node node({});
  close_with(node, kClosed.front());
  for (const UniqueFd* const fd :
       std::initializer_list<const UniqueFd*>{&node.probed, &node.probed6, &node.other, &node.other6})
    CHECK_FALSE(node.host_gets_in(Who::kNode, local_address(fd->get())));
}

TEST_CASE("host: the kubelet hears whether a captured pod's port is open, and not its worker's") {
  const Node node({"--pods-cgroup", "PODS"});
  node.objects.put(NamespaceObject{"shop", {.mesh = "enabled", .short_circuit = "off", .capture = "always"}});
  const Pinned pinned(node.sandbox);
  REQUIRE(eventually(seconds(10), [&] { return pinned.worker(node.net.cookie("b")).has_value(); }));
  for (const int family : kFamilies) {
    const Address closed = local_address(listen_at(node.net.at("b"), family).get());
    CHECK_FALSE(node.host_gets_in(Who::kNode, closed));
    // Who is no process of the node's meets the worker, which takes in whoever comes.
    CHECK(node.gets_in(Who::kPod, node.net.at("plain").netns, closed));
  }
  for (const UniqueFd* const fd : std::initializer_list<const UniqueFd*>{&node.other, &node.other6})
    CHECK(node.host_gets_in(Who::kNode, local_address(fd->get())));
}

TEST_CASE("host: a pod that is not known yet connects nowhere, if --unknown-pods says so") {
  for (const bool deny : {true, false}) {
    INFO("deny ", deny);
    Node node(deny ? std::vector<std::string>{"--pods-cgroup", "PODS", "--unknown-pods", "deny"}
                   : std::vector<std::string>{"--pods-cgroup", "PODS"});
    const std::string fresh = node.net.at("new").netns;
    const UniqueFd plain = listen_at(node.net.at("plain"), AF_INET), plain6 = listen_at(node.net.at("plain"), AF_INET6);
    const UniqueFd own = listen_at({.netns = fresh}, AF_INET);
    for (const bool alive : {true, false}) {
      if (!alive) node.agent.kill9();
      for (const UniqueFd* const fd :
           std::initializer_list<const UniqueFd*>{&plain, &plain6, &node.other, &node.other6}) {
        CHECK(node.gets_in(Who::kPod, fresh, local_address(fd->get())) == !deny);
        CHECK(node.gets_in(Who::kNode, fresh, local_address(fd->get())));  // the runtime, as it prepares the pod
        CHECK(node.gets_in(Who::kPod, node.net.at("plain").netns, local_address(fd->get())));
        CHECK(node.host_gets_in(Who::kPod, local_address(fd->get())));
      }
      CHECK(node.gets_in(Who::kPod, fresh, local_address(own.get())));  // itself
    }
    node.agent.start();
    node.objects.put(node.object_of("new", {.mesh = "disabled"}));
    CHECK(eventually(seconds(5), [&] { return node.gets_in(Who::kPod, fresh, local_address(plain.get())); }));
    node.objects.put(node.object_of("new", {}));
    REQUIRE(eventually(seconds(5), [&] {
      const auto pod = node.ctl.pod("shop/new");
      return pod && pod->enrolled;
    }));
    CHECK(node.gets_in(Who::kPod, fresh, local_address(node.other6.get())));
    node.objects.remove_pod("shop", "new");
    CHECK(eventually(seconds(5), [&] { return node.gets_in(Who::kPod, fresh, local_address(plain.get())) == !deny; }));
  }
}

}  // namespace
}  // namespace underpass::test
