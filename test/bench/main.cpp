// SPDX-License-Identifier: Apache-2.0
// underpass-bench: measures the short circuit against plain TCP, loopback and unix sockets, and what the agent costs
// those who do not use it. scripts/bench is its front.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <set>

#include "test/bench/overhear.h"
#include "test/bench/round_trip.h"
#include "test/bench/rows.h"
#include "test/support/supervisor.h"

namespace {

using namespace underpass::bench;

struct Arguments {
  std::vector<std::string> only{kGroups.begin(), kGroups.end()};
  std::vector<int> cpus{0, 1};
  int rounds = 0;  // 0: as planned
  int cycles = 0;  // the same
  bool bridge_netfilter = true;
  bool quick = false;
  bool strict = false;
  std::string json;
};

// `underpass-bench rtt`
struct RttArguments {
  Pair pair{.variant = "rtt"};
  std::size_t bytes = 64;
  double seconds = 1;
  int cpu = 0;
};

// `underpass-bench capture`
struct CaptureArguments {
  std::string netns;
  std::string device;
  std::string output;
};

Plan plan_of(const Arguments& arguments) {
  Plan plan;
  if (arguments.quick) plan.make_quick();
  if (arguments.rounds > 0) plan.rounds = arguments.rounds;
  if (arguments.cycles > 0) plan.cycles = arguments.cycles;
  plan.first_cpu = arguments.cpus.at(0);
  plan.second_cpu = arguments.cpus.at(1);
  plan.progress = [](const std::string& line) { std::cerr << "bench: " << line << std::endl; };
  return plan;
}

// What a run yields. A group that failed has no rows and its reason among the errors; the others go on.
struct Outcome {
  std::vector<Row> rows;
  std::vector<std::string> errors;
  std::string auto_problem;
};

Outcome measure(const Arguments& arguments, const Plan& plan) {
  Node node(arguments.bridge_netfilter);
  Outcome outcome;
  const std::set<std::string> wanted(arguments.only.begin(), arguments.only.end());
  const auto add = [&](const std::string& group, auto&& rows_of_group) {
    if (!wanted.contains(group)) return;
    try {
      for (Row& row : rows_of_group()) outcome.rows.push_back(std::move(row));
    } catch (const std::exception& error) {
      outcome.errors.push_back(group + ": " + error.what());
    }
  };
  add("rtt", [&] { return measure_round_trips(node, plan, Trips::kOneCpu); });
  add("rtt-sleep", [&] { return measure_round_trips(node, plan, Trips::kAsleep); });
  add("rtt-2cpu", [&] { return measure_round_trips(node, plan, Trips::kTwoCpus); });
  add("bulk", [&] { return measure_bulks(node, plan); });
  add("connect", [&] { return measure_connects(node, plan); });
  add("wrk", [&] { return measure_web(node, plan); });
  add("memory", [&] { return measure_memory(node); });
  add("unenrolled", [&] { return measure_unenrolled(node, plan); });
  add("services", [&] { return measure_services(node, plan); });
  add("services-scale", [&] { return measure_service_scale(plan); });
  add("policies", [&] { return measure_policies(node, plan); });
  add("proxy", [&] { return measure_proxy(plan); });
  add("http", [&] { return measure_http(plan); });
  add("mtls", [&] { return measure_mtls(plan); });
  add("authz", [&] { return measure_authz(plan); });
  add("kubernetes", [&] { return measure_kubernetes(plan); });
  outcome.auto_problem = node.auto_problem();
  return outcome;
}

int run_all(const Arguments& arguments) {
  const Plan plan = plan_of(arguments);
  Facts facts = gather_facts(plan.rounds, arguments.bridge_netfilter);
  const Outcome outcome = measure(arguments, plan);
  facts.auto_problem = outcome.auto_problem;
  std::cout << to_table(facts, outcome.rows) << std::flush;
  for (const std::string& error : outcome.errors) std::cerr << "underpass-bench: " << error << "\n";
  if (!arguments.json.empty()) {
    std::ofstream out(arguments.json);
    out << to_json(facts, outcome.rows) << "\n";
    if (!out.flush()) throw std::runtime_error("cannot write " + arguments.json);
  }
  return !outcome.errors.empty() || (arguments.strict && !all_targets_met(outcome.rows)) ? 1 : 0;
}

int run_rtt(RttArguments arguments) {
  arguments.pair.client.cpu = arguments.pair.server.cpu = arguments.cpu;
  arguments.pair.server.cgroup = arguments.pair.client.cgroup;
  const RoundTrip result = measure_round_trip(arguments.pair, arguments.bytes, Seconds(arguments.seconds));
  std::printf("%.1f\n", result.median_us);
  return 0;
}

void add_run_options(CLI::App& app, Arguments& arguments) {
  app.add_flag("--quick", arguments.quick, "Three short rounds: for a look, not for a number to quote");
  app.add_option("--only", arguments.only,
                 "Groups to run, of: rtt, rtt-sleep, rtt-2cpu, bulk, connect, wrk, memory, unenrolled, services, "
                 "services-scale, policies, proxy, http, mtls, authz, kubernetes")
      ->delimiter(',')
      ->check(CLI::IsMember(std::vector<std::string>(kGroups.begin(), kGroups.end())))
      ->option_text("GROUP,...");
  app.add_option("--rounds", arguments.rounds, "Rounds of every row but those of unenrolled (default 7)")
      ->check(CLI::Range(1, 1000))
      ->option_text("N");
  app.add_option("--cycles", arguments.cycles, "Times that unenrolled compares the agent on with off (default 16)")
      ->check(CLI::Range(1, 1000))
      ->option_text("N");
  app.add_option("--cpus", arguments.cpus, "The two CPUs; rows of one CPU use the first (default 0,1)")
      ->delimiter(',')
      ->expected(2)
      ->option_text("A,B");
  app.add_flag("--bridge-netfilter,!--no-bridge-netfilter", arguments.bridge_netfilter,
               "Whether packets between the pods meet iptables, as Kubernetes wants it of a node (default: yes)");
  app.add_option("--json", arguments.json, "Write the result there too, with every round")->option_text("FILE");
  app.add_flag("--strict", arguments.strict, "End with 1 when a target is not met");
}

void add_rtt_options(CLI::App& rtt, RttArguments& arguments) {
  rtt.add_option("--netns-client", arguments.pair.client.netns, "Network namespace of the client (required)")
      ->required()
      ->option_text("PATH");
  rtt.add_option("--netns-server", arguments.pair.server.netns, "Network namespace of the server (required)")
      ->required()
      ->option_text("PATH");
  rtt.add_option("--host", arguments.pair.host, "Address of the server (required)")->required()->option_text("IP");
  rtt.add_option("--bytes", arguments.bytes, "Size of a message, each way (default 64)")
      ->check(CLI::Range(1, 1 << 24))
      ->option_text("N");
  rtt.add_option("--seconds", arguments.seconds, "How long (default 1)")->check(CLI::PositiveNumber)->option_text("S");
  rtt.add_option("--cgroup", arguments.pair.client.cgroup, "Cgroup that both run in (default: this one)")
      ->option_text("DIR");
  rtt.add_option("--cpu", arguments.cpu, "CPU that both run on; -1: not pinned (default 0)")->option_text("N");
}

void add_capture_options(CLI::App& capture, CaptureArguments& arguments) {
  capture.add_option("--netns", arguments.netns, "Network namespace of the link (required)")
      ->required()
      ->option_text("PATH");
  capture.add_option("--device", arguments.device, "Its name (required)")->required()->option_text("NAME");
  capture.add_option("--output", arguments.output, "For the packets, once it is ended by SIGTERM (required)")
      ->required()
      ->option_text("FILE");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Benchmarks of Underpass: medians of interleaved rounds, as a table and as JSON");
  Arguments arguments;
  RttArguments rtt_arguments;
  CaptureArguments capture_arguments;
  add_run_options(app, arguments);
  CLI::App* rtt = app.add_subcommand("rtt", "One round trip between two existing network namespaces: its median in µs");
  add_rtt_options(*rtt, rtt_arguments);
  CLI::App* capture = app.add_subcommand("capture", "Every packet of a link, both ways, as bytes in a file");
  add_capture_options(*capture, capture_arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    if (*rtt) return run_rtt(rtt_arguments);
    if (*capture) {
      overhear(capture_arguments.netns, capture_arguments.device, capture_arguments.output);
      return 0;
    }
    return underpass::test::run_supervised([&] { return run_all(arguments); });
  } catch (const std::exception& error) {
    std::cerr << "underpass-bench: " << error.what() << "\n";
    return 1;
  }
}
