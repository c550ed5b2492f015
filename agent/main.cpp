// SPDX-License-Identifier: Apache-2.0
// underpassd: flags, logging, signals; everything else is agent.h.
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "agent/agent.h"
#include "agent/controller_process.h"
#include "agent/flags.h"
#include "agent/takeover.h"

namespace {

const std::map<std::string, underpass::dataplane::Watchpoints> kWatchpoints{
    {"auto", underpass::dataplane::Watchpoints::kAuto},
    {"always", underpass::dataplane::Watchpoints::kAlways},
    {"never", underpass::dataplane::Watchpoints::kNever}};
constexpr const char* kWithoutAgent = "note=\"this node has no agent until one is started\"";
constexpr std::string_view kDir = "dir:";
constexpr std::string_view kKubernetes = "kubernetes";

std::string beside_this_binary(const std::string& name) {
  std::error_code error;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? name : (own.parent_path() / name).string();
}

// Flags as they are given, where AgentOptions has another form.
struct Given {
  std::string source;
  std::string unknown_pods = "allow";
  std::string jwks_private = "deny";
  std::string cni;  // empty: by the source
  std::string ca;   // empty: by the source
  std::string trust_bundle = "underpass-system/underpass-trust-bundle";
  std::string daemon_set;
  std::string log_level = "info";
  std::int64_t certificate_lifetime = 0;  // seconds; 0: not given
  std::int64_t root_overlap = 0;
};

void describe(CLI::App& app, underpass::AgentOptions& options, Given& given) {
  app.description(
      "underpassd - the agent of the Underpass service mesh, one per node.\n\n"
      "It loads BPF programs that decide every connection of the enrolled pods at connect() and move the payload of\n"
      "same-node connections socket to socket. What it loads is pinned and goes on working when the agent stops;\n"
      "`underpassctl detach` takes it away.\n\n"
      "`underpassd controller` is the cluster's helper, and has flags of its own: underpassd controller --help.");
  app.set_version_flag("--version", std::string("underpassd ") + UNDERPASS_VERSION);
  app.add_option("--source", given.source,
                 "Where the Kubernetes objects come from: dir:PATH reads and watches the *.yaml files of a folder; "
                 "kubernetes lists and watches those of an API server.")
      ->required()
      ->check(
          [](const std::string& text) -> std::string {
            const bool known = text == kKubernetes || (text.starts_with(kDir) && text != kDir);
            return known ? "" : text + ": must be dir:PATH or kubernetes";
          },
          "", "source");
  app.add_option("--kubeconfig", options.kubeconfig,
                 "Whom to ask with --source kubernetes, and as whom. Default: the service account of the agent's pod.")
      ->check(CLI::ExistingFile);
  app.add_option("--node-name", options.node_name, "Which pods are local: those with this spec.nodeName.")
      ->capture_default_str();
  app.add_option("--cgroup-root", options.cgroup_root,
                 "Attach here; only sockets made below it are seen. Default: the cgroup2 mount found in /proc/mounts.");
  app.add_option(
      "--pods-cgroup", options.pods_cgroup,
      "Below it are all pods, those that use the host's network too. The node's own processes are outside, and "
      "reach the ports of probes whatever the policy. Default: with --source kubernetes the kubelet's (kubepods) "
      "below the --cgroup-root; else, and where there is none, the --cgroup-root, so nobody is outside.");
  app.add_option(
         "--unknown-pods", given.unknown_pods,
         "allow or deny: may a process below --pods-cgroup connect while its network namespace is of no pod that "
         "the agent knows?")
      ->capture_default_str()
      ->check(CLI::IsMember({"allow", "deny"}));
  app.add_option(
         "--jwks-private", given.jwks_private,
         "allow or deny: may the keys of token issuers (jwksUri) be fetched from private addresses? Services of "
         "the cluster may always; loopback, link-local and the node's own addresses never.")
      ->capture_default_str()
      ->check(CLI::IsMember({"allow", "deny"}));
  app.add_option("--cni", given.cni,
                 "on: install the chained CNI plugin underpass-cni on this node, so that pods are in the mesh before "
                 "their first process; off: leave the node's CNI configuration alone. Default: on with --source "
                 "kubernetes.")
      ->check(CLI::IsMember({"on", "off"}));
  app.add_option("--cni-bin-dir", options.cni_bin_dir, "Where the container runtime looks for CNI plugins.")
      ->capture_default_str();
  app.add_option("--cni-conf-dir", options.cni_conf_dir, "Where it looks for their configuration.")
      ->capture_default_str();
  app.add_option(
      "--instance", options.instance,
      "Of this agent, another than that of every other one on the node, such as the UID of its pod. With it, an "
      "agent that is there already is asked to retire, as soon as this one could work.");
  app.add_option("--daemon-set", given.daemon_set,
                 "NAMESPACE/NAME of the agent's own DaemonSet. If it is deleted when the agent is told to stop, "
                 "everything is taken off the node; else what is pinned stays for the next agent.")
      ->check(underpass::is_namespaced_name, "name");
  app.add_option("--proxy", options.proxy,
                 "The workers' program, of the same version. Started when a pod first needs one. Default: the "
                 "underpass-proxy beside this program.");
  app.add_option("--bpffs", options.bpffs, "A bpffs, or a folder of one; the pins go into its subfolder underpass/.")
      ->capture_default_str();
  app.add_option("--run-dir", options.run_dir, "For the admin socket.")->capture_default_str();
  app.add_option("--state-dir", options.state_dir, "For what must outlive a reboot.")->capture_default_str();
  app.add_option("--ca", given.ca,
                 "kubernetes: certificates are asked for by CertificateSigningRequests, which `underpassd controller` "
                 "signs; folder: an authority in the --ca-dir. Default: kubernetes with --source kubernetes.")
      ->check(CLI::IsMember({"kubernetes", "folder"}));
  app.add_option("--trust-bundle", given.trust_bundle,
                 "NAMESPACE/NAME of the ConfigMap into which the controller writes whom to believe.")
      ->capture_default_str()
      ->check(underpass::is_namespaced_name, "name");
  app.add_option(
      "--ca-dir", options.ca_dir,
      "With --ca folder, the certificate authority of the mesh: an operator's files, or made here when it is "
      "first needed. Agents of one mesh may share it. Default: ca in the --state-dir.");
  underpass::add_seconds(app, "--certificate-lifetime", given.certificate_lifetime, "24h", underpass::kShortestLifetime,
                         "How long the certificate of a pod is valid, the same for all agents: 12h, 90m, 30s. It is "
                         "renewed at half of that.");
  underpass::add_seconds(app, "--root-overlap", given.root_overlap, "60s", 1,
                         "For how long a new root of the mesh's own authority is known before it signs.");
  underpass::add_ports(app, options.metrics, options.ready);
  app.add_option("--node-budget", options.node_budget,
                 "Bytes that the queues of all short-circuited connections may hold; one pod may have a quarter. "
                 "Default: the smaller of a quarter of the kernel's low mark for TCP memory and 1/64 of RAM.")
      ->check(
          [](const std::string& text) -> std::string {
            const bool is_number = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
            return is_number && text.find_first_not_of('0') != std::string::npos ? ""
                                                                                 : "must be a number of bytes above 0";
          },
          "", "bytes");
  app.add_option(
         "--watchpoints", options.watchpoints,
         "auto, always or never: how splice() and FIONREAD may be seen where the kernel has no fentry. auto: by\n"
         "hardware watchpoints, unless they make this processor copy memory more slowly (mode auto stays on TCP "
         "then).")
      ->transform(CLI::CheckedTransformer(kWatchpoints))
      ->default_str("auto");
  underpass::add_log_level(app, given.log_level);
  app.footer(
      "Exit codes: 0 stopped by a signal, 1 could not start, 2 usage.\n"
      "Several agents can share a machine if each has its own --node-name, --cgroup-root, --bpffs subfolder, "
      "--run-dir\n"
      "and --state-dir.\n"
      "See also: underpassctl --help.");
}

// The process: an agent, from when it may begin to when it is told to stop, or another takes over.
class Process {
 public:
  explicit Process(underpass::AgentOptions options) : options_(std::move(options)), signals_(io_, SIGTERM, SIGINT) {
    options_.retired = [this](int successor) { retire(successor); };
  }

  int run() {
    signals_.async_wait([this](const boost::system::error_code& error, int signal) {
      if (!error) stop(signal);
    });
    if (options_.instance.empty())
      start({});
    else
      takeover_ = underpass::Takeover::begin(io_,
                                             {.run_dir = options_.run_dir,
                                              .instance = options_.instance,
                                              .kubeconfig = options_.kubeconfig,
                                              .node_name = options_.node_name,
                                              .daemon_set = options_.daemon_set},
                                             [this](underpass::Result<underpass::ipc::Listeners> done) {
                                               if (!done) return fail(done.error().message);
                                               start(std::move(*done));
                                             });
    if (code_ == 0) io_.run();
    return code_;
  }

 private:
  void start(underpass::ipc::Listeners handed) {
    auto agent = underpass::Agent::start(io_, options_, std::move(handed));
    if (!agent) return fail(agent.error().message);
    agent_ = std::move(*agent);
  }

  void fail(const std::string& why) { end("start-failed", why); }

  void end(const char* event, const std::string& why) {
    spdlog::error("{} {}", event, why);
    code_ = underpass::kStartFailure;
    io_.stop();
  }

  void stop(int signal) {
    spdlog::info("stopping signal={} note=\"the pinned programs go on working\"", signal);
    if (!agent_) return io_.stop();
    agent_->leave([this] {
      agent_.reset();
      io_.stop();
    });
  }

  // Idle from now on. Without its successor this node would have no agent: whoever started this one starts it again.
  void retire(int successor) {
    agent_.reset();
    successor_ = underpass::Successor::watch(io_, successor, [this] { end("successor-ended", kWithoutAgent); });
    if (!successor_) return end("successor-ended", kWithoutAgent);
    spdlog::info("retired successor={}", successor);
  }

  boost::asio::io_context io_{1};
  underpass::AgentOptions options_;
  boost::asio::signal_set signals_;
  std::unique_ptr<underpass::Takeover> takeover_;
  std::unique_ptr<underpass::Agent> agent_;
  std::unique_ptr<underpass::Successor> successor_;
  int code_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "controller") return underpass::run_controller(argc - 1, argv + 1);
  underpass::AgentOptions options;
  options.node_name = underpass::host_name();
  options.proxy = beside_this_binary("underpass-proxy");
  options.cni_plugin = beside_this_binary("underpass-cni");
  Given given;
  CLI::App app;
  describe(app, options, given);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : underpass::kUsage;
  }
  const bool cluster = given.source == kKubernetes;
  options.deny_unknown_pods = given.unknown_pods == "deny";
  options.allow_private_jwks = given.jwks_private == "allow";
  if (options.deny_unknown_pods && options.pods_cgroup.empty() && !cluster) {
    std::cerr << "--unknown-pods deny needs --pods-cgroup: what is below it and of no known pod connects nowhere\n"
                 "Run with --help for more information.\n";
    return underpass::kUsage;
  }
  if (given.certificate_lifetime != 0) options.certificate_lifetime = std::chrono::seconds(given.certificate_lifetime);
  if (given.root_overlap != 0) options.root_overlap = std::chrono::seconds(given.root_overlap);
  if (!cluster) options.source_dir = given.source.substr(kDir.size());
  options.cni = given.cni.empty() ? cluster : given.cni == "on";
  options.ask_controller = given.ca.empty() ? cluster : given.ca == "kubernetes";
  if (options.ask_controller && !cluster) {
    std::cerr << "--ca kubernetes needs --source kubernetes: there is no API server to ask\n"
                 "Run with --help for more information.\n";
    return underpass::kUsage;
  }
  if (!options.instance.empty() && !cluster) {
    std::cerr << "--instance needs --source kubernetes\nRun with --help for more information.\n";
    return underpass::kUsage;
  }
  options.trust_bundle = underpass::to_namespaced_name(given.trust_bundle);
  if (!given.daemon_set.empty()) options.daemon_set = underpass::to_namespaced_name(given.daemon_set);
  options.log_level = given.log_level;
  underpass::start_log("underpassd", given.log_level);

  return Process(std::move(options)).run();
}
