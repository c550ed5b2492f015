// SPDX-License-Identifier: Apache-2.0
// Every kubectl line of the pages about Kubernetes is run against a real API server, in the order in which it stands
// there, but for those that remove everything, which come last. There are no running pods and no revisions of them: of
// lines that need some, kubectl reads the arguments, and looks for a server that is not there; and what they would
// start in a pod must be a command of underpassctl.
#include <doctest/doctest.h>

#include <algorithm>
#include <iostream>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "test/kube/scene.h"

namespace underpass::test {
namespace {

const fs::path kTop = fs::path(UNDERPASS_MANIFESTS).parent_path();

struct Page {
  std::vector<std::string> commands;  // lines of fenced blocks that begin with kubectl
  std::vector<std::string> removal;   // those of the section "Remove"
};

Page read_page(const fs::path& path) {
  Page out;
  std::istringstream lines(read_file(path));
  bool fenced = false, removes = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) fenced = !fenced;
    if (!fenced && line.starts_with("## ")) removes = line == "## Remove";
    if (fenced && line.starts_with("kubectl ")) (removes ? out.removal : out.commands).push_back(line);
  }
  return out;
}

std::string with(std::string line, std::string_view placeholder, std::string_view value) {
  for (std::size_t at = 0; (at = line.find(placeholder, at)) != std::string::npos; at += value.size()) {
    const auto end = at + placeholder.size();
    const bool is_word =
        (at == 0 || line[at - 1] == ' ' || line[at - 1] == '=') && (end == line.size() || line[end] == ' ');
    if (is_word) line.replace(at, placeholder.size(), value);
  }
  return line;
}

bool needs_running_pods(const std::string& line) {
  constexpr std::string_view kVerbs[] = {"exec ", "logs ", "port-forward ", "rollout status ", "rollout undo "};
  return std::ranges::any_of(kVerbs, [&](auto verb) { return line.starts_with("kubectl " + std::string(verb)); });
}

// A folder in which the lines find what they name, and a kubectl that asks this cluster.
class Desk {
 public:
  explicit Desk(const MeshCluster& cluster) : folder_(cluster.kube.root() / "desk") {
    fs::create_directories(folder_ / "bin");
    write_atomically(folder_ / "bin/kubectl", "#!/bin/sh\nexec " + (kTop / "build/kube/cluster").string() +
                                                  " kubectl --kubeconfig " + cluster.kube.admin().string() +
                                                  " --cache-dir " + (folder_ / "cache").string() + " \"$@\"\n");
    fs::permissions(folder_ / "bin/kubectl", fs::perms::owner_all);
    fs::create_directory_symlink(kTop / "manifests", folder_ / "manifests");
    for (const std::string file : {"root-cert", "ca-cert", "cert-chain", "ca-key"})
      write_atomically(folder_ / (file + ".pem"), "what the page is not about\n");
  }

  [[nodiscard]] Finished run_line(const std::string& line) const {
    return run({.argv = {"bash", "-o", "pipefail", "-c",
                         "cd " + folder_.string() + " && PATH=" + (folder_ / "bin").string() + ":$PATH && " + line},
                .env = {"KUBERC=off"}},
               seconds(90));
  }

 private:
  fs::path folder_;
};

// What is behind "--" is understood, in folders where nothing is that it could be about.
void check_underpassctl(const std::string& line, const fs::path& nowhere) {
  const std::string start = " -- underpassctl ";
  const auto at = line.find(start);
  if (at == std::string::npos) return;
  constexpr int kUsage = 2;
  const auto done =
      run({.argv = {"bash", "-c",
                    built_program("underpassctl").string() + " " + line.substr(at + start.size()) + " --run-dir " +
                        nowhere.string() + " --bpffs " + nowhere.string() + " --state-dir " + nowhere.string()}});
  CHECK_MESSAGE((done.exit.code >= 0 && done.exit.code != kUsage),
                line << ": " << done.exit.to_string() << ": " << done.err);
}

TEST_CASE("docs: every kubectl line of the pages about Kubernetes can be run") {
  if (skip_without_cluster("the pages' commands")) return;
  const MeshCluster& cluster = MeshCluster::battered();
  const Desk desk(cluster);
  cluster.kube.load({to_yaml(NamespaceObject{"shop"}), to_yaml(NodeObject{"docs-node", {"192.0.2.1"}}),
                     to_yaml(PodObject{.ns = "shop", .name = "web", .node = "docs-node", .ips = {"10.1.0.1"}})});
  // What controllers of other cases have left.
  cluster.kube.kubectl(
      {"delete", "-n", "underpass-system", "secret/underpass-ca", "lease/underpass-controller", "--ignore-not-found"});
  cluster.kube.kubectl({"delete", "-n", "underpass-system", "configmap/underpass-trust-bundle", "--ignore-not-found"});
  // As a controller would.
  cluster.kube.apply(
      "apiVersion: coordination.k8s.io/v1\nkind: Lease\n"
      "metadata: {namespace: underpass-system, name: underpass-controller}\n");
  std::vector<std::string> lines, last;
  for (const std::string name : {"README.md", "manifests/README.md", "docs/kubernetes.md"}) {
    const Page page = read_page(kTop / name);
    lines.insert(lines.end(), page.commands.begin(), page.commands.end());
    last.insert(last.end(), page.removal.begin(), page.removal.end());
  }
  CHECK(last.size() == 3);
  lines.insert(lines.end(), last.begin(), last.end());
  std::set<std::string> seen;  // a line that stands there twice says nothing new
  std::erase_if(lines, [&](const std::string& line) { return !seen.insert(line).second; });
  int asked = 0, parsed = 0;
  for (const std::string& written : lines) {
    const std::string line = with(with(written, "NODE", "docs-node"), "POD", "docs-pod");
    const bool pods = needs_running_pods(line);
    ++(pods ? parsed : asked);
    if (pods) {
      const auto done = desk.run_line("kubectl --server https://127.0.0.1:1" + line.substr(line.find(' ')));
      CHECK_MESSAGE(done.err.contains("127.0.0.1:1 was refused"), written << ": " << done.err);
      check_underpassctl(line, cluster.kube.root() / "nowhere");
      continue;
    }
    const auto done = desk.run_line(line);
    const bool differs = line.starts_with("kubectl diff ") && done.exit.code == 1;
    CHECK_MESSAGE((done.exit.ok() || differs), written << ": " << done.exit.to_string() << ": " << done.err);
  }
  CHECK(asked > 30);
  CHECK(parsed > 10);
  std::cout << parsed << " kubectl lines need pods that run or have run: their arguments were read\n";
  const auto left = desk.run_line("kubectl get crd,ns,clusterroles,csr,validatingadmissionpolicies -o name");
  CHECK_MESSAGE(!left.out.contains("underpass"), left.out);
  cluster.kube.kubectl({"delete", "namespace", "istio-system", "shop", "--wait=false"});
  cluster.kube.kubectl({"delete", "node", "docs-node"});
}

}  // namespace
}  // namespace underpass::test
