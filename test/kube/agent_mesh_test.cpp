// SPDX-License-Identifier: Apache-2.0
// Two nodes of a cluster: agents that ask the controller for certificates and tell each other of their pods, and pods
// that speak through tunnels because of that.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <atomic>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "agent/admin/client.h"
#include "agent/admin/protocol.h"
#include "test/kube/controller_process.h"
#include "test/kube/scene.h"
#include "test/support/eventually.h"
#include "test/support/sockets.h"
#include "test/support/world.h"
#include "underpass/unix_address.h"

namespace underpass::test {
namespace {

namespace json = boost::json;

constexpr seconds kSoon(30);

struct TwoKubeNodes {
  explicit TwoKubeNodes(MeshCluster& the_cluster, const std::vector<std::string>& more = {}, bool cni = false)
      : cluster(the_cluster),
        controller(cluster, "one"),
        a(cluster, {.cni = cni, .more = more, .net = 77}),
        b(cluster, {.cni = cni, .more = more, .net = 78}) {
    a.net.join_with(b.net);
    cluster.put(Settings{.mesh = "enabled", .short_circuit = "off"}, "mesh");
    cluster.put(Settings{}, "plain");
    if (cni)
      for (const KubeNode* node : {&a, &b})
        write_atomically(node->cni_conf() / "10-net.conflist",
                         R"({"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "loopback"}]})");
    controller.start();
    run(a, "mesh", "client");
    run(b, "mesh", "server");
    run(b, "plain", "bystander");
    a.start();
    b.start();
  }

  void run(KubeNode& node, const std::string& ns, const std::string& name) const {
    cluster.kube.load(
        {"apiVersion: v1\nkind: ServiceAccount\nmetadata: {namespace: " + ns + ", name: " + name + "}\n"});
    auto pod = node.pod(ns, name);
    pod.service_account = name;
    node.run(pod);
  }

  // `node` reaches that pod through a tunnel.
  static bool knows(const KubeNode& node, const std::string& pod) {
    return json::serialize(node.ctl.json({"map", "dump", "up_remotes"})).contains("\"" + pod + "\"");
  }
  static void wait_knows(const KubeNode& node, const std::string& pod, bool does = true) {
    if (!eventually(kSoon, [&] { return knows(node, pod) == does; }))
      throw std::runtime_error(node.name() + (does ? " does not know " : " still knows ") + pod + ": " +
                               node.describe());
  }
  void wait_tunnels() const {
    wait_knows(a, "server");
    wait_knows(b, "client");
  }

  // Bytes both ways; how it ended: empty: well.
  [[nodiscard]] std::string talk(const Place& from, const Place& to, int family = AF_INET) const {
    try {
      const UniqueFd listener = listen_at(to, family);
      const UniqueFd dialled = connect_from(from, local_address(listener.get()));
      send_all(dialled.get(), "hello");
      const UniqueFd accepted = accept_from(listener.get(), seconds(5));
      if (receive_exactly(accepted.get(), 5) != "hello") return "other words arrived";
      send_all(accepted.get(), "there");
      return receive_exactly(dialled.get(), 5) == "there" ? "" : "other words came back";
    } catch (const std::exception& error) {
      return error.what();
    }
  }
  [[nodiscard]] std::string talk(int family = AF_INET) const {
    return talk(a.inside("client"), b.inside("server"), family);
  }
  // How many connections of the client to the server this node has counted as encrypted.
  [[nodiscard]] bool counted_encrypted(const KubeNode& node) const {
    const auto listen = node.ctl.json({"status"}).at("listen").at("metrics");
    const auto text = run_ok({.argv = {"curl", "-sf", "http://" + std::string(listen.as_string()) + "/metrics"}});
    return text.contains("connection_security_policy=\"mutual_tls\"");
  }

  MeshCluster& cluster;
  ControllerProcess controller;
  KubeNode a;
  KubeNode b;
};

std::string shards_of(const MeshCluster& cluster, const std::string& node) {
  std::string out;
  const auto all = cluster.get("/apis/underpass.dev/v1alpha1/nodeworkloads");
  for (const auto& one : all.at("items").as_array())
    if (one.at("spec").at("node") == json::value(node)) out += json::serialize(one.at("spec").at("workloads"));
  return out;
}

TEST_CASE("two nodes of a cluster: certificates of the controller, tunnels between their pods, and labels on and off") {
  if (skip_without_cluster("mTLS between two nodes")) return;
  TwoKubeNodes nodes(MeshCluster::battered());
  nodes.wait_tunnels();
  for (const int family : kFamilies) CHECK(nodes.talk(family) == "");
  CHECK(eventually(kSoon, [&] { return nodes.counted_encrypted(nodes.b); }));
  // Signed by whom the ConfigMap says, and each node has its own pods' alone.
  const auto certs = nodes.a.ctl.run({"certs"}).out;
  CHECK(certs.contains("spiffe://cluster.local/ns/mesh/sa/client"));
  CHECK_FALSE(certs.contains("sa/server"));
  CHECK(shards_of(nodes.cluster, nodes.b.name()).contains("\"server\""));
  CHECK_FALSE(shards_of(nodes.cluster, nodes.b.name()).contains("bystander"));

  // It leaves, and comes back.
  nodes.cluster.put(Settings{}, "mesh");
  nodes.wait_knows(nodes.a, "server", false);
  CHECK(eventually(kSoon, [&] { return shards_of(nodes.cluster, nodes.b.name()).empty(); }));
  CHECK(nodes.talk() == "");
  nodes.cluster.put(Settings{.mesh = "enabled", .short_circuit = "off"}, "mesh");
  nodes.wait_tunnels();
  CHECK(nodes.talk() == "");

  // A pod that comes, and one that goes.
  nodes.run(nodes.b, "mesh", "second");
  nodes.wait_knows(nodes.a, "second");
  CHECK(nodes.talk(nodes.a.inside("client"), nodes.b.inside("second")) == "");
  nodes.b.end("second");
  nodes.wait_knows(nodes.a, "second", false);
}

TEST_CASE("two nodes of a cluster: no controller, no API server, agents anew: what was encrypted stays so") {
  if (skip_without_cluster("outages of controller and API server")) return;
  TwoKubeNodes nodes(MeshCluster::battered());
  nodes.wait_tunnels();
  CHECK(nodes.talk() == "");

  // The controller is away: an agent that starts has what the one before it had; a new pod's certificate is missed.
  nodes.controller.kill9();
  nodes.a.agent.kill9();
  nodes.a.start();
  CHECK(nodes.talk() == "");
  CHECK(eventually(kSoon, [&] { return TwoKubeNodes::knows(nodes.a, "server"); }));
  nodes.run(nodes.a, "mesh", "late");
  nodes.a.wait_enrolled("late");
  CHECK(eventually(kSoon, [&] {
    return nodes.a.ctl.run({"status"}).out.contains("the controller has not answered CertificateSigningRequest");
  }));
  CHECK_FALSE(TwoKubeNodes::knows(nodes.b, "late"));
  nodes.controller.start();
  nodes.wait_knows(nodes.b, "late");
  CHECK(nodes.talk(nodes.a.inside("late"), nodes.b.inside("server")) == "");

  // The API server is away.
  nodes.cluster.kube.kill_apiserver();
  CHECK(nodes.talk() == "");
  CHECK(eventually(kSoon, [&] { return nodes.a.state() == "stale"; }));
  CHECK(nodes.talk() == "");
  nodes.cluster.start_apiserver();
  CHECK(eventually(seconds(90), [&] { return nodes.a.state() == usual_state(); }));  // back-off goes up to 30 s
  nodes.run(nodes.b, "mesh", "later");
  nodes.wait_knows(nodes.a, "later");
  CHECK(nodes.talk(nodes.a.inside("late"), nodes.b.inside("later")) == "");
}

TEST_CASE("two nodes of a cluster: a node that lies of others' pods, or takes its word back") {
  if (skip_without_cluster("malicious NodeWorkloads")) return;
  TwoKubeNodes nodes(MeshCluster::battered());
  nodes.wait_tunnels();
  // By an administrator, whom no admission policy keeps from it: the agents must not believe it either.
  const auto put = [&](const std::string& node, const std::string& workloads) {
    nodes.cluster.kube.apply("apiVersion: underpass.dev/v1alpha1\nkind: NodeWorkloads\nmetadata: {name: " + node +
                             ".7}\nspec: {node: " + node + ", shard: 7, workloads: [" + workloads + "]}\n");
  };
  const auto bystander = nodes.b.uid("bystander");
  put("node-evil", "{namespace: plain, name: bystander, uid: " + bystander +
                       ", serviceAccount: bystander, ips: [10.78.0.3], tunnel: HBONE}");
  put("node-bad", "{namespace: mesh, name: ghost, uid: g, serviceAccount: ghost, ips: [" + nodes.b.at("bystander").v4 +
                      "], tunnel: HBONE}");
  // What comes after these was heard, so they were.
  nodes.run(nodes.b, "mesh", "marker");
  nodes.wait_knows(nodes.a, "marker");
  CHECK_FALSE(TwoKubeNodes::knows(nodes.a, "bystander"));
  CHECK_FALSE(TwoKubeNodes::knows(nodes.a, "ghost"));
  CHECK(nodes.talk(nodes.a.inside("client"), nodes.b.at("bystander")) == "");

  // All that node B has said is deleted while its agent is away.
  nodes.b.agent.kill9();
  nodes.cluster.kube.kubectl({"delete", "nodeworkloads", "--all"});
  CHECK(eventually(kSoon, [&] {
    const auto shards = nodes.a.kind("NodeWorkloads").at("objects").to_number<std::int64_t>();
    return shards <= 1;  // its own, which it has written again
  }));
  const auto told = nodes.a.kind("NodeWorkloads").at("events").to_number<std::int64_t>();
  put("node-later", "");
  CHECK(eventually(kSoon, [&] { return nodes.a.kind("NodeWorkloads").at("events").to_number<std::int64_t>() > told; }));
  CHECK(TwoKubeNodes::knows(nodes.a, "server"));
  CHECK(nodes.talk() == "");
  // Nor is it forgotten by an agent that follows.
  nodes.a.agent.kill9();
  nodes.a.start();  // which has heard everything then
  CHECK(TwoKubeNodes::knows(nodes.a, "server"));
  CHECK(nodes.talk() == "");
  nodes.b.start();
  CHECK(eventually(kSoon, [&] { return shards_of(nodes.cluster, nodes.b.name()).contains("\"server\""); }));
}

// The API server, which answers again however this ends.
class Hanging {
 public:
  explicit Hanging(KubeCluster& kube) : kube_(kube) { kube_.pause_apiserver(); }
  ~Hanging() { kube_.resume_apiserver(); }
  Hanging(const Hanging&) = delete;
  Hanging& operator=(const Hanging&) = delete;

 private:
  KubeCluster& kube_;
};

TEST_CASE(
    "two nodes of a cluster: Underpass is removed while the API server hangs, and the node is clean all the same") {
  if (skip_without_cluster("removal without an API server")) return;
  TwoKubeNodes nodes(MeshCluster::battered());
  nodes.wait_tunnels();
  REQUIRE(!shards_of(nodes.cluster, nodes.a.name()).empty());
  const auto programs = nodes.a.pinned.program_ids();
  nodes.cluster.kube.kubectl({"delete", "daemonset", kAgentName, "-n", kAgentNamespace});
  CHECK(eventually(kSoon, [&] { return nodes.a.kind("DaemonSet").at("objects") == 0; }));
  {
    const Hanging hanging(nodes.cluster.kube);
    nodes.a.agent.stop(seconds(25));  // the kubelet gives it 30
  }
  CHECK_FALSE(nodes.a.pinned.any());
  CHECK(eventually(seconds(10), [&] { return !any_program_alive(programs); }));
}

// Connections of the client to the server, one after another, until it is stopped: of each, one word both ways.
class Load {
 public:
  Load(const Place& from, const Place& to) : from_(from), listener_(listen_at(to, AF_INET)) {
    thread_ = std::thread([this] { run(); });
    server_ = std::thread([this] { serve(); });
  }
  ~Load() { stop(); }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  void stop() {
    if (!thread_.joinable()) return;
    over_ = true;
    thread_.join();
    served_ = true;
    server_.join();
  }
  [[nodiscard]] int made() const { return made_; }
  [[nodiscard]] std::string failures() {
    const std::lock_guard lock(mutex_);
    return failures_;
  }

 private:
  void run() {
    const Address to = local_address(listener_.get());
    while (!over_) {
      try {
        const UniqueFd one = connect_from(from_, to);
        send_all(one.get(), "word");
        if (receive_exactly(one.get(), 4, seconds(10)) != "word") throw std::runtime_error("other words");
        ++made_;
      } catch (const std::exception& error) {
        const std::lock_guard lock(mutex_);
        failures_ +=
            std::to_string(
                std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count() %
                100000) +
            " " + error.what() + "; ";
      }
    }
  }
  void serve() {
    while (!served_) {
      try {
        const UniqueFd one = accept_from(listener_.get(), seconds(1));
        send_all(one.get(), receive_exactly(one.get(), 4));
      } catch (const std::exception&) {
        continue;  // nobody came, or it left: the client says why
      }
    }
  }

  Place from_;
  UniqueFd listener_;
  std::atomic<bool> over_ = false;
  std::atomic<bool> served_ = false;  // the last one, too
  std::atomic<int> made_ = 0;
  std::mutex mutex_;
  std::string failures_;
  std::thread thread_;
  std::thread server_;
};

// Everything that listens on a node, knocked at over and over: nobody may be turned away, and everybody is answered,
// except that who was let in just when the agent ended may see the connection end.
class Doors {
 public:
  explicit Doors(const KubeNode& node)
      : admin_(admin::socket_path(node.sandbox.run_dir().string())),
        cni_((node.sandbox.run_dir() / "cni.sock").string()) {
    const auto listen = node.ctl.json({"status"}).at("listen");
    http_.emplace("metrics", "http://" + text_of(listen.at("metrics")) + "/metrics");
    http_.emplace("ready", "http://" + text_of(listen.at("ready")) + "/healthz/ready");
    thread_ = std::thread([this] { run(); });
  }
  ~Doors() { stop(); }
  Doors(const Doors&) = delete;
  Doors& operator=(const Doors&) = delete;

  void stop() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
  }
  // After stop().
  [[nodiscard]] const std::string& failures() const { return failures_; }
  [[nodiscard]] int answered() const { return answered_; }
  [[nodiscard]] int ended() const { return ended_; }
  [[nodiscard]] milliseconds longest() const { return longest_; }

 private:
  void run() {
    while (!over_) {
      knock("admin", [&] {
        const auto answer = admin::call(admin_, {{"command", "ready"}}, kSoon);
        if (!answer && answer.error().kind == admin::CallError::Kind::kUnreachable)
          throw std::runtime_error(answer.error().message);
        return answer.has_value();
      });
      knock("cni", [&] {
        const sockaddr_un address = to_unix_address(cni_).value();
        const UniqueFd one(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
        if (::connect(one.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
          throw std::runtime_error(std::strerror(errno));
        return true;
      });
      for (const auto& [name, url] : http_) {
        knock(name, [&url] {
          const auto done = test::run({.argv = {"curl", "--silent", "--max-time", "30", url}});
          constexpr int kRefused = 7;
          if (done.exit.code == kRefused) throw std::runtime_error("refused");
          return done.exit.ok();
        });
      }
    }
  }
  void knock(const std::string& name, const std::function<bool()>& ask) {
    const auto begun = std::chrono::steady_clock::now();
    try {
      ++(ask() ? answered_ : ended_);
    } catch (const std::exception& error) {
      failures_ += name + ": " + error.what() + "; ";
    }
    longest_ = std::max(longest_, std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begun));
  }

  std::string admin_;
  std::string cni_;
  std::map<std::string, std::string> http_;  // URLs by name
  std::atomic<bool> over_ = false;
  std::string failures_;
  int answered_ = 0;
  int ended_ = 0;
  milliseconds longest_{0};
  std::thread thread_;
};

TEST_CASE("a rolling upgrade: two agents on a node, no new connection fails, and what is short-circuited stays so") {
  if (skip_without_cluster("a rolling upgrade")) return;
  TwoKubeNodes nodes(MeshCluster::battered(), {"--instance", "old"}, true);
  nodes.cluster.put(kShortCircuit, "fast");
  nodes.cluster.put(Settings{.mesh = "enabled", .short_circuit = "off", .capture = "always"}, "carried");
  nodes.run(nodes.a, "carried", "caller");
  nodes.run(nodes.a, "carried", "called");
  nodes.run(nodes.a, "fast", "left");
  nodes.run(nodes.a, "fast", "right");
  nodes.wait_tunnels();
  nodes.a.wait_enrolled("left");
  nodes.a.wait_enrolled("right");
  nodes.a.wait_enrolled("called");
  // One that is short-circuited, held all the time.
  const UniqueFd listener = listen_at(nodes.a.inside("right"), AF_INET);
  const UniqueFd client = connect_from(nodes.a.inside("left"), local_address(listener.get()));
  const UniqueFd server = accept_from(listener.get());
  exchange(client.get(), server.get());
  REQUIRE(nodes.a.ctl.connection(client.get()).value().way == "short-circuit");

  CAPTURE(nodes.a.agent.log());
  CAPTURE(nodes.b.agent.log());
  Load far(nodes.a.inside("client"), nodes.b.inside("server"));
  Load near(nodes.a.inside("left"), nodes.a.inside("right"));
  Load carried(nodes.a.inside("caller"), nodes.a.inside("called"));
  std::this_thread::sleep_for(seconds(2));
  for (KubeNode* node : {&nodes.a, &nodes.b}) {
    CAPTURE(node->name());
    Doors doors(*node);
    const auto listened = node->ctl.json({"status"}).at("listen");
    Agent next(node->sandbox, node->other_agent("new", "other_version_agent"));
    CAPTURE(next.log());
    node->launch_other(next);
    // While it waits the old one is asked; then it answers.
    REQUIRE(eventually(seconds(40), [&] { return node->ctl.run({"ready", "--instance", "new"}).exit.ok(); }));
    // Workers of the new version take over from those that run.
    CHECK(eventually(seconds(20), [&] { return next.log().contains("worker-replaced worker=mesh"); }));
    CHECK(node->ctl.run({"ready", "--instance", "old"}).exit.code == 1);
    CHECK(node->agent.running());  // idle, until the kubelet ends it
    CHECK(node->agent.log().contains("retired successor="));
    CHECK(next.log().contains("takeover-done instance=new listeners=4"));
    CHECK(node->ctl.json({"status"}).at("listen") == listened);
    exchange(client.get(), server.get());
    std::this_thread::sleep_for(seconds(2));
    node->agent.stop();
    CHECK(next.running());
    CHECK(node->ctl.run({"ready", "--instance", "new"}).exit.ok());
    std::this_thread::sleep_for(seconds(2));
    doors.stop();
    CHECK(doors.failures() == "");
    CHECK(doors.ended() <= 4);  // one at each door
    CHECK(doors.answered() > 100);
    std::cout << node->name() << ": " << doors.answered() << " knocks, the longest answered after "
              << doors.longest().count() << " ms, " << doors.ended() << " ended\n";
    if (node == &nodes.a) CHECK(nodes.a.ctl.connection(client.get()).value().way == "short-circuit");
    node->succeed(std::move(next));
  }
  exchange(client.get(), server.get());
  far.stop();
  near.stop();
  carried.stop();
  CHECK(far.failures() == "");
  CHECK(near.failures() == "");
  CHECK(carried.failures() == "");
  CHECK(far.made() > 100);
  CHECK(near.made() > 100);
  CHECK(carried.made() > 100);
  CHECK(nodes.talk() == "");
  nodes.run(nodes.b, "mesh", "after");
  nodes.wait_knows(nodes.a, "after");
}

TEST_CASE("a rolling upgrade that fails: an agent that hears nothing takes nothing over, one that dies is replaced") {
  if (skip_without_cluster("a failed upgrade")) return;
  TwoKubeNodes nodes(MeshCluster::battered(), {"--instance", "old"});
  nodes.wait_tunnels();
  auto& node = nodes.a;
  // Its token is no good.
  const auto kubeconfig = nodes.cluster.kube.kubeconfig_with("no-token");
  Agent mute(node.sandbox, node.other_agent("mute", "underpassd", kubeconfig));
  node.launch_other(mute);
  CHECK(eventually(seconds(20), [&] { return mute.log().contains("takeover-waits"); }));
  std::this_thread::sleep_for(seconds(3));
  CHECK(node.ctl.run({"ready", "--instance", "old"}).exit.ok());
  CHECK(nodes.talk() == "");
  mute.stop();

  // It takes over, and dies: the old one ends too, to be started again.
  Agent brief(node.sandbox, node.other_agent("brief", "underpassd"));
  node.launch_other(brief);
  REQUIRE(eventually(seconds(40), [&] { return node.ctl.run({"ready", "--instance", "brief"}).exit.ok(); }));
  CHECK(node.agent.running());
  brief.kill9();
  CHECK(eventually(seconds(10), [&] { return !node.agent.running(); }));
  CHECK(node.agent.ended()->code == 1);
  CHECK(nodes.talk() == "");
  node.start();
  CHECK(node.ctl.run({"ready", "--instance", "old"}).exit.ok());
  CHECK(nodes.talk() == "");

  // One that dies with what it was handed, and one of a version that takes no listeners: these are gone with the old
  // one.
  for (const bool takes : {true, false}) {
    CAPTURE(takes);
    const auto socket = admin::socket_path(node.sandbox.run_dir().string());
    {
      Process other({.argv = {"sleep", "600"}});
      auto request = admin::encode_retirement({.instance = "other", .pid = other.pid(), .listeners = takes});
      if (!takes) request.erase("listeners");
      const auto answer = admin::call_for_descriptors(socket, request, kSoon);
      REQUIRE(answer);
      CHECK(answer->descriptors.size() == (takes ? 3 : 0));
      CHECK(answer->answer.at("listeners").as_array().size() == answer->descriptors.size());
      CHECK(eventually(seconds(10),
                       [&] { return node.agent.log().contains("retired successor=" + std::to_string(other.pid())); }));
      CHECK(fs::exists(socket) == takes);
      CHECK(node.agent.running());
    }
    CHECK(eventually(seconds(10), [&] { return !node.agent.running(); }));
    CHECK(nodes.talk() == "");
    node.start();
    CHECK(node.ctl.run({"ready", "--instance", "old"}).exit.ok());
  }

  // Who has no name retires for nobody.
  CHECK(node.ctl.run({"ready"}).exit.ok());
}

}  // namespace
}  // namespace underpass::test
