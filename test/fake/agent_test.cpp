// SPDX-License-Identifier: Apache-2.0
// The whole agent at an API server that misbehaves, with pods whose connections go on all the time: no request fails,
// policy never opens, and what changes is in force when the storm is over.
#include <doctest/doctest.h>
#include <fcntl.h>

#include <atomic>
#include <boost/json.hpp>
#include <cstdlib>
#include <future>
#include <mutex>
#include <thread>

#include "agent/cni/plugin_ask.h"
#include "test/fake/objects.h"
#include "test/netns/services/client.h"
#include "test/netns/services/responder.h"
#include "test/support/agent.h"
#include "test/support/ctl.h"
#include "test/support/fake_api.h"
#include "test/support/filled_map.h"
#include "test/support/kubelet_pod.h"
#include "test/support/pinned.h"
#include "test/support/pod_net.h"
#include "test/support/sandbox.h"
#include "test/support/sockets.h"

namespace underpass::fake {
namespace {

namespace json = boost::json;
using namespace test;
using What = Fault::What;

constexpr std::uint16_t kTarget = 8080;
const std::string kVip = "10.96.0.10";

seconds storm_time() { return std::getenv("UNDERPASS_LONG") != nullptr ? seconds(120) : seconds(2); }

json::value endpoints(const std::vector<std::string>& ips) {
  json::array ports, list;
  ports.push_back({{"name", "http"}, {"protocol", "TCP"}, {"port", kTarget}});
  for (const auto& ip : ips) {
    json::array addresses{json::value(ip)};
    list.push_back({{"addresses", addresses}, {"conditions", {{"ready", true}}}});
  }
  return {{"apiVersion", "discovery.k8s.io/v1"},
          {"kind", "EndpointSlice"},
          {"metadata", {{"namespace", "shop"}, {"name", "web-1"}, {"labels", {{"kubernetes.io/service-name", "web"}}}}},
          {"addressType", "IPv4"},
          {"ports", ports},
          {"endpoints", list}};
}

json::value allow(const std::string& account) {
  return json::parse(R"({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
      "metadata": {"namespace": "shop", "name": "guard"},
      "spec": {"selector": {"matchLabels": {"app": "guarded"}}, "action": "ALLOW",
               "rules": [{"from": [{"source": {"serviceAccounts": [")" +
                     account + R"("]}}]}]}})");
}

// A client "a", two backends of a Service, and "guarded", whom of "friend" and "foe" only the first may dial.
class StormScene {
 public:
  StormScene() {
    for (const auto& kind : {namespace_object("shop"), node_object(kNode)}) api_.put(kind);
    for (const char* name : {"a", "web-1", "web-2", "guarded", "friend", "foe"}) run_pod(name);
    for (const char* name : {"web-1", "web-2", "guarded"})
      responders_.push_back(std::make_unique<Responder>(net_.at(name), kTarget, name));
    api_.put(service_object("shop", "web", 80));
    api_.put(both());
    api_.put(allow("friend"));
    agent_.emplace(sandbox_,
                   Agent::Options{.source = "kubernetes",
                                  .more = {"--kubeconfig", api_.kubeconfig(sandbox_.root()), "--cni", "off"}});
    agent_->start();
    REQUIRE(eventually(seconds(10), [&] {
      return who_answers(net_.at("a"), Address::of(kVip, 80)) == std::set<std::string>{"web-1", "web-2"};
    }));
    REQUIRE(eventually(seconds(10), [&] { return allowed("friend") && !allowed("foe"); }));
  }

  // Changes ten times a second, with requests and what is forbidden tried all the time.
  void live_through(Fault fault) {
    std::atomic<bool> stop = false;
    std::thread service([&] {
      while (!stop) note(ask_tcp(net_.at("a"), Address::of(kVip, 80)).error == 0, "a request failed");
    });
    std::thread policy([&] {
      while (!stop) {
        note(allowed("friend"), "an allowed one was refused");
        note(!allowed("foe"), "a forbidden one got in");
      }
    });
    api_.misbehave(std::move(fault));
    api_.reset_connections();
    const auto end = Clock::now() + storm_time();
    for (int i = 0; Clock::now() < end; ++i) {
      api_.put(i % 2 == 0 ? endpoints({net_.at("web-1").v4}) : both());
      api_.put(annotated(pod_object("away", "elsewhere", "node-2", i), "n", std::to_string(i)));
      (void)eventually(milliseconds(100), [&] { return !failure().empty(); });
    }
    stop = true;
    service.join();
    policy.join();
    CHECK(failure() == "");
    CHECK(tried_ > 100);
    api_.behave();
    api_.put(allow("foe"));
    CHECK(eventually(seconds(40), [&] { return allowed("foe") && !allowed("friend"); }));
    CHECK(eventually(seconds(40), [&] { return Ctl(sandbox_).state() == usual_state(); }));
  }

 private:
  json::value both() { return endpoints({net_.at("web-1").v4, net_.at("web-2").v4}); }

  void run_pod(const std::string& name) {
    const auto& place = net_.add(name);
    const std::string uid = "00000000-0000-4000-8000-" + std::string(11, '0') + std::to_string(pods_.size());
    auto object = pod_object("shop", name, kNode, 1, place.v4);
    auto& metadata = object.at("metadata").as_object();
    metadata["uid"] = uid;
    metadata.at("labels").as_object()["app"] = name;
    object.at("spec").as_object()["serviceAccountName"] = name;
    api_.put(object);
    pods_.push_back(std::make_unique<KubeletPod>(sandbox_, uid, place.netns));
  }

  [[nodiscard]] bool allowed(const std::string& pod) const {
    return ask_tcp(net_.at(pod), Address::of(net_.at("guarded").v4, kTarget)).error == 0;
  }

  void note(bool good, const char* failure) {
    ++tried_;
    const std::lock_guard lock(mutex_);
    if (!good && failure_.empty()) failure_ = failure;
  }
  [[nodiscard]] std::string failure() const {
    const std::lock_guard lock(mutex_);
    return failure_;
  }

  Sandbox sandbox_;
  PodNet net_;
  FakeApi api_;
  std::vector<std::unique_ptr<KubeletPod>> pods_;
  std::vector<std::unique_ptr<Responder>> responders_;
  std::optional<Agent> agent_;
  std::atomic<std::uint64_t> tried_ = 0;
  mutable std::mutex mutex_;
  std::string failure_;
};

TEST_CASE("agent: a node that the cluster does not know, by this name or any more") {
  const Sandbox sandbox;
  FakeApi api;
  api.put(node_object("renamed"));
  Agent agent(sandbox,
              {.source = "kubernetes", .more = {"--kubeconfig", api.kubeconfig(sandbox.root()), "--cni", "off"}});
  const auto says_so = [&] {
    const auto reasons = json::serialize(Ctl(sandbox).json({"status"}).at("reasons"));
    return reasons.contains("Node node-a: not found in the cluster: is --node-name right?");
  };
  agent.start("degraded");
  CHECK(eventually(seconds(10), says_so));
  api.put(node_object(kNode));
  CHECK(eventually(seconds(10), [&] { return Ctl(sandbox).state() == usual_state() && !says_so(); }));
  api.remove("Node", "", kNode);
  CHECK(eventually(seconds(10), says_so));
}

// An agent that holds pods until they are in its tables, and the runtime's question about one of them.
class StartScene {
 public:
  StartScene() {
    api.put(node_object(kNode));
    agent.start("degraded");  // there is no list of plugins
  }

  // A pod without a process, and without an address in the API.
  void put_pod(const std::string& name) {
    net.add(name);
    api.put(object_of(name, ""));
    REQUIRE(eventually(seconds(10), [&] { return Ctl(sandbox).pod("shop/" + name).has_value(); }));
  }
  std::future<Result<cni::Answer>> ask(const std::string& name) {
    return std::async(std::launch::async, [this, name] {
      const auto& place = net.at(name);
      const UniqueFd netns(::open(place.netns.c_str(), O_RDONLY | O_CLOEXEC));
      return cni::ask_agent(sandbox.run_dir() / cni::kSocketName,
                            {.container_id = name,
                             .interface = "eth0",
                             .pod = {"shop", name},
                             .uid = uid_of(name),
                             .ips = {IpAddress::parse(place.v4).value()}},
                            netns.get(), {.to_take = seconds(2), .to_answer = seconds(20)});
    });
  }
  // One that runs.
  void run_pod(const std::string& name, const json::object& annotations) {
    const auto& place = net.add(name);
    auto object = object_of(name, place.v4);
    object.at("metadata").as_object()["annotations"] = annotations;
    api.put(object);
    pods_.push_back(std::make_unique<KubeletPod>(sandbox, uid_of(name), place.netns));
    REQUIRE(eventually(seconds(10), [&] { return Ctl(sandbox).pod("shop/" + name)->enrolled; }));
  }

  Sandbox sandbox;
  PodNet net;
  FakeApi api;
  Agent agent{sandbox,
              {.source = "kubernetes",
               .more = {"--kubeconfig", api.kubeconfig(sandbox.root()), "--cni", "on", "--cni-bin-dir",
                        sandbox.root() / "bin", "--cni-conf-dir", sandbox.root() / "net.d"}}};

 private:
  static std::string uid_of(const std::string& name) {
    return "00000000-0000-4000-8000-0000000000" + std::string(name == "web" ? "0a" : "0b");
  }
  static json::value object_of(const std::string& name, const std::string& ip) {
    auto object = pod_object("shop", name, kNode, 1, ip);
    object.at("metadata").as_object()["uid"] = uid_of(name);
    return object;
  }

  std::vector<std::unique_ptr<KubeletPod>> pods_;
};

TEST_CASE("agent: a pod that starts waits for its namespace, which may be told of later") {
  StartScene scene;
  scene.api.misbehave(Fault::watch(What::kSilence).at("/api/v1/namespaces").always());
  scene.api.reset_connections();
  REQUIRE(eventually(seconds(10), [&] { return scene.api.open_watches("/api/v1/namespaces") == 1; }));
  scene.api.put(namespace_object("shop"));
  scene.put_pod("web");
  auto asking = scene.ask("web");
  CHECK(asking.wait_for(seconds(2)) == std::future_status::timeout);
  scene.api.behave();
  scene.api.reset_connections();
  const auto answer = asking.get();
  REQUIRE_MESSAGE(answer, answer.error().message);
  CHECK_MESSAGE(answer->ok, answer->reason);
  CHECK(Ctl(scene.sandbox).pod("shop/web")->enrolled);
}

TEST_CASE("agent: one that has heard of nothing yet changes nothing, whatever it is asked") {
  StartScene scene;
  scene.api.put(namespace_object("shop"));
  scene.run_pod("greedy", {});
  const Pinned pinned(scene.sandbox);
  REQUIRE(pinned.entries("up_pods") == 1);
  scene.agent.kill9();
  scene.api.stop();
  scene.agent.launch();
  const Ctl ctl(scene.sandbox);
  REQUIRE(eventually(seconds(20), [&] { return ctl.state() == "degraded"; }));
  scene.net.add("web");
  auto asking = scene.ask("web");  // of a namespace that was in the mesh when it was last heard of
  CHECK(asking.wait_for(seconds(2)) == std::future_status::timeout);
  CHECK(ctl.run({"relearn", "shop/greedy"}).exit.code != 0);
  CHECK(ctl.run({"detach", "--namespace", "shop"}).exit.code != 0);
  CHECK(pinned.entries("up_pods") == 1);
  scene.api.start();
  CHECK(eventually(seconds(40), [&] { return ctl.pod("shop/greedy").has_value(); }));
  CHECK(asking.get().value_or(cni::Answer{.ok = true, .reason = {}}).reason != "");
  CHECK(pinned.entries("up_pods") == 1);
}

TEST_CASE("agent: a pod does not start while there is no room for it, and does while others lack some") {
  StartScene scene;
  scene.api.put(namespace_object("shop"));
  SUBCASE("no row is left") {
    scene.put_pod("web");
    const FilledMap<std::uint64_t, up_pod> full(scene.sandbox, "up_pods",
                                                [](std::uint64_t i) { return i | 1ULL << 62; });
    const auto answer = scene.ask("web").get();
    REQUIRE_MESSAGE(answer, answer.error().message);
    CHECK_FALSE(answer->ok);
    CHECK(answer->reason.contains("cannot be written"));
  }
  SUBCASE("another one's ports have no room") {
    const FilledMap<up_excluded_key, std::uint8_t> full(
        scene.sandbox, "up_excluded", [](std::uint64_t i) { return up_excluded_key{.netns_cookie = i | 1ULL << 62}; });
    scene.run_pod("greedy", {{"underpass.dev/exclude-outbound-ports", "1,2,3"}});
    REQUIRE(eventually(seconds(10),
                       [&] { return json::serialize(Ctl(scene.sandbox).json({"status"})).contains("up_excluded"); }));
    scene.put_pod("web");
    const auto begin = Clock::now();
    const auto answer = scene.ask("web").get();
    REQUIRE_MESSAGE(answer, answer.error().message);
    CHECK_MESSAGE(answer->ok, answer->reason);
    CHECK(Clock::now() - begin < seconds(5));
  }
}

TEST_CASE("agent: a storm of 410 under traffic") {
  StormScene scene;
  SUBCASE("every watch dies after an event") { scene.live_through(Fault::error_event(410, 1).always()); }
  SUBCASE("every watch is refused") { scene.live_through(Fault::gone().watches().always()); }
}

TEST_CASE("agent: a server that resets, refuses and is slow, under traffic") {
  StormScene scene;
  SUBCASE("500") { scene.live_through(Fault::answer(500).always()); }
  SUBCASE("reset in the middle of an object") { scene.live_through(Fault::watch(What::kReset, 0).always()); }
  SUBCASE("not authorized any more") { scene.live_through(Fault::answer(401).always()); }
}

}  // namespace
}  // namespace underpass::fake
