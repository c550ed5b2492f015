// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/app.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <memory>
#include <optional>

#include "agent/admin/explain.h"
#include "agent/cli/commands.h"
#include "agent/cli/flow_filter.h"
#include "agent/cli/help.h"
#include "agent/cli/human.h"

namespace underpass::cli {
namespace {

// As CLI11 wants its validators: empty where all is well.
std::string problem_of_duration(const std::string& text) {
  const auto duration = parse_duration(text);
  return duration ? "" : duration.error().message;
}

std::string problem_of_pod(const std::string& text) {
  const auto pod = admin::parse_pod_name(text);
  return pod ? "" : pod.error().message;
}

std::string problem_of_destination(const std::string& text) {
  const auto destination = admin::parse_destination(text);
  return destination ? "" : destination.error().message;
}

std::string problem_of_header(const std::string& text) {
  const auto colon = text.find(':');
  return colon == 0 || colon == std::string::npos ? "\"" + text + "\": must be NAME:VALUE" : "";
}

// --help, a little airier than CLI11's own, with defaults that do not look like part of the syntax.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_description(const CLI::App* app) const override {
    return CLI::Formatter::make_description(app) + "\n";
  }

  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_type_size() == 0) return "";
    const std::string value = option->get_default_str();
    return " " + option->get_type_name() + (value.empty() ? "" : " (" + value + ")");
  }

  std::string make_footer(const CLI::App* app) const override {
    static const std::string kShared =
        "\nThe options of underpassctl itself (-o json, --run-dir DIR, ...) may be given too: see `underpassctl "
        "--help`.\n";
    return CLI::Formatter::make_footer(app) + (app->get_parent() != nullptr ? kShared : "");
  }
};

// The command line as CLI11 sees it, and the variables that it fills.
class CommandLine {
 public:
  explicit CommandLine(Session& session) : session_(session), app_(help::kProgram, "underpassctl") {
    app_.formatter(std::make_shared<HelpFormatter>());
    app_.get_formatter()->column_width(40);
    app_.footer(help::kProgramMore);
    app_.require_subcommand(1);
    app_.set_version_flag("--version", "underpassctl " UNDERPASS_VERSION, "Print the version and exit");
    add_global("--run-dir", session_.run_dir, "Where the agent's admin socket is")->type_name("DIR");
    add_global("--bpffs", session_.bpffs, "Where the BPF file system is mounted")->type_name("DIR");
    add_global("--state-dir", session_.state_dir, "Where the agent keeps what outlives a reboot")->type_name("DIR");
    add_global("-o,--output", output_, "table for people, json for programs, pem for certs alone")
        ->type_name("table|json|pem")
        ->check(CLI::IsMember({"table", "json", "pem"}).description(""));

    add("status", help::kStatus, help::kStatusMore, show_status);
    add_ready();
    add("check", help::kCheck, help::kCheckMore, show_check);
    add("pods", help::kPods, help::kPodsMore, show_pods);
    add("connections", help::kConnections, help::kConnectionsMore, show_connections);
    add_flows();
    add("services", help::kServices, help::kServicesMore, show_services);
    add("policies", help::kPolicies, help::kPoliciesMore, show_policies);
    add_certs();
    add_explain();
    add_proxy();
    add_map();
    add_relearn();
    add_scoped("detach", help::kDetach, help::kDetachMore, cli::detach)
        ->add_option("--timeout", timeout_, "How long queues may take to drain: 30s, 500ms, 2m, at most 1h")
        ->type_name("TIME")
        ->capture_default_str()
        ->check(problem_of_duration, "");
    add_scoped("attach", help::kAttach, help::kAttachMore, cli::attach);
    add("version", help::kVersion, "", show_version);
  }

  // Empty: what was asked for has been done already (help), or could not be understood; `code` says which.
  std::function<ExitCode()> parse(std::vector<std::string> arguments, int& code) {
    try {
      std::ranges::reverse(arguments);  // as CLI11 wants them
      app_.parse(std::move(arguments));
    } catch (const CLI::ParseError& error) {
      code = app_.exit(error, session_.out, session_.err) == 0 ? kDone : kUsage;
      return {};
    }
    session_.json = output_ == "json";
    session_.pem = output_ == "pem";
    if (session_.pem && !knows_pem_) {
      session_.err << "--output: pem is for certs alone\nRun with --help for more information.\n";
      code = kUsage;
      return {};
    }
    return command_;
  }

 private:
  CLI::Option* add_global(const std::string& name, std::string& value, const std::string& description) {
    return app_.add_option(name, value, description)
        ->capture_default_str()
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }

  CLI::App* add_to(CLI::App& parent, const std::string& name, const char* description, const char* more) {
    CLI::App* command = parent.add_subcommand(name, description);
    command->footer(more);
    command->fallthrough();  // options of the program may come after the subcommand
    return command;
  }

  template <typename Action>
  void add(const std::string& name, const char* description, const char* more, Action action) {
    add_to(app_, name, description, more)->callback([this, action] {
      command_ = [this, action] { return action(session_); };
    });
  }

  void add_ready() {
    CLI::App* ready = add_to(app_, "ready", help::kReady, help::kReadyMore);
    ready->add_option("--instance", instance_, "Which agent is meant")
        ->type_name("TEXT")
        ->envname("UNDERPASS_INSTANCE");
    ready->callback([this] { command_ = [this] { return show_ready(session_, instance_); }; });
  }

  void add_certs() {
    CLI::App* certs = add_to(app_, "certs", help::kCerts, help::kCertsMore);
    certs->require_subcommand(0, 1);
    CLI::App* rotate = add_to(*certs, "rotate-root", help::kRotateRoot, help::kRotateRootMore);
    certs->callback([this, rotate] {
      if (rotate->parsed()) return;
      knows_pem_ = true;
      command_ = [this] { return show_certs(session_); };
    });
    rotate->callback([this] { command_ = [this] { return cli::rotate_root(session_); }; });
  }

  void add_map() {
    CLI::App* map = add_to(app_, "map", help::kMap, "");
    map->require_subcommand(1);
    add_to(*map, "list", help::kMapList, help::kMapListMore)->callback([this] {
      command_ = [this] { return list_maps(session_); };
    });
    CLI::App* dump = add_to(*map, "dump", help::kMapDump, help::kMapDumpMore);
    dump->add_option("NAME", map_, "Name of a map, or all")->required()->type_name("");
    dump->callback([this] { command_ = [this] { return dump_maps(session_, map_); }; });
  }

  void add_proxy() {
    CLI::App* proxy = add_to(app_, "proxy", help::kProxy, "");
    proxy->require_subcommand(1);
    CLI::App* config = add_to(*proxy, "config", help::kProxyConfig, help::kProxyConfigMore);
    add_pod(*config)->callback(
        [this] { command_ = [this] { return show_proxy_config(session_, admin::parse_pod_name(pod_).value()); }; });
  }

  void add_flows() {
    CLI::App* flows = add_to(app_, "flows", help::kFlows, help::kFlowsMore);
    flows->add_flag("-f,--follow", follow_, "Go on with those to come, until Ctrl-C");
    flows->add_option("--namespace", flow_filter_.ns, "Only those of which an end is in it")->type_name("NS");
    flows->add_option("--pod", flow_filter_.pod, "Only those of which an end is this pod")
        ->type_name("NS/POD")
        ->check(problem_of_pod, "");
    flows->add_option("--verdict", flow_filter_.verdict, "Only those that were allowed, or that were denied")
        ->type_name("allowed|denied")
        ->check(CLI::IsMember({"allowed", "denied"}).description(""));
    flows->add_option("--code", flow_filter_.code, "Only requests that were answered so: 404, 4xx")
        ->type_name("CODE")
        ->check(problem_of_code, "");
    flows->callback([this] { command_ = [this] { return show_flows(session_, flow_filter_, follow_); }; });
  }

  void add_explain() {
    CLI::App* explain = add_to(app_, "explain", help::kExplain, help::kExplainMore);
    explain->add_option("--from", explain_.from, "The pod of this node that dials")
        ->required()
        ->type_name("NS/POD")
        ->check(problem_of_pod, "");
    explain->add_option("--to", explain_.to, "A Service's name or an address, as the pod would dial it")
        ->required()
        ->type_name("HOST:PORT")
        ->check(problem_of_destination, "");
    explain->add_option("--protocol", explain_.protocol, "Of the connection")
        ->type_name("tcp|udp")
        ->capture_default_str()
        ->check(CLI::IsMember({"tcp", "udp"}).description(""));
    explain->add_option("--method", explain_.method, "Of an HTTP request; default GET")->type_name("M");
    explain->add_option("--path", explain_.path, "Of an HTTP request; default /")->type_name("P");
    explain->add_option("--header", explain_.headers, "NAME:VALUE of an HTTP request, repeatable")
        ->type_name("K:V")
        ->allow_extra_args(false)
        ->check(problem_of_header, "");
    explain->callback([this] { command_ = [this] { return show_explain(session_, explain_); }; });
  }

  CLI::App* add_pod(CLI::App& command) {
    command.add_option("POD", pod_, "Namespace and name of a pod of this node")
        ->required()
        ->type_name("NS/NAME")
        ->check(problem_of_pod, "");
    return &command;
  }

  void add_relearn() {
    add_pod(*add_to(app_, "relearn", help::kRelearn, help::kRelearnMore))->callback([this] {
      command_ = [this] { return cli::relearn(session_, admin::parse_pod_name(pod_).value()); };
    });
  }

  template <typename Action>
  CLI::App* add_scoped(const std::string& name, const char* description, const char* more, Action action) {
    CLI::App* command = add_to(app_, name, description, more);
    CLI::Option* node = command->add_flag("--node", node_, "The whole node: what is meant when neither is given");
    command->add_option("--namespace", namespace_, "One namespace")
        ->type_name("NS")
        ->excludes(node)
        ->check([](const std::string& text) { return std::string(text.empty() ? "is empty" : ""); }, "");
    command->callback([this, action] {
      command_ = [this, action] {
        return action(session_, {.ns = namespace_.empty() ? std::nullopt : std::optional(namespace_),
                                 .timeout = parse_duration(timeout_).value()});
      };
    });
    return command;
  }

  Session& session_;
  CLI::App app_;
  std::string instance_;
  std::string output_ = "table";
  bool knows_pem_ = false;
  std::string map_;
  std::string pod_;
  FlowFilter flow_filter_;
  bool follow_ = false;
  ExplainArguments explain_;
  bool node_ = false;
  std::string namespace_;
  std::string timeout_ = "30s";
  std::function<ExitCode()> command_;
};

}  // namespace

int run(std::vector<std::string> arguments, std::ostream& out, std::ostream& err) {
  Session session{.out = out, .err = err};
  CommandLine line(session);
  int code = kDone;
  const std::function<ExitCode()> command = line.parse(std::move(arguments), code);
  return command ? command() : code;
}

}  // namespace underpass::cli
