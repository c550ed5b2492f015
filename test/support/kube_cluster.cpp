// SPDX-License-Identifier: Apache-2.0
#include "test/support/kube_cluster.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <iostream>
#include <map>
#include <random>
#include <sstream>
#include <utility>

#include "test/support/files.h"
#include "test/support/traces.h"

namespace underpass::test {
namespace {

namespace json = boost::json;

constexpr auto kBuild = seconds(900);
constexpr int kUnavailable = 3;  // exit code of test/kube/build

const fs::path kSource = UNDERPASS_SOURCE_DIR;
const fs::path kProgram = kSource / "build/kube/cluster";

std::string find_reason() {
  try {
    run_ok({.argv = {"etcd", "--version"}});
  } catch (const std::exception& e) {
    return std::string(e.what()) + "; run ./scripts/setup";
  }
  const Finished built = run({.argv = {kSource / "test/kube/build"}}, kBuild);
  if (built.exit.ok()) return "";
  if (built.exit.code == kUnavailable) return built.err.substr(0, built.err.find('\n'));
  throw std::runtime_error("test/kube/build: " + built.exit.to_string() + ": " + built.err);
}

bool can_bind(const std::string& address, int port) {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET, address.c_str(), &to.sin_addr);
  return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
}

// Below the ephemeral ports: nobody's connection may take it while the server is down.
int free_port(const std::string& address) {
  static std::mt19937 random(std::random_device{}());
  std::uniform_int_distribution<int> ports(20000, 32000);
  for (int tries = 0; tries < 1000; ++tries) {
    const int port = ports(random);
    if (can_bind(address, port)) return port;
  }
  throw std::runtime_error("no free port of " + address + " between 20000 and 32000");
}

fs::path make_root() {
  static int n = 0;
  fs::path root = fs::temp_directory_path() / (sandbox_prefix(::getpid()) + "kube-" + std::to_string(n++));
  fs::create_directories(root);
  fs::permissions(root, fs::perms::owner_all);
  return root;
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ",") + word;
  return out;
}

std::string stream_of(const std::vector<std::string>& documents) {
  std::string out;
  for (const std::string& document : documents) {
    out += "---\n" + document;
    if (!out.ends_with('\n')) out += '\n';
  }
  return out;
}

std::string text(const json::object& object, const char* key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : "";
}

Loaded loaded_of(const std::string& line) {
  const json::object object = json::parse(line).as_object();
  return {text(object, "kind"), text(object, "namespace"), text(object, "name"), text(object, "uid")};
}

// The files as a kubelet lays a projected volume out: links through ..data, which is moved in one step.
void project(const fs::path& folder, const std::map<std::string, std::string>& files) {
  const bool again = fs::is_symlink(folder / "..data");
  const fs::path before = again ? fs::read_symlink(folder / "..data") : fs::path();
  const fs::path now = before == "..one" ? "..two" : "..one";
  fs::create_directory(folder / now);
  for (const auto& [name, content] : files) {
    write_atomically(folder / now / name, content);
    if (!again) fs::create_symlink(fs::path("..data") / name, folder / name);
  }
  fs::create_symlink(now, folder / "..data_tmp");
  fs::rename(folder / "..data_tmp", folder / "..data");
  if (again) fs::remove_all(folder / before);
}

std::string without_newline(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

std::string state_of(Process& process) {
  const std::optional<Exit> exit = process.wait(milliseconds(0));
  const std::string log = process.err();
  return (exit ? exit->to_string() : "runs") + ": " + log.substr(log.size() - std::min<std::size_t>(log.size(), 3000));
}

}  // namespace

const std::string& cluster_unavailable() {
  static const std::string reason = find_reason();
  return reason;
}

bool skip_without_cluster(const std::string& what) {
  if (cluster_unavailable().empty()) return false;
  std::cout << "SKIPPED: " << what << ": " << cluster_unavailable() << '\n';
  return true;
}

KubeCluster::KubeCluster(Options options) : options_(std::move(options)) {
  if (!cluster_unavailable().empty()) throw std::runtime_error("no cluster: " + cluster_unavailable());
  root_ = make_root();
  try {
    start();
  } catch (...) {
    stop();
    throw;
  }
}

KubeCluster::~KubeCluster() { stop(); }

void KubeCluster::stop() {
  for (std::optional<Process>* process : {&controllers_, &apiserver_, &etcd_})
    if (*process) (*process)->kill();
  std::error_code ignored;
  fs::remove_all(root_, ignored);
}

// Somebody may take a port between our look and the server's bind: then it ends at once, and there are others.
void KubeCluster::start() {
  for (int tries = 3;; --tries) {
    port_ = free_port(options_.address);
    etcd_port_ = free_port("127.0.0.1");
    etcd_peer_port_ = free_port("127.0.0.1");
    write_ground();
    start_etcd();
    launch_apiserver();
    try {
      wait_ready();
      break;
    } catch (const std::exception&) {
      const bool taken = !apiserver_->running() || !etcd_->running();
      if (!taken || tries == 1) throw;
      for (std::optional<Process>* process : {&apiserver_, &etcd_}) (*process)->kill();
      fs::remove_all(root_ / "etcd");
    }
  }
  if (!options_.controllers) return;
  controllers_.emplace(Command{.argv = {kProgram, "controllers", "--kubeconfig", admin(), "--root-ca-file", ca()}});
  wait_ready();
}

// Keys, the administrator, and what the API server reads. Only its health may be asked by somebody without a name.
void KubeCluster::write_ground() const {
  fs::create_directories(root_ / "pki");
  std::vector<std::string> hosts{"localhost", "kubernetes", "kubernetes.default.svc", "10.96.0.1", options_.address};
  hosts.insert(hosts.end(), options_.hosts.begin(), options_.hosts.end());
  run_ok({.argv = {kProgram, "pki", "--dir", root_ / "pki", "--host", joined(hosts)}});
  run_ok({.argv = {kProgram, "client", "--dir", root_ / "pki", "--server", server(), "--user", "kubernetes-admin",
                   "--group", "system:masters", "--lifetime", "168h", "--kubeconfig", admin()}});
  write_atomically(root_ / "authentication.yaml", R"(apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous:
  enabled: true
  conditions: [{path: /livez}, {path: /readyz}, {path: /healthz}]
)");
}

void KubeCluster::start_etcd() {
  const std::string client = "http://127.0.0.1:" + std::to_string(etcd_port_);
  const std::string peer = "http://127.0.0.1:" + std::to_string(etcd_peer_port_);
  etcd_.emplace(Command{.argv = {"etcd",
                                 "--unsafe-no-fsync",
                                 "--data-dir",
                                 root_ / "etcd",
                                 "--listen-client-urls",
                                 client,
                                 "--advertise-client-urls",
                                 client,
                                 "--listen-peer-urls",
                                 peer,
                                 "--initial-advertise-peer-urls",
                                 peer,
                                 "--initial-cluster",
                                 "default=" + peer,
                                 "--logger",
                                 "zap",
                                 "--log-outputs",
                                 "stderr",
                                 "--log-level",
                                 "warn"}});
}

void KubeCluster::launch_apiserver() {
  const fs::path pki = root_ / "pki";
  std::vector<std::string> argv{kProgram,
                                "apiserver",
                                "--etcd-servers",
                                "http://127.0.0.1:" + std::to_string(etcd_port_),
                                "--secure-port",
                                std::to_string(port_),
                                "--bind-address",
                                options_.address,
                                "--advertise-address",
                                options_.address,
                                "--tls-cert-file",
                                pki / "apiserver.crt",
                                "--tls-private-key-file",
                                pki / "apiserver.key",
                                "--client-ca-file",
                                ca(),
                                "--service-account-issuer",
                                "https://kubernetes.default.svc",
                                "--service-account-signing-key-file",
                                pki / "sa.key",
                                "--service-account-key-file",
                                pki / "sa.key",
                                "--service-cluster-ip-range",
                                "10.96.0.0/16,fd00:10:96::/112",
                                "--authorization-mode",
                                "Node,RBAC",
                                "--authentication-config",
                                root_ / "authentication.yaml",
                                "--allow-privileged",
                                "--endpoint-reconciler-type",
                                "none",
                                "--profiling=false"};
  argv.insert(argv.end(), options_.apiserver.begin(), options_.apiserver.end());
  apiserver_.emplace(Command{.argv = std::move(argv)});
}

void KubeCluster::start_apiserver() {
  launch_apiserver();
  wait_ready();
}

void KubeCluster::wait_ready(milliseconds deadline) {
  Process waiting(
      {.argv = {kProgram, "wait", "--kubeconfig", admin(), "--deadline", std::to_string(deadline.count()) + "ms"}});
  std::optional<Exit> exit;
  const bool told = eventually(deadline + seconds(5), [&] {
    exit = waiting.wait(milliseconds(0));
    return exit || !apiserver_->running() || !etcd_->running();
  });
  if (told && exit && exit->ok()) return;
  throw std::runtime_error("the API server is not ready: " + waiting.err() + "\napiserver " + state_of(*apiserver_) +
                           "\netcd " + state_of(*etcd_));
}

std::string KubeCluster::server() const { return "https://" + options_.address + ":" + std::to_string(port_); }

fs::path KubeCluster::certificate_of(const std::string& user, const std::vector<std::string>& groups,
                                     seconds lifetime) {
  const fs::path file = next_path(".kubeconfig");
  std::vector<std::string> argv{
      kProgram,       "client", "--dir", root_ / "pki", "--server",
      server(),       "--user", user,    "--lifetime",  std::to_string(lifetime.count()) + "s",
      "--kubeconfig", file};
  if (!groups.empty()) argv.insert(argv.end(), {"--group", joined(groups)});
  run_ok({.argv = std::move(argv)});
  return file;
}

std::string KubeCluster::token_of(const std::string& ns, const std::string& account,
                                  const TokenOptions& options) const {
  std::vector<std::string> arguments{
      "create", "token", account, "-n", ns, "--duration", std::to_string(options.lifetime.count()) + "s"};
  if (!options.pod.empty())
    arguments.insert(arguments.end(), {"--bound-object-kind", "Pod", "--bound-object-name", options.pod});
  for (const std::string& audience : options.audiences) arguments.insert(arguments.end(), {"--audience", audience});
  Finished done;
  // The account of a new namespace may still be on its way.
  (void)eventually(seconds(10), [&] {
    done = try_kubectl(arguments);
    return done.exit.ok() || done.err.find("not found") == std::string::npos;
  });
  if (!done.exit.ok()) throw std::runtime_error("token of " + ns + "/" + account + ": " + done.err);
  return without_newline(done.out);
}

std::string KubeCluster::signed_token_of(const std::string& ns, const std::string& account, seconds lifetime) const {
  return without_newline(
      run_ok({.argv = {kProgram, "token", "--kubeconfig", admin(), "--dir", root_ / "pki", "--namespace", ns,
                       "--account", account, "--lifetime", std::to_string(lifetime.count()) + "s"}}));
}

fs::path KubeCluster::kubeconfig_with(const std::string& token, bool as_file) {
  const fs::path file = next_path(".kubeconfig");
  std::string user = "token: " + token;
  if (as_file) {
    const fs::path token_file = fs::path(file).replace_extension(".token");
    write_atomically(token_file, token);
    user = "tokenFile: " + token_file.string();
  }
  write_atomically(file,
                   "apiVersion: v1\nkind: Config\ncurrent-context: test\ncontexts:\n- name: test\n  context: "
                   "{cluster: test, user: test}\nclusters:\n- name: test\n  cluster:\n    server: " +
                       server() + "\n    certificate-authority: " + ca().string() +
                       "\nusers:\n- name: test\n  user:\n    " + user + "\n");
  return file;
}

fs::path KubeCluster::kubeconfig_of(const std::string& ns, const std::string& account, const TokenOptions& options) {
  return kubeconfig_with(token_of(ns, account, options));
}

InCluster KubeCluster::in_cluster(const std::string& ns, const std::string& account, const TokenOptions& options) {
  const InCluster place{
      .folder = next_path(""),
      .env = {"KUBERNETES_SERVICE_HOST=" + options_.address, "KUBERNETES_SERVICE_PORT=" + std::to_string(port_)}};
  fs::create_directories(place.folder);
  project(place.folder, {{"token", token_of(ns, account, options)}, {"ca.crt", read_file(ca())}, {"namespace", ns}});
  return place;
}

void KubeCluster::replace_token(const fs::path& file, const std::string& token) {
  if (!fs::is_symlink(file)) return write_atomically(file, token);
  const fs::path folder = file.parent_path();
  project(folder,
          {{"token", token}, {"ca.crt", read_file(folder / "ca.crt")}, {"namespace", read_file(folder / "namespace")}});
}

Finished KubeCluster::try_kubectl(const std::vector<std::string>& arguments, const std::string& input,
                                  milliseconds deadline) const {
  return run(kubectl_command(arguments, input), deadline);
}

std::string KubeCluster::kubectl(const std::vector<std::string>& arguments, const std::string& input,
                                 milliseconds deadline) const {
  return run_ok(kubectl_command(arguments, input), deadline);
}

// What kubectl discovers it keeps in a folder, and must not find there what another cluster had at this port.
Command KubeCluster::kubectl_command(const std::vector<std::string>& arguments, const std::string& input) const {
  std::vector<std::string> argv{kProgram, "kubectl"};
  if (std::ranges::find(arguments, "--kubeconfig") == arguments.end())
    argv.insert(argv.end(), {"--kubeconfig", admin()});
  argv.insert(argv.end(), {"--cache-dir", root_ / "kubectl"});
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return {.argv = std::move(argv), .env = {"KUBERC=off"}, .input = input};
}

void KubeCluster::apply(const std::string& yaml) const { kubectl({"apply", "--server-side", "-f", "-"}, yaml); }

void KubeCluster::apply_path(const fs::path& path) const {
  const bool kustomized = fs::exists(path / "kustomization.yaml");
  kubectl({"apply", "--server-side", kustomized ? "-k" : "-f", path});
}

std::vector<Loaded> KubeCluster::load(const std::vector<std::string>& documents) const {
  std::vector<Loaded> out;
  std::istringstream lines(run_load(documents, {}));
  for (std::string line; std::getline(lines, line);) out.push_back(loaded_of(line));
  return out;
}

void KubeCluster::remove(const std::vector<std::string>& documents, seconds grace) const {
  run_load(documents, {"--delete", "--grace", std::to_string(grace.count())});
}

std::string KubeCluster::run_load(const std::vector<std::string>& documents,
                                  const std::vector<std::string>& more) const {
  Command command{.argv = {kProgram, "load", "--kubeconfig", admin()}, .input = stream_of(documents)};
  command.argv.insert(command.argv.end(), more.begin(), more.end());
  const Finished done = run(command, seconds(30) + milliseconds(50) * documents.size());
  if (!done.exit.ok()) throw std::runtime_error("load: " + done.exit.to_string() + ": " + done.err);
  return done.out;
}

Command KubeCluster::churn(const std::vector<std::string>& arguments) const {
  Command command{.argv = {kProgram, "churn", "--kubeconfig", admin()}};
  command.argv.insert(command.argv.end(), arguments.begin(), arguments.end());
  return command;
}

fs::path KubeCluster::next_path(const std::string& extension) {
  return root_ / ("identity-" + std::to_string(files_++) + extension);
}

}  // namespace underpass::test
