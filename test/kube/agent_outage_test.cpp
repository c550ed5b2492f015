// SPDX-License-Identifier: Apache-2.0
// The API server is killed, hangs, or loses its etcd, under traffic: no request fails, nothing is emptied, what is
// known stays in force also for the next agent, and what changes afterwards is heard of soon. Seconds each; with
// UNDERPASS_LONG set, minutes.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "test/kube/scene.h"
#include "test/netns/services/client.h"
#include "test/netns/services/responder.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

constexpr std::uint16_t kTarget = 8080;
// The longest pause between two tries of the agent to reach the API server, and some.
constexpr auto kHeardAgain = seconds(35);

seconds outage() { return std::getenv("UNDERPASS_LONG") != nullptr ? seconds(150) : seconds(2); }

std::string allow(const std::string& account) {
  return R"({"selector": {"matchLabels": {"app": "guarded"}}, "action": "ALLOW", "rules": [{"from": [{"source": )"
         R"({"serviceAccounts": [")" +
         account + R"("]}}]}]})";
}

// Requests of one pod to a Service, each on a connection of its own, and over some that stand all the time.
class ServiceTraffic {
 public:
  ServiceTraffic(Place from, std::vector<Address> services) : from_(std::move(from)), services_(std::move(services)) {
    for (const Address& service : services_) threads_.emplace_back([this, &service] { run(service); });
  }
  ~ServiceTraffic() { stop(); }
  ServiceTraffic(const ServiceTraffic&) = delete;
  ServiceTraffic& operator=(const ServiceTraffic&) = delete;

  // Empty: none.
  [[nodiscard]] std::string failure() const {
    const std::lock_guard lock(mutex_);
    return failure_;
  }
  [[nodiscard]] std::uint64_t requests() const { return requests_.load(); }
  // Holds the present state of things for so long, unless a request fails.
  void let_run(milliseconds time) const {
    (void)eventually(time, [&] { return !failure().empty(); });
  }
  void stop() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  void run(const Address& service) {
    try {
      const Connection lasting = open_tcp(from_, service);
      if (lasting.answer.error != 0) throw std::runtime_error(lasting.answer.to_string());
      while (!stop_) {
        if (const Answer answer = ask_tcp(from_, service); answer.error != 0)
          throw std::runtime_error(answer.to_string());
        send_all(lasting.fd.get(), "ping");
        if (receive_exactly(lasting.fd.get(), 4, seconds(5)) != "ping") throw std::runtime_error("not what was sent");
        requests_ += 2;
        (void)eventually(milliseconds(2), [&] { return stop_.load(); });
      }
    } catch (const std::exception& error) {
      const std::lock_guard lock(mutex_);
      if (failure_.empty()) failure_ = service.to_string() + ": " + error.what();
    }
  }

  const Place from_;
  const std::vector<Address> services_;
  std::atomic<bool> stop_ = false;
  std::atomic<std::uint64_t> requests_ = 0;
  mutable std::mutex mutex_;
  std::string failure_;
  std::vector<std::thread> threads_;
};

// A client "a", a Service of two pods, and the pod "guarded" whom only the account "web" may dial.
//
// In a namespace of its own: the cluster's controllers wait ever longer before they try an object again that they
// failed with, as with those of an outage before. And after one they may need half a minute to watch anew.
class OutageScene {
 public:
  explicit OutageScene(std::string ns) : node(cluster), ns_(std::move(ns)), guard_(make_guard()) {
    node.start();
    for (const char* pod : {"a", "web", "evil", "web-1", "web-2", "guarded"}) node.wait_enrolled(pod);
    const bool is_served = eventually(seconds(90), [&] {
      return std::ranges::all_of(services_, [&](const Address& service) {
        return who_answers(node.at("a"), service) == std::set<std::string>{"web-1", "web-2"};
      });
    });
    REQUIRE_MESSAGE(is_served, node.describe());
    wait_allowed("web", "evil");
    traffic.emplace(node.at("a"), services_);
  }

  [[nodiscard]] bool allowed(const std::string& pod) const {
    return node.dial(pod, local_address(guard_.get())).empty();
  }
  void wait_allowed(const std::string& pod, const std::string& other, milliseconds deadline = seconds(10)) const {
    if (!eventually(deadline, [&] { return allowed(pod) && !allowed(other); }))
      throw std::runtime_error("the policy is not in force: " + node.describe());
  }
  // All is as it was told last.
  void check_unchanged() const {
    CHECK(allowed("web"));
    CHECK_FALSE(allowed("evil"));
    CHECK(node.pinned.entries("up_pods") == 6);
    CHECK(traffic->failure() == "");
  }
  // The policy says the opposite now, and soon that is so; then all is well.
  void check_heard_again() const {
    cluster.put_policy(ns_, "guard", allow("evil"));
    wait_allowed("evil", "web", kHeardAgain);
    CHECK(eventually(kHeardAgain, [&] { return node.state() == usual_state(); }));
    CHECK(node.readiness().ends_with("200"));
  }
  void check_traffic() {
    traffic->stop();
    CHECK(traffic->failure() == "");
    MESSAGE(traffic->requests(), " requests, none failed");
    CHECK(traffic->requests() > 100);
  }
  // An agent that starts now and hears of nothing leaves all as it is, and is not ready.
  void check_next_agent() {
    node.agent.kill9();
    node.launch();
    REQUIRE(eventually(seconds(20), [&] { return node.ctl.state() == "degraded"; }));
    CHECK(node.readiness().ends_with("503"));
    traffic->let_run(outage());
    CHECK(node.readiness().ends_with("503"));
    check_unchanged();
  }

  MeshCluster& cluster = MeshCluster::battered();
  KubeNode node;
  std::optional<ServiceTraffic> traffic;

 private:
  UniqueFd make_guard() {
    cluster.put(kInMesh, ns_);
    for (const char* name : {"web", "evil"})
      cluster.kube.load(
          {"apiVersion: v1\nkind: ServiceAccount\nmetadata: {namespace: " + ns_ + ", name: " + name + "}\n"});
    for (const char* name : {"a", "web", "evil", "web-1", "web-2", "guarded"}) {
      PodObject object = node.pod(ns_, name);
      const std::string text = name;
      if (text == "web" || text == "evil") object.service_account = name;
      if (text.starts_with("web-")) object.labels = {{"app", "backend"}};
      node.run(object);
    }
    for (const char* name : {"web-1", "web-2"})
      backends_.push_back(std::make_unique<Responder>(node.at(name), kTarget, name));
    cluster.put_policy(ns_, "guard", allow("web"));
    std::string service = to_yaml(ServiceObject{.ns = ns_,
                                                .name = "backend",
                                                .ports = {{.port = 80, .target = std::to_string(kTarget)}},
                                                .selector = {{"app", "backend"}}});
    const std::string spec = R"("spec":{)";
    service.insert(service.find(spec) + spec.size(), R"("ipFamilyPolicy":"PreferDualStack",)");
    cluster.kube.load({service});
    const auto made = cluster.get("/api/v1/namespaces/" + ns_ + "/services/backend");
    for (const auto& ip : made.at("spec").at("clusterIPs").as_array())
      services_.push_back(Address::of(text_of(ip), 80));
    return listen_at(node.at("guarded"), AF_INET);
  }

  const std::string ns_;
  std::vector<std::unique_ptr<Responder>> backends_;
  std::vector<Address> services_;
  UniqueFd guard_;
};

TEST_CASE("outage: the API server is killed under traffic, and comes back") {
  if (skip_without_cluster("the API server is killed")) return;
  OutageScene scene("outage-kill");
  KubeNode& node = scene.node;
  scene.cluster.kube.kill_apiserver();
  CHECK(eventually(seconds(20), [&] { return node.state() == "stale"; }));
  const auto status = node.ctl.json({"status"});
  CHECK_FALSE(status.at("staleSince").is_null());
  CHECK_FALSE(node.kind("Pod").at("staleSince").is_null());
  CHECK(text_of(node.kind("Pod").at("problem")).contains("Connection refused"));
  CHECK(node.readiness().ends_with("200"));
  scene.traffic->let_run(outage());
  scene.check_unchanged();
  CHECK(node.ctl.json({"status"}).at("staleSince") == status.at("staleSince"));
  scene.check_next_agent();

  scene.cluster.start_apiserver();
  scene.check_heard_again();
  CHECK(node.ctl.json({"status"}).at("staleSince").is_null());
  scene.check_traffic();
}

TEST_CASE("outage: the API server hangs under traffic") {
  if (skip_without_cluster("the API server hangs")) return;
  OutageScene scene("outage-hang");
  scene.cluster.kube.pause_apiserver();
  scene.traffic->let_run(outage());
  scene.check_unchanged();
  scene.check_next_agent();
  scene.cluster.kube.resume_apiserver();
  scene.check_heard_again();
  scene.check_traffic();
}

TEST_CASE("outage: etcd is killed under traffic, and comes back") {
  if (skip_without_cluster("etcd is killed")) return;
  OutageScene scene("outage-etcd");
  scene.cluster.kube.kill_etcd();
  scene.traffic->let_run(outage());
  scene.check_unchanged();
  scene.cluster.start_etcd();
  scene.cluster.kube.wait_ready();
  scene.check_heard_again();
  scene.check_traffic();
}

}  // namespace
}  // namespace underpass::test
