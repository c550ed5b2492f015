// SPDX-License-Identifier: Apache-2.0
// A cluster with Underpass installed, and a node of it with the real agent: pods are objects of the real API server,
// with status as a kubelet reports it, and beside them their sandboxes as a kubelet makes them (kubelet_pod.h). The
// agent runs in its own pod's control group, as system:serviceaccount:underpass-system:underpass-agent, with the rights
// that manifests/ give it and the flags of its DaemonSet.
#pragma once

#include <boost/json/value.hpp>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "test/support/agent.h"
#include "test/support/ctl.h"
#include "test/support/files.h"
#include "test/support/kube_cluster.h"
#include "test/support/kubelet_pod.h"
#include "test/support/objects.h"
#include "test/support/pinned.h"
#include "test/support/pod_net.h"
#include "test/support/sandbox.h"

namespace underpass::test {

inline constexpr int kFamilies[] = {AF_INET, AF_INET6};
inline constexpr const char* kAgentNamespace = "underpass-system";
inline constexpr const char* kAgentName = "underpass-agent";
inline const Settings kInMesh{.mesh = "enabled", .short_circuit = "off"};
inline const Settings kShortCircuit{.mesh = "enabled", .short_circuit = "on"};

// manifests/base and the stand-ins for Istio's two definitions, applied as they are.
class MeshCluster {
 public:
  enum class Istio { kInstalled, kAbsent };

  explicit MeshCluster(Istio istio = Istio::kInstalled, KubeCluster::Options options = {});
  // One for the cases that leave it as it was, but for namespaces of their own; made when the first asks, which must
  // not be within a Sandbox.
  static MeshCluster& shared();

  void apply_manifests() const { kube.apply_path(manifests()); }
  void remove_manifests() const;  // kubectl delete -k

  // Again after kube.kill_apiserver(). What starts while a Sandbox is there begins in its control group, and would keep
  // it from being removed: these move on.
  void start_apiserver();
  void start_etcd();
  void restart_apiserver();

  // Another one, for cases that restart it or take away what is installed; the manifests are applied again each time.
  static MeshCluster& battered();

  // Requests of an administrator, by curl, which starts faster than kubectl. They throw unless the answer is 2xx.
  [[nodiscard]] boost::json::value get(const std::string& path) const;
  void merge(const std::string& path, const std::string& patch) const;  // JSON merge patch
  void apply_istio(const std::string& kind) const;                      // "authorizationpolicies"
  void put(const Settings& settings, const std::string& ns) const;      // a Namespace
  void put_policy(const std::string& ns, const std::string& name, const std::string& spec) const;
  void remove_policy(const std::string& ns, const std::string& name) const;
  // Those about this object: "Reason: note".
  [[nodiscard]] std::vector<std::string> events_about(const std::string& kind, const std::string& ns,
                                                      const std::string& name) const;

  KubeCluster kube;

 private:
  static std::filesystem::path manifests();
  std::string ask(const std::vector<std::string>& options, const std::string& path) const;
  std::string token_;
};

class KubeNode {
 public:
  struct Options {
    KubeletLayout layout{};
    bool cni = false;
    std::vector<std::string> more{};     // further arguments of the agent
    std::filesystem::path kubeconfig{};  // empty: one of the agent's account, bound to its pod on this node
    int net = 77;                        // PodNet's number: nodes that are there together need different ones
  };

  // The Node is there; the agent is not.
  explicit KubeNode(MeshCluster& cluster) : KubeNode(cluster, Options{}) {}
  KubeNode(MeshCluster& cluster, Options options);
  KubeNode(const KubeNode&) = delete;
  KubeNode& operator=(const KubeNode&) = delete;
  ~KubeNode();

  // Within the agent's pod. start() waits for the state, and so for the API server to have told everything.
  void launch();
  void start(const std::string& state = usual_state());
  // Another agent on the same ground, as an upgrade with a surge starts it: its options, and its start. succeed(): the
  // first one has ended, and this is the node's from now on.
  [[nodiscard]] Agent::Options other_agent(const std::string& instance, const std::string& program,
                                           const std::filesystem::path& kubeconfig = {}) const;
  void launch_other(Agent& other);
  void succeed(Agent&& other) { later_ = std::make_unique<Agent>(std::move(other)); }

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] fs::path cni_conf() const { return sandbox.root() / "net.d"; }
  [[nodiscard]] fs::path cni_bin() const { return sandbox.root() / "bin"; }

  // --- pods; each name once to a node ---
  // The object as it is given, or with the addresses of its sandbox where it names none, and Ready; then the sandbox.
  const Place& run(PodObject object);
  [[nodiscard]] PodObject pod(const std::string& ns, const std::string& name) const;
  // Loads the object anew, as it is given; its UID. For a pod without a sandbox, too.
  std::string put(const PodObject& object);
  // The sandbox alone: in this namespace.
  void start_sandbox(const std::string& name, const std::string& netns);
  // A network namespace, at an address of its own or at this one, that another had.
  const Place& new_place(const std::string& place, const std::optional<Place>& address = {});
  // Another sandbox instead, as after the death of one, at a new place. The object is as before.
  const Place& recreate(const std::string& name, const std::string& place, const std::optional<Place>& address = {});
  void stop_sandboxes();
  // The sandbox ends, and the object goes with it.
  void end(const std::string& name);
  [[nodiscard]] const Place& at(const std::string& name) const { return net.at(name); }
  // For what runs in the pod: its sockets are made in its control group.
  [[nodiscard]] Place inside(const std::string& name) const;
  [[nodiscard]] KubeletPod& sandbox_of(const std::string& name) { return *pods_.at(name).sandbox; }
  [[nodiscard]] const std::string& uid(const std::string& name) const { return pods_.at(name).uid; }

  // --- what the agent does ---
  // In the kernel's own table.
  [[nodiscard]] bool has_row(NetnsCookie cookie) const;
  [[nodiscard]] bool enrolled(const std::string& place) const;
  void wait_enrolled(const std::string& place) const;  // throws with what `underpassctl pods` says
  void wait_left(const std::string& place) const;
  // What `underpassctl pods` says of it; waits until it has a reason that contains `text`.
  void wait_refused(const std::string& pod, const std::string& text) const;
  [[nodiscard]] std::string state() const { return ctl.state(); }
  // Of `status`.source; null where the kind is not there.
  [[nodiscard]] boost::json::value kind(const std::string& kind) const;
  // The answer of --ready: "200", "503 …".
  [[nodiscard]] std::string readiness() const;
  // What everything says, for a failure.
  [[nodiscard]] std::string describe() const;

  // --- connections, made by sockets within the pod's control group ---
  // "direct", "short-circuit" or "proxied" as `connections` says; "unknown" to it; "refused".
  [[nodiscard]] std::string way(const std::string& from, const std::string& to, int family = AF_INET) const;
  // How connect() to this address ends for a new socket of `from`: empty: well.
  [[nodiscard]] std::string dial(const std::string& from, const Address& to) const;

  MeshCluster& cluster;
  Sandbox sandbox;
  PodNet net;
  Ctl ctl{sandbox};
  Pinned pinned{sandbox};

 private:
  struct Pod {
    PodObject object;
    std::string uid;
    std::unique_ptr<KubeletPod> sandbox;
  };
  [[nodiscard]] const Pod* pod_at(const std::string& place) const;

  std::string name_;
  Options options_;
  KubeletPod agent_pod_;
  std::map<std::string, Pod> pods_;
  std::unique_ptr<Agent> later_;
  std::map<std::string, std::string> places_;  // of later sandboxes: whose they are

 public:
  Agent agent;
};

}  // namespace underpass::test
