// SPDX-License-Identifier: Apache-2.0
// What runs inside a test kernel. Each step is one line of JSON on standard output, {"step": …, "seconds": …} and what
// the step found; the test on the host knows what it should have found.
#include <boost/json.hpp>
#include <cstdio>
#include <exception>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "test/kernels/suites.h"
#include "test/support/ctl.h"
#include "test/support/files.h"
#include "test/support/process.h"
#include "test/support/sockets.h"
#include "test/support/streams.h"
#include "test/support/supervisor.h"
#include "test/support/world.h"

namespace {

namespace json = boost::json;
using namespace underpass::test;
using underpass::kernels::kSuites;
using underpass::kernels::Suite;

constexpr std::uint64_t kStreams = 40;
constexpr std::size_t kTail = 6000;
constexpr auto kSuite = seconds(400);  // what one of the other suites may take

std::string tail(const std::string& text) {
  return text.size() <= kTail ? text : "…" + text.substr(text.size() - kTail);
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void report(const std::string& name, const std::function<json::object()>& step) {
  const auto start = Clock::now();
  json::object line;
  try {
    line = step();
  } catch (const std::exception& e) {
    line["error"] = tail(e.what());
  }
  line["step"] = name;
  line["seconds"] = seconds_since(start);
  std::printf("%s\n", json::serialize(line).c_str());
  std::fflush(stdout);
}

// What the agent made of this kernel.
struct Agency {
  bool started = false;
  bool stays_on_tcp = false;

  [[nodiscard]] std::string state() const { return stays_on_tcp ? "degraded" : "ready"; }
};

// Starts the agent on an empty node: its capability table, or how it refused.
json::object start_agent(Agency& agency) {
  const Sandbox sandbox;
  Agent agent(sandbox);
  agent.launch();
  const Ctl ctl(sandbox);
  std::string state;
  (void)eventually(seconds(60), [&] {
    state = ctl.state();
    return !state.empty() || !agent.running();
  });
  json::object found;
  if (!state.empty()) {
    found["state"] = state;
    // Its exit code is 1 where a row says tcp.
    const json::value rows = json::parse(ctl.run({"-o", "json", "check"}).out);
    agency.started = true;
    for (const json::value& row : rows.as_array()) agency.stays_on_tcp |= text_of(row.at("result")) == "tcp";
    found["check"] = rows;
  }
  if (const auto exit = agent.ended()) found["exit"] = exit->code;
  found["log"] = tail(agent.log());
  return found;
}

// Which way a connection goes between two pods that ask for short-circuit, and why not by another.
json::object way_of_pods(const Agency& agency, int family) {
  const World world(kAccelerated, agency.state());
  const Pair pair = make_pair_between(world.at("a"), world.at("b"), family);
  exchange(pair.client.get(), pair.server.get(), 32);
  const std::optional<ConnectionRow> row = world.ctl.connection(pair.client.get());
  json::object found;
  found["way"] = row ? row->way : "no record";
  found["fallbackReason"] = row ? row->fallback_reason : "";
  found["redirectedBytes"] = world.redirected();
  return found;
}

json::object streams_of_pods(const Agency& agency) {
  const World world(kAccelerated, agency.state());
  const StreamsReport report = run_streams({.a = world.at("a"), .b = world.at("b"), .count = kStreams});
  return {{"streams", report.streams},
          {"bytes", report.bytes},
          {"redirectedBytes", world.redirected()},
          {"failures", json::value_from(report.failures)}};
}

std::string plain_of(std::string text) {
  for (const auto& [entity, plain] : {std::pair{"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&amp;", "&"}}) {
    for (std::size_t at = 0; (at = text.find(entity, at)) != std::string::npos; ++at) {
      text.replace(at, std::string_view(entity).size(), plain);
    }
  }
  return text;
}

// The value of an attribute in a line of doctest's XML, as it stands there.
std::string attribute(const std::string& line, const std::string& name) {
  const std::size_t start = line.find(" " + name + "=\"");
  if (start == std::string::npos) return "";
  const std::size_t value = start + name.size() + 3;
  return line.substr(value, line.find('"', value) - value);
}

// doctest lists what it does not run as well.
std::string without_skipped(const std::string& xml) {
  std::string kept;
  std::istringstream lines(xml);
  for (std::string line; std::getline(lines, line);)
    if (attribute(line, "skipped") != "true") kept += line + '\n';
  return kept;
}

// Test cases of a program, each with its verdict. One that did not come to its end has failed.
json::array cases_in(const std::string& xml) {
  json::array cases;
  std::istringstream lines(xml);
  for (std::string line; std::getline(lines, line);) {
    if (line.find("<TestCase ") != std::string::npos && attribute(line, "skipped") != "true") {
      cases.push_back({{"name", plain_of(attribute(line, "name"))}, {"passed", false}});
    } else if (line.find("<OverallResultsAsserts ") != std::string::npos && attribute(line, "duration") != "" &&
               !cases.empty()) {
      json::object& last = cases.back().as_object();
      last["passed"] = attribute(line, "test_case_success") == "true";
      last["seconds"] = std::stod(attribute(line, "duration"));
    }
  }
  return cases;
}

json::object run_tests(const Suite& suite, const Agency& agency) {
  if (!fs::exists(built_program(suite.program))) return {{"missing", true}};
  Command command{.argv = {built_program(suite.program), "--reporters=xml", "--duration=true"},
                  .env = {"UNDERPASS_STREAMS=" + std::to_string(suite.streams), "UNDERPASS_SEED=100",
                          "UNDERPASS_RECORDS_MB=2", "UNDERPASS_WORLDS=100", "UNDERPASS_STATE=" + agency.state()}};
  std::string filter;
  for (const std::string& name : suite.cases) filter += (filter.empty() ? "" : ",") + name;
  if (!filter.empty()) command.argv.push_back("--test-case=" + filter);
  Process process(command);
  const std::optional<Exit> exit = process.wait(kSuite);
  const std::string out = without_skipped(process.out());
  json::object found{{"exit", exit ? exit->to_string() : "not finished in time"}, {"cases", cases_in(out)}};
  if (!exit || !exit->ok()) {
    std::fprintf(stderr, "%s\n%s\n", out.c_str(), process.err().c_str());  // to the console
    found["output"] = tail(out);
  }
  return found;
}

int run_all() {
  Agency agency;
  report("agent", [&] { return start_agent(agency); });
  if (agency.started) {
    report("way-ipv4", [&] { return way_of_pods(agency, AF_INET); });
    report("way-ipv6", [&] { return way_of_pods(agency, AF_INET6); });
    report("streams", [&] { return streams_of_pods(agency); });
    for (const Suite& suite : kSuites) {
      if (suite.accelerated && agency.stays_on_tcp) continue;
      report(suite.step, [&] { return run_tests(suite, agency); });
    }
  }
  report("end", [] { return json::object{}; });
  return 0;
}

}  // namespace

int main() { return run_supervised(run_all); }
