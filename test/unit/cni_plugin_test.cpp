// SPDX-License-Identifier: Apache-2.0
// What the plugin reads of a runtime's call, and what it says without asking anybody.
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "agent/cni/plugin.h"
#include "agent/cni/plugin_call.h"

namespace underpass::cni {
namespace {

Environment environment(std::string command) {
  return {.command = std::move(command),
          .container_id = "c1",
          .netns = "/var/run/netns/c1",
          .interface = "eth0",
          .args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=u-1"};
}

constexpr std::string_view kInput = R"({"cniVersion":"1.0.0","name":"net","type":"underpass-cni","agentSocket":"/a",
  "enrolment":"/b","timeoutSeconds":7,"prevResult":{"cniVersion":"1.0.0",
  "interfaces":[{"name":"cni0"},{"name":"eth0","sandbox":"/var/run/netns/c1"}],
  "ips":[{"address":"10.1.0.1/16","interface":0},{"address":"10.1.0.5/16","interface":1},{"address":"fd00::5/64"}],
  "routes":[{"dst":"0.0.0.0/0"}],"dns":{},"unknown":1.5}})";

std::string with(std::string_view from, std::string_view to) {
  std::string text(kInput);
  return text.replace(text.find(from), from.size(), to);
}

int code_of(const PluginOutcome& outcome) {
  return static_cast<int>(boost::json::parse(outcome.output).at("code").as_int64());
}

TEST_CASE("cni: a runtime's call is read, with the addresses that are inside of the sandbox") {
  const auto call = decode_call(environment("ADD"), kInput);
  REQUIRE_MESSAGE(call, call.error().message);
  CHECK(call->version == "1.0.0");
  CHECK(call->netns == "/var/run/netns/c1");
  CHECK(call->settings.socket == "/a");
  CHECK(call->settings.enrolment == "/b");
  CHECK(call->settings.timeout == std::chrono::seconds(7));
  const Request wanted{.command = Command::kAdd,
                       .container_id = "c1",
                       .interface = "eth0",
                       .pod = {"shop", "web"},
                       .uid = "u-1",
                       .ips = {*IpAddress::parse("10.1.0.5"), *IpAddress::parse("fd00::5")}};
  CHECK(call->request == wanted);
  CHECK(boost::json::parse(call->result) == boost::json::parse(kInput.data()).at("prevResult"));
}

TEST_CASE("cni: the result has the version that is asked for, and nothing else of it is touched") {
  const auto call =
      decode_call(environment("ADD"), with(R"("prevResult":{"cniVersion":"1.0.0",)", R"("prevResult":{)"));
  REQUIRE(call);
  CHECK(boost::json::parse(call->result) == boost::json::parse(kInput.data()).at("prevResult"));
}

TEST_CASE("cni: whoever is no kubelet has no pod") {
  for (const auto* args :
       {"", "IgnoreUnknown=1", "K8S_POD_NAME=web", "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=", ";;=;x"}) {
    CAPTURE(args);
    auto asked = environment("ADD");
    asked.args = args;
    const auto call = decode_call(asked, kInput);
    REQUIRE(call);
    CHECK(call->request.pod == NamespacedName{});
    const auto outcome = run_plugin(asked, kInput);
    CHECK(outcome.exit_code == 0);
    CHECK(boost::json::parse(outcome.output) == boost::json::parse(kInput.data()).at("prevResult"));
  }
}

TEST_CASE("cni: a call that cannot be right is an error of the specification's number") {
  struct Row {
    std::string input;
    Environment asked;
    CniCode code;
    std::string message;
  };
  auto no_netns = environment("ADD");
  no_netns.netns = "";
  auto no_id = environment("ADD");
  no_id.container_id = "";
  const std::vector<Row> rows{
      {std::string(kInput), environment("MOVE"), CniCode::kEnvironment, R"(CNI_COMMAND: "MOVE" is not known)"},
      {std::string(kInput), no_netns, CniCode::kEnvironment, "CNI_NETNS: is missing"},
      {std::string(kInput), no_id, CniCode::kEnvironment, "CNI_CONTAINERID: is missing"},
      {"", environment("ADD"), CniCode::kNotJson, "standard input: not a JSON object"},
      {"[]", environment("CHECK"), CniCode::kNotJson, "standard input: not a JSON object"},
      {with(R"("cniVersion":"1.0.0")", R"("cniVersion":"0.2.0")"), environment("ADD"), CniCode::kVersion,
       R"(cniVersion: "0.2.0": must be 0.3.1, 0.4.0, 1.0.0 or 1.1.0)"},
      {with(R"("prevResult")", R"("result")"), environment("ADD"), CniCode::kConfiguration,
       "prevResult: is missing: underpass-cni makes no interface, it must be the last of a list"},
      {with(R"("/a")", "7"), environment("ADD"), CniCode::kConfiguration, "agentSocket: not a path"},
      {with(R"("/b")", R"("")"), environment("ADD"), CniCode::kConfiguration, "enrolment: not a path"},
      {with(":7", ":0"), environment("ADD"), CniCode::kConfiguration,
       "timeoutSeconds: must be a whole number from 1 to 120"},
      {with(":7", R"(:"7")"), environment("CHECK"), CniCode::kConfiguration,
       "timeoutSeconds: must be a whole number from 1 to 120"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.message);
    const auto call = decode_call(row.asked, row.input);
    REQUIRE_FALSE(call);
    CHECK(call.error().code == row.code);
    CHECK(call.error().message == row.message);
    const auto outcome = run_plugin(row.asked, row.input);
    CHECK(outcome.exit_code == 1);
    CHECK(code_of(outcome) == static_cast<int>(row.code));
  }
}

TEST_CASE("cni: VERSION tells all versions, STATUS and GC depend on nobody, DEL never fails") {
  const auto outcome = run_plugin({.command = "VERSION"}, R"({"cniVersion":"0.4.0"})");
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.output == R"({"cniVersion":"0.4.0","supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]})");
  for (const auto* command : {"STATUS", "GC", "DEL"})
    for (const auto* input : {"", "{}", "garbage", R"({"cniVersion":"9.9.9"})"}) {
      CAPTURE(command);
      CAPTURE(input);
      const auto done = run_plugin({.command = command}, input);
      CHECK(done.exit_code == 0);
      CHECK(done.output.empty());
    }
}

// Bitten, cut and spliced: an outcome, and of the two kinds that there are.
TEST_CASE("cni: whatever stands on standard input, the outcome is a result or an error") {
  std::mt19937 dice(7);
  const auto below = [&](std::size_t bound) { return std::uniform_int_distribution<std::size_t>(0, bound - 1)(dice); };
  auto no_kubelet = environment("ADD");
  no_kubelet.args = "";
  for (int round = 0; round < 20'000; ++round) {
    std::string text(kInput);
    for (auto bites = below(4) + 1; bites > 0 && !text.empty(); --bites) switch (below(3)) {
        case 0:
          text[below(text.size())] = static_cast<char>(below(256));
          break;
        case 1:
          text.resize(below(text.size() + 1));
          break;
        default:
          text.insert(below(text.size() + 1), text.substr(below(text.size()), below(40)));
      }
    const auto outcome = run_plugin(no_kubelet, text);
    CAPTURE(text);
    boost::json::error_code error;
    const auto said = boost::json::parse(outcome.output, error);
    REQUIRE_FALSE(error);
    REQUIRE(said.is_object());
    REQUIRE((outcome.exit_code != 0) == said.get_object().contains("code"));
  }
}

}  // namespace
}  // namespace underpass::cni
