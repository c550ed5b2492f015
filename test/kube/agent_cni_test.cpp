// SPDX-License-Identifier: Apache-2.0
// Pods that start, with the CNI plugin that the agent installs: a runtime makes the sandbox with Debian's plugins and
// ours last, before a process of the pod runs and before its address is in the API. Those of the mesh are in the
// kernel's tables and under policy when the plugin returns, or do not start; nobody else is kept.
#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <future>
#include <list>
#include <sstream>

#include "test/kube/scene.h"
#include "test/netns/cni/runtime.h"
#include "test/support/sockets.h"
#include "test/support/traces.h"

namespace underpass::test {
namespace {

constexpr int kTryLater = 11;
constexpr const char* kOnlyWeb =
    R"({"action": "ALLOW", "rules": [{"from": [{"source": {"serviceAccounts": ["web"]}}]}]})";
constexpr const char* kStrict =
    "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {namespace: boot-strict, name: all}\n"
    "spec: {mtls: {mode: STRICT}}\n";
// The longest that a pod outside the mesh may be kept when the agent is dead, and when it hangs.
constexpr auto kAtOnce = seconds(1);
constexpr auto kPatience = seconds(4);

std::string bridge_list(const fs::path& root) {
  return R"({"cniVersion": "1.0.0", "name": "net", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true,
   "ipam": {"type": "host-local", "dataDir": ")" +
         (root / "ipam").string() + R"(", "ranges": [[{"subnet": "10.99.0.0/16"}], [{"subnet": "fd00:99::/64"}]]}}
]}
)";
}

std::string account_of(const std::string& ns, const std::string& name) {
  return "apiVersion: v1\nkind: ServiceAccount\nmetadata: {namespace: " + ns + ", name: " + name + "}\n";
}

// A sandbox that the runtime makes: a namespace, and after add() its addresses.
struct Made {
  Netns netns;
  CniSandbox sandbox;
  CniOutcome outcome{};
  Place place{};
  milliseconds took{};
};

class StartingNode {
 public:
  explicit StartingNode(MeshCluster& cluster)
      : node(cluster, {.cni = true}),
        runtime_({.conf = node.cni_conf(), .bin = {node.cni_bin(), "/usr/lib/cni"}, .cache = node.sandbox.root()},
                 node.net.bridge_netns()) {
    write_atomically(node.cni_conf() / "10-net.conflist", bridge_list(node.sandbox.root()));
  }
  ~StartingNode() {
    for (const Made& made : made_) runtime_.del(made.sandbox);
  }

  // As a kubelet: the object, that has no address yet.
  void create(const std::string& ns, const std::string& name) {
    PodObject object = node.pod(ns, name);
    object.service_account = name;
    node.cluster.kube.load({account_of(ns, name)});
    node.put(object);
  }
  // As a runtime: a sandbox for that pod, and ADD.
  Made& add(const std::string& ns, const std::string& name, const std::string& uid) {
    Made& made = made_.emplace_back(Netns(name_prefix(::getpid()) + "cni" + std::to_string(++next_)));
    made.sandbox = {.id = made.netns.name(),
                    .netns = made.netns.path(),
                    .args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=" + ns + ";K8S_POD_NAME=" + name +
                            ";K8S_POD_INFRA_CONTAINER_ID=" + made.netns.name() +
                            (uid.empty() ? "" : ";K8S_POD_UID=" + uid)};
    again(made);
    return made;
  }
  Made& add(const std::string& ns, const std::string& name) { return add(ns, name, node.uid(name)); }
  // As a runtime tries once more.
  void again(Made& made) {
    runtime_.del(made.sandbox);
    const auto start = Clock::now();
    made.outcome = runtime_.add(made.sandbox);
    made.took = std::chrono::duration_cast<milliseconds>(Clock::now() - start);
    if (!made.outcome.ok) return;
    const auto ip = [&](std::size_t i) {
      const std::string text = text_of(made.outcome.result.at("ips").at(i).at("address"));
      return text.substr(0, text.find('/'));
    };
    made.place = {made.netns.path(), ip(0), ip(1)};
  }
  // Its first process runs, and a moment later its address is in the API.
  void begin(const std::string& ns, const std::string& name, const Made& made) {
    node.start_sandbox(name, made.place.netns);
    PodObject object = node.pod(ns, name);
    object.service_account = name;
    object.ips = {made.place.v4, made.place.v6};
    node.put(object);
  }
  CniOutcome del(const Made& made) { return runtime_.del(made.sandbox); }
  [[nodiscard]] bool has_row(const Made& made) const { return node.has_row(made.netns.cookie()); }

  // The machine boots: processes, pins and the run folder are gone; disks are as they were.
  void reboot() {
    node.agent.kill9();
    node.stop_sandboxes();
    fs::remove_all(node.sandbox.pins());
    for (const auto& entry : fs::directory_iterator(node.sandbox.run_dir())) fs::remove_all(entry.path());
    for (const Made& made : made_) runtime_.del(made.sandbox);
    made_.clear();
  }

  KubeNode node;

 private:
  CniRuntime runtime_;
  std::list<Made> made_;
  int next_ = 0;
};

std::string dial(const Made& from, const Address& to) {
  try {
    (void)connect_from(from.place, to);
    return "";
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

void check_held(const Made& made) {
  CHECK_FALSE(made.outcome.ok);
  CHECK(made.outcome.plugin == "underpass-cni");
  CHECK(made.outcome.code == kTryLater);
  CHECK_FALSE(made.outcome.message.empty());
}

// Questions that wait for the agent's answer: its ends of the connections, which count as of the asker's namespace.
std::size_t questions(const KubeNode& node) {
  std::istringstream lines;
  run_in_netns(node.net.bridge_netns(), [&] { lines.str(read_file("/proc/thread-self/net/unix")); });
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line);)
    if (line.contains(" 0005 03 ") && line.contains((node.sandbox.run_dir() / "cni.sock").string())) ++count;
  return count;
}

// An ALLOW for the account `web` on all pods of `ns` while it lives.
class OnlyWeb {
 public:
  OnlyWeb(MeshCluster& cluster, std::string ns) : cluster_(cluster), ns_(std::move(ns)) {
    cluster.put_policy(ns_, "only-web", kOnlyWeb);
  }
  ~OnlyWeb() { cluster_.remove_policy(ns_, "only-web"); }
  OnlyWeb(const OnlyWeb&) = delete;
  OnlyWeb& operator=(const OnlyWeb&) = delete;

 private:
  MeshCluster& cluster_;
  std::string ns_;
};

// Pods web and evil start, and their first connections to the server are judged.
void check_first_connections(StartingNode& starting, const std::string& ns, const Made& server) {
  for (const int family : kFamilies) {
    const UniqueFd listener = listen_at(server.place, family);
    for (const std::string name : {"web", "evil"}) {
      CAPTURE(name);
      const Made& made = starting.add(ns, name);
      REQUIRE_MESSAGE(made.outcome.ok, made.outcome.message);
      const std::string refused = dial(made, local_address(listener.get()));
      CHECK_MESSAGE((name == "web" ? refused.empty() : refused.contains("Connection refused")), refused);
      CHECK(starting.has_row(made));
      if (name == "web") (void)accept_from(listener.get());
    }
    CHECK_FALSE(readable(listener.get(), milliseconds(0)));
  }
}

TEST_CASE("a pod of the mesh is in the kernel's tables and under policy before its first process runs") {
  if (skip_without_cluster("pods before their first process")) return;
  MeshCluster& cluster = MeshCluster::shared();
  cluster.put(kInMesh, "first");
  cluster.put({}, "outside");
  StartingNode starting(cluster);
  KubeNode& node = starting.node;
  const OnlyWeb only_web(cluster, "first");
  for (const char* name : {"server", "web", "evil"}) starting.create("first", name);
  node.start();
  Made& server = starting.add("first", "server");
  REQUIRE_MESSAGE(server.outcome.ok, server.outcome.message);
  CHECK(starting.has_row(server));
  starting.begin("first", "server", server);
  check_first_connections(starting, "first", server);

  starting.create("outside", "other");
  Made& other = starting.add("outside", "other");
  CHECK_MESSAGE(other.outcome.ok, other.outcome.message);
  CHECK_FALSE(starting.has_row(other));
  const Made& unknown = starting.add("nobody", "knows", "");
  CHECK_MESSAGE(unknown.outcome.ok, unknown.outcome.message);
  CHECK(starting.has_row(server));
}

TEST_CASE("the API server is slower than the runtime: the plugin waits for the pod's object") {
  if (skip_without_cluster("the plugin waits for the object")) return;
  MeshCluster& cluster = MeshCluster::shared();
  cluster.put(kInMesh, "slow");
  StartingNode starting(cluster);
  starting.node.start();
  auto adding = std::async(std::launch::async, [&]() -> Made& { return starting.add("slow", "web", ""); });
  REQUIRE(eventually(seconds(10), [&] { return questions(starting.node) == 1; }));
  CHECK(adding.wait_for(milliseconds(0)) == std::future_status::timeout);
  starting.create("slow", "web");
  const Made& made = adding.get();
  CHECK_MESSAGE(made.outcome.ok, made.outcome.message);
  CHECK(starting.has_row(made));
}

TEST_CASE("a sandbox that is made anew: the end of the old one, that comes late, changes nothing") {
  if (skip_without_cluster("an old sandbox ends late")) return;
  MeshCluster& cluster = MeshCluster::shared();
  cluster.put(kInMesh, "late-end");
  StartingNode starting(cluster);
  starting.node.start();
  starting.create("late-end", "web");
  const Made& old = starting.add("late-end", "web");
  REQUIRE_MESSAGE(old.outcome.ok, old.outcome.message);
  CHECK(starting.has_row(old));
  const Made& now = starting.add("late-end", "web");
  REQUIRE_MESSAGE(now.outcome.ok, now.outcome.message);
  CHECK(starting.has_row(now));
  CHECK_FALSE(starting.has_row(old));
  CHECK(starting.del(old).ok);
  starting.create("late-end", "other");
  CHECK(starting.add("late-end", "other").outcome.ok);  // for which the tables are made anew
  CHECK(starting.has_row(now));
  starting.begin("late-end", "web", now);
  CHECK(eventually(seconds(10),
                   [&] { return starting.node.ctl.json({"pods"}).as_array().at(1).at("ips").as_array().size() == 2; }));
  CHECK(starting.has_row(now));
}

TEST_CASE("the agent is dead, or hangs: pods of the mesh are tried again later, others start at once") {
  if (skip_without_cluster("pods start without the agent")) return;
  MeshCluster& cluster = MeshCluster::shared();
  cluster.put(kInMesh, "held");
  cluster.put({}, "free");
  StartingNode starting(cluster);
  starting.node.start();
  starting.create("held", "web");
  starting.create("free", "other");
  ::kill(starting.node.agent.pid(), SIGSTOP);
  const Made& patient = starting.add("free", "other");
  CHECK_MESSAGE(patient.outcome.ok, patient.outcome.message);
  CHECK(patient.took <= kPatience);
  CHECK(starting.del(patient).ok);

  starting.node.agent.kill9();
  Made& web = starting.add("held", "web");
  check_held(web);
  CHECK(web.outcome.message.contains("held/web"));
  const Made& other = starting.add("free", "other");
  CHECK_MESSAGE(other.outcome.ok, other.outcome.message);
  CHECK(other.took <= kAtOnce);
  CHECK(starting.del(other).ok);

  starting.node.start();
  starting.again(web);
  CHECK_MESSAGE(web.outcome.ok, web.outcome.message);
  CHECK(starting.has_row(web));
}

TEST_CASE("after a reboot pods of the mesh wait for the agent, and policy holds from their first packet") {
  if (skip_without_cluster("a reboot")) return;
  MeshCluster& cluster = MeshCluster::shared();
  cluster.put(kInMesh, "boot");
  cluster.put({}, "boot-free");
  StartingNode starting(cluster);
  const OnlyWeb only_web(cluster, "boot");
  cluster.put(kInMesh, "boot-strict");
  cluster.kube.apply(kStrict);
  for (const char* name : {"server", "web", "evil"}) starting.create("boot", name);
  starting.create("boot-strict", "vault");
  starting.create("boot-free", "other");
  starting.node.start();
  const Made& before = starting.add("boot", "server");
  REQUIRE_MESSAGE(before.outcome.ok, before.outcome.message);
  starting.begin("boot", "server", before);

  starting.reboot();
  for (const char* name : {"server", "web", "evil"}) check_held(starting.add("boot", name));
  check_held(starting.add("boot-strict", "vault"));
  const Made& other = starting.add("boot-free", "other");
  CHECK_MESSAGE(other.outcome.ok, other.outcome.message);
  CHECK(other.took <= kAtOnce);

  starting.node.start();
  const Made& server = starting.add("boot", "server");
  REQUIRE_MESSAGE(server.outcome.ok, server.outcome.message);
  const UniqueFd listener = listen_at(server.place, AF_INET);
  CHECK(dial(other, local_address(listener.get())).contains("refused"));
  check_first_connections(starting, "boot", server);
  const Made& vault = starting.add("boot-strict", "vault");
  REQUIRE_MESSAGE(vault.outcome.ok, vault.outcome.message);
  const UniqueFd strict = listen_at(vault.place, AF_INET);
  CHECK(dial(other, local_address(strict.get())).contains("refused"));
  CHECK(dial(server, local_address(strict.get())).empty());
}

}  // namespace
}  // namespace underpass::test
