// SPDX-License-Identifier: Apache-2.0
// How an agent ends on a node with the CNI plugin: where its DaemonSet was deleted, nothing of it is left and the
// node's CNI configuration is as before; else everything stays for the next one.
#include <doctest/doctest.h>

#include "test/kube/scene.h"
#include "test/netns/cni/runtime.h"

namespace underpass::test {
namespace {

// As people write it: with blanks, an order of its own, and things that nobody knows.
constexpr const char* kList = R"({
  "cniVersion": "1.0.0",
  "name": "net", "kept": [ 1,2 , {"a":1.0e1} ],
  "plugins": [ {"type": "bridge", "bridge": "cni0"},
    { "type": "portmap", "capabilities": {"portMappings": true} } ]
}
)";

class RemovalScene {
 public:
  explicit RemovalScene(MeshCluster& cluster)
      : node(cluster, {.cni = true}),
        runtime_({.conf = node.cni_conf(), .bin = {node.cni_bin(), "/usr/lib/cni"}, .cache = node.sandbox.root()}, "") {
    write_atomically(list_file(), kList);
    cluster.put(kShortCircuit, "removal");
    node.run(node.pod("removal", "a"));
    node.run(node.pod("removal", "b"));
    node.start();
    node.wait_enrolled("a");
    node.wait_enrolled("b");
    REQUIRE(node.way("a", "b") == "short-circuit");
    REQUIRE(eventually(seconds(10), [&] { return fs::exists(enrolment()); }));
    check_all_there();
  }

  [[nodiscard]] fs::path list_file() const { return node.cni_conf() / "10-net.conflist"; }
  [[nodiscard]] fs::path enrolment() const { return node.sandbox.state_dir() / "enrolment.json"; }
  void check_all_there() const {
    const CniList list = runtime_.load();
    CHECK(list.types() == std::vector<std::string>{"bridge", "portmap", "underpass-cni"});
    CHECK(runtime_.has_programs(list));
    CHECK(fs::exists(enrolment()));
    CHECK(node.enrolled("a"));
    CHECK(node.enrolled("b"));
  }
  void check_nothing_there() const {
    CHECK(read_file(list_file()) == kList);
    CHECK(fs::is_empty(node.cni_bin()));
    CHECK(std::distance(fs::directory_iterator(node.cni_conf()), {}) == 1);
    CHECK_FALSE(fs::exists(enrolment()));
    CHECK_FALSE(fs::exists(enrolment().string() + ".copy"));
    CHECK_FALSE(node.pinned.any());
    CHECK(eventually(seconds(10), [&] { return programs_at(node.sandbox.cgroup()).empty(); }));
    CHECK(node.dial("a", Address::of(node.at("b").v4, 9)).contains("Connection refused"));  // by b's own kernel
  }

  KubeNode node;

 private:
  CniRuntime runtime_;
};

TEST_CASE("removal: with the manifests deleted, an agent that is told to stop leaves nothing on the node") {
  if (skip_without_cluster("Underpass is removed")) return;
  MeshCluster& cluster = MeshCluster::battered();
  RemovalScene scene(cluster);
  const auto programs = scene.node.pinned.program_ids();
  SUBCASE("the whole folder") { cluster.remove_manifests(); }
  SUBCASE("first the DaemonSet, as the page says") {
    cluster.kube.kubectl({"delete", "daemonset", kAgentName, "-n", kAgentNamespace, "--cascade=foreground"});
  }
  scene.check_all_there();  // until it is told to stop
  scene.node.agent.stop(seconds(30));
  scene.check_nothing_there();
  CHECK(eventually(seconds(10), [&] { return !any_program_alive(programs); }));
}

TEST_CASE("removal: an agent that ends while its DaemonSet is there leaves everything for the next one") {
  if (skip_without_cluster("the agent ends")) return;
  RemovalScene scene(MeshCluster::shared());
  SUBCASE("told to stop") { scene.node.agent.stop(); }
  SUBCASE("killed") { scene.node.agent.kill9(); }
  scene.check_all_there();
  scene.node.start();
  scene.check_all_there();
}

}  // namespace
}  // namespace underpass::test
