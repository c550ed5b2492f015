// SPDX-License-Identifier: Apache-2.0
// A cluster of its own for a test: etcd, the real kube-apiserver with RBAC and real service-account tokens, and the
// controllers whose work an agent sees, all on loopback and gone with the object. There is no kubelet and no scheduler:
// nodes, and pods with their status, are objects that the test loads, and who deletes a pod with grace ends it himself
// (remove()). What is run is built by test/kube/build.
//
//   if (skip_without_cluster("pods are listed")) return;
//   KubeCluster cluster;
//   cluster.load({to_yaml(NamespaceObject{"shop"}), to_yaml(NodeObject{"n1", {"192.0.2.1"}}),
//                 to_yaml(PodObject{.ns = "shop", .name = "web", .node = "n1", .ips = {"10.1.0.1"}})});
//   agent … --kubeconfig cluster.kubeconfig_of("underpass", "agent")
#pragma once

#include <csignal>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "test/support/process.h"

namespace underpass::test {

// Why no cluster can run here: no Go, no etcd. Empty: one can. The first call builds it, which may take minutes, and
// throws if that fails for a reason that is ours.
const std::string& cluster_unavailable();
// True where none can run; then it has printed "SKIPPED: what: why".
bool skip_without_cluster(const std::string& what);

struct TokenOptions {
  seconds lifetime{3600};                // the API server gives none for less than ten minutes
  std::string pod{};                     // bound to this pod of the namespace: invalid once the pod is gone
  std::vector<std::string> audiences{};  // empty: the API server itself
};

// What a container finds of its service account.
struct InCluster {
  std::filesystem::path folder;  // token, ca.crt, namespace
  std::vector<std::string> env;  // KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT
};

// Of an object that was loaded.
struct Loaded {
  std::string kind;
  std::string ns;
  std::string name;
  std::string uid;
};

class KubeCluster {
 public:
  struct Options {
    bool controllers = true;               // without: no ServiceAccount default, no endpoint slices, nothing collected
    std::vector<std::string> apiserver{};  // further flags
    std::vector<std::string> hosts{};      // further names and addresses in the server's certificate
    std::string address = "127.0.0.1";     // where the API server listens
  };

  // Ready when it returns.
  KubeCluster() : KubeCluster(Options{}) {}
  explicit KubeCluster(Options options);
  KubeCluster(const KubeCluster&) = delete;
  KubeCluster& operator=(const KubeCluster&) = delete;
  ~KubeCluster();

  [[nodiscard]] std::string server() const;  // https://127.0.0.1:PORT
  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] std::filesystem::path root() const { return root_; }  // a temporary folder: put what you like there
  [[nodiscard]] std::filesystem::path ca() const { return root_ / "pki" / "ca.crt"; }

  // --- who asks ---
  // Client certificate of the group system:masters, for whom RBAC is not asked.
  [[nodiscard]] std::filesystem::path admin() const { return root_ / "admin.kubeconfig"; }
  // A client certificate of anybody; with a negative lifetime it has expired.
  std::filesystem::path certificate_of(const std::string& user, const std::vector<std::string>& groups,
                                       seconds lifetime = seconds(3600));
  // A token as a kubelet would ask for it (TokenRequest). The service account must be there.
  std::string token_of(const std::string& ns, const std::string& account, const TokenOptions& options = {}) const;
  // The same, signed with the server's key by ourselves, of any lifetime: the server allows a minute of clock skew, and
  // remembers for ten seconds what it has found valid.
  std::string signed_token_of(const std::string& ns, const std::string& account, seconds lifetime) const;
  // A kubeconfig with this token; where `as_file`, with the name of a file that holds it, <kubeconfig minus
  // extension>.token (replace_token()).
  std::filesystem::path kubeconfig_with(const std::string& token, bool as_file = false);
  std::filesystem::path kubeconfig_of(const std::string& ns, const std::string& account,
                                      const TokenOptions& options = {});
  InCluster in_cluster(const std::string& ns, const std::string& account, const TokenOptions& options = {});
  // As a kubelet renews the token of in_cluster(), or a file of its own: in one step.
  static void replace_token(const std::filesystem::path& file, const std::string& token);

  // --- objects ---
  // The real kubectl, as admin. kubectl() throws unless it ends with 0, and returns what it printed.
  std::string kubectl(const std::vector<std::string>& arguments, const std::string& input = "",
                      milliseconds deadline = seconds(60)) const;
  Finished try_kubectl(const std::vector<std::string>& arguments, const std::string& input = "",
                       milliseconds deadline = seconds(60)) const;
  // kubectl apply --server-side: YAML, a file or folder of it, or a folder with a kustomization.
  void apply(const std::string& yaml) const;
  void apply_path(const std::filesystem::path& path) const;
  // Creates or replaces objects together with their status, many at a time; hundreds a second. Each string is one or
  // more YAML documents; unlike in a folder, a pod is Ready only if its document says so. What an earlier load() has
  // written and these do not hold is taken away. In the order of the documents.
  std::vector<Loaded> load(const std::vector<std::string>& documents) const;
  // Deletes them (status and spec do not matter), at once; with `grace` a pod of a node only gets its
  // deletionTimestamp, and stays until it is removed once more without.
  void remove(const std::vector<std::string>& documents, seconds grace = seconds(0)) const;
  // Changes of the pods and slices that are there: `rate` a second, as the arguments of `cluster churn` say. Start it
  // yourself where the test goes on meanwhile: Process(churn({"--rate", "50", "--duration", "60s"})).
  [[nodiscard]] Command churn(const std::vector<std::string>& arguments) const;

  // --- outages: the port and the data stay ---
  void pause_apiserver() { apiserver_->signal(SIGSTOP); }  // connections stay open and nothing is answered
  void resume_apiserver() { apiserver_->signal(SIGCONT); }
  void kill_apiserver() { apiserver_->kill(); }
  void start_apiserver();  // after kill; ready when it returns
  void pause_etcd() { etcd_->signal(SIGSTOP); }
  void resume_etcd() { etcd_->signal(SIGCONT); }
  void kill_etcd() { etcd_->kill(); }
  void start_etcd();
  void wait_ready(milliseconds deadline = seconds(60));

  [[nodiscard]] std::string apiserver_log() const { return apiserver_->err(); }  // since its last start
  [[nodiscard]] pid_t apiserver_pid() const { return apiserver_->pid(); }
  [[nodiscard]] pid_t etcd_pid() const { return etcd_->pid(); }

 private:
  void start();
  void stop();
  void write_ground() const;
  void launch_apiserver();
  [[nodiscard]] Command kubectl_command(const std::vector<std::string>& arguments, const std::string& input) const;
  std::string run_load(const std::vector<std::string>& documents, const std::vector<std::string>& more) const;
  std::filesystem::path next_path(const std::string& extension);

  Options options_;
  std::filesystem::path root_;
  int port_ = 0;
  int etcd_port_ = 0;
  int etcd_peer_port_ = 0;
  int files_ = 0;  // kubeconfigs and folders that were made
  std::optional<Process> etcd_;
  std::optional<Process> apiserver_;
  std::optional<Process> controllers_;
};

}  // namespace underpass::test
