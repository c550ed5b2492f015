// SPDX-License-Identifier: Apache-2.0
// underpassd: flags, logging, signals; everything else is agent.h.
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <filesystem>
#include <iostream>
#include <map>
#include <string>

#include "agent/agent.h"

namespace {

constexpr int kStartFailure = 1;
constexpr int kUsage = 2;
const std::map<std::string, underpass::dataplane::Watchpoints> kWatchpoints{
    {"auto", underpass::dataplane::Watchpoints::kAuto},
    {"always", underpass::dataplane::Watchpoints::kAlways},
    {"never", underpass::dataplane::Watchpoints::kNever}};
constexpr std::string_view kDir = "dir:";

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

std::string beside_this_binary(const std::string& name) {
  std::error_code error;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? name : (own.parent_path() / name).string();
}

void describe(CLI::App& app, underpass::AgentOptions& options, std::string& source, std::string& unknown_pods,
              std::string& log_level) {
  app.description(
      "underpassd - the agent of the Underpass service mesh, one per node.\n\n"
      "It loads BPF programs that decide every connection of the enrolled pods at connect() and move the payload of\n"
      "same-node connections socket to socket. What it loads is pinned and goes on working when the agent stops;\n"
      "`underpassctl detach` takes it away.");
  app.set_version_flag("--version", std::string("underpassd ") + UNDERPASS_VERSION);
  app.add_option("--source", source,
                 "Where the Kubernetes objects come from: dir:PATH reads and watches the *.yaml files of a folder.")
      ->required()
      ->check(
          [](const std::string& text) -> std::string {
            return text.starts_with(kDir) && text != kDir ? "" : text + ": must be dir:PATH";
          },
          "", "source");
  app.add_option("--node-name", options.node_name, "Which pods are local: those with this spec.nodeName.")
      ->capture_default_str();
  app.add_option("--cgroup-root", options.cgroup_root,
                 "Attach here; only sockets made below it are seen. Default: the cgroup2 mount found in /proc/mounts.");
  app.add_option(
      "--pods-cgroup", options.pods_cgroup,
      "Below it are all pods, those that use the host's network too. The node's own processes are outside, and "
      "reach the ports of probes whatever the policy. Default: the --cgroup-root, so nobody is outside.");
  app.add_option(
         "--unknown-pods", unknown_pods,
         "allow or deny: may a process below --pods-cgroup connect while its network namespace is of no pod that "
         "the agent knows?")
      ->capture_default_str()
      ->check(CLI::IsMember({"allow", "deny"}));
  app.add_option("--proxy", options.proxy,
                 "The workers' program, of the same version. Started when a pod first needs one. Default: the "
                 "underpass-proxy beside this program.");
  app.add_option("--bpffs", options.bpffs, "A bpffs, or a folder of one; the pins go into its subfolder underpass/.")
      ->capture_default_str();
  app.add_option("--run-dir", options.run_dir, "For the admin socket.")->capture_default_str();
  app.add_option("--state-dir", options.state_dir, "For what must outlive a reboot.")->capture_default_str();
  app.add_option("--metrics", options.metrics, "HOST:PORT for Prometheus, path /metrics; port 0: any.")
      ->capture_default_str();
  app.add_option("--ready", options.ready, "HOST:PORT for readiness, path /healthz/ready; port 0: any.")
      ->capture_default_str();
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
  app.add_option("--log-level", log_level, "error, warn, info or debug.")
      ->capture_default_str()
      ->check(CLI::IsMember({"error", "warn", "info", "debug"}));
  app.footer(
      "Exit codes: 0 stopped by a signal, 1 could not start, 2 usage.\n"
      "Several agents can share a machine if each has its own --node-name, --cgroup-root, --bpffs subfolder, "
      "--run-dir\n"
      "and --state-dir.\n"
      "See also: underpassctl --help.");
}

}  // namespace

int main(int argc, char** argv) {
  underpass::AgentOptions options;
  options.node_name = host_name();
  options.proxy = beside_this_binary("underpass-proxy");
  std::string source, unknown_pods = "allow", log_level = "info";
  CLI::App app;
  describe(app, options, source, unknown_pods, log_level);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  options.deny_unknown_pods = unknown_pods == "deny";
  if (options.deny_unknown_pods && options.pods_cgroup.empty()) {
    std::cerr << "--unknown-pods deny needs --pods-cgroup: what is below it and of no known pod connects nowhere\n"
                 "Run with --help for more information.\n";
    return kUsage;
  }
  options.source_dir = source.substr(kDir.size());
  options.log_level = log_level;
  spdlog::set_default_logger(spdlog::stderr_logger_mt("underpassd"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  spdlog::set_level(spdlog::level::from_str(log_level));

  boost::asio::io_context io(1);
  boost::asio::signal_set signals(io, SIGTERM, SIGINT);
  auto agent = underpass::Agent::start(io, std::move(options));
  if (!agent) {
    spdlog::error("start-failed {}", agent.error().message);
    return kStartFailure;
  }
  signals.async_wait([&](const boost::system::error_code& error, int signal) {
    if (error) return;
    spdlog::info("stopping signal={} note=\"the pinned programs go on working\"", signal);
    agent->reset();
    io.stop();
  });
  io.run();
  return 0;
}
