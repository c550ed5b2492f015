// SPDX-License-Identifier: Apache-2.0
// The routing table as text: what goes out comes in, and what is odd is refused by name.
#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "test/support/policy_dice.h"
#include "test/support/policy_values.h"
#include "test/support/routing_table_example.h"
#include "underpass/routing_table_json.h"

using namespace underpass;

namespace {

using std::chrono::milliseconds;
using test::example_authentication;
using test::example_table;
using test::strings;

// The cause, when `change` is done to the example.
template <typename Change>
std::string refusal(Change change) {
  auto value = to_json(example_table());
  change(value.as_object());
  const auto decoded = decode_routing_table(boost::json::serialize(value));
  return decoded ? "" : decoded.error().message;
}

bool refused_with(const boost::json::value& value, const std::string& cause) {
  const auto decoded = decode_routing_table(value);
  return !decoded && decoded.error().message.ends_with(cause);
}

// Calls `use` with each value below and its JSON pointer.
template <typename Use>
void for_each_value(const boost::json::value& value, const std::string& pointer, const Use& use) {
  use(pointer, value);
  if (const auto* object = value.if_object()) {
    for (const auto& [key, member] : *object) {
      const std::string name(key.data(), key.size());
      if (!name.contains('/')) for_each_value(member, pointer + "/" + name, use);
    }
  } else if (const auto* array = value.if_array()) {
    for (std::size_t i = 0; i < array->size(); ++i) for_each_value((*array)[i], pointer + "/" + std::to_string(i), use);
  }
}

template <typename Use>
void for_each_object(const boost::json::value& value, const std::string& pointer, const Use& use) {
  for_each_value(value, pointer, [&](const std::string& at, const boost::json::value& found) {
    if (found.is_object()) use(at, found.as_object());
  });
}

}  // namespace

TEST_CASE("routing table json: comes back as it went") {
  CHECK(decode_routing_table(to_text(example_table())).value() == example_table());
  const RoutingTable smallest{.revision = 1};
  CHECK(decode_routing_table(to_text(smallest)).value() == smallest);
}

TEST_CASE("routing table json: what is odd is refused by its path") {
  using Json = boost::json::object;
  CHECK(refusal([](Json&) {}).empty());
  CHECK(refusal([](Json& o) { o["format"] = 1; }) == "routing table: format: 1: only 4 is known");
  CHECK(refusal([](Json& o) { o.erase("format"); }) == "routing table: format: is missing");
  CHECK(refusal([](Json& o) { o["revision"] = 0; }) ==
        "routing table: revision: 0: must be from 1 to 18446744073709551615");
  CHECK(refusal([](Json& o) { o["revision"] = 1.5; }) == "routing table: revision: not a whole number");
  CHECK(refusal([](Json& o) { o["revision"] = -1; }) == "routing table: revision: not a whole number");
  CHECK(refusal([](Json& o) { o["more"] = 1; }) == "routing table: more: is not known");
  CHECK(refusal([](Json& o) { o["settings"] = 1; }) == "routing table: settings: not an object");
  CHECK(refusal([](Json& o) { o["settings"].as_object()["threads"] = 0; }) ==
        "routing table: settings.threads: 0: must be from 1 to 64");
  CHECK(refusal([](Json& o) { o["settings"].as_object().erase("idleTimeoutMs"); }) ==
        "routing table: settings.idleTimeoutMs: is missing");
  CHECK(refusal([](Json& o) { o["settings"].as_object()["retries"] = 0; }) ==
        "routing table: settings.retries: is not known");
  CHECK(refusal([](Json& o) {
          o["settings"].as_object()["drainTimeoutMs"] = 1ull << 63;
        }).starts_with("routing table: settings.drainTimeoutMs: 9223372036854775808: must be"));
  CHECK(refusal([](Json& o) { o["pods"] = Json{}; }) == "routing table: pods: not an array");
  CHECK(refusal([](Json& o) { o["pods"].as_array()[1].as_object()["netns"] = 4711; }) ==
        "routing table: pods[1].netns: not a string");
  CHECK(refusal([](Json& o) { o["pods"].as_array()[1].as_object()["netns"] = "0"; }) ==
        "routing table: pods[1].netns: 0 names no network namespace");
  CHECK(refusal([](Json& o) { o["pods"].as_array()[1].as_object()["netns"] = "12x"; }) ==
        "routing table: pods[1].netns: \"12x\": not a number in decimal digits");
  CHECK(refusal([](Json& o) { o["pods"].as_array()[1] = o["pods"].as_array()[0]; }) ==
        "routing table: pods[1].netns: is another pod's too");
  for (const Json::mapped_type& port : {Json::mapped_type(0), Json::mapped_type(65536), Json::mapped_type("80")})
    CHECK(refusal([&](Json& o) { o["pods"].as_array()[0].as_object()["services"].as_object()["a:1"] = port; }) ==
          "routing table: pods[0].services.a:1: not a port");
  CHECK(refusal([](Json& o) { o["identities"].as_object()["x"] = "a"; }) ==
        "routing table: identities.x: not a number of an identity");
  CHECK(refusal([](Json& o) { o["identities"].as_object()["4294967296"] = "a"; }) ==
        "routing table: identities.4294967296: not a number of an identity");
  CHECK(refusal([](Json& o) { o["identities"].as_object()["2"] = 2; }) == "routing table: identities.2: not a string");
}

TEST_CASE("routing table json: every member is asked for, and no other is taken") {
  const auto whole = to_json(example_table());
  std::size_t members = 0;
  for_each_object(whole, "", [&](const std::string& pointer, const boost::json::object& object) {
    const bool is_map = pointer.ends_with("/labels") || pointer.ends_with("/ports") || pointer.ends_with("/selector") ||
                        pointer.ends_with("/identities") || pointer.ends_with("/providers") ||
                        pointer.ends_with("/jwks") || pointer.ends_with("/services") ||
                        pointer.ends_with("/includeAdditionalHeaders");
    if (is_map) return;
    for (const auto& [key, value] : object) {
      auto changed = whole;
      changed.at_pointer(pointer).as_object().erase(key);
      CHECK_MESSAGE(refused_with(changed, "is missing"), pointer << "/" << key);
      ++members;
    }
    auto changed = whole;
    changed.at_pointer(pointer).as_object()["more"] = 1;
    CHECK_MESSAGE(refused_with(changed, "more: is not known"), pointer);
  });
  CHECK(members >= 150);
}

TEST_CASE("routing table json: a value of another type is refused, wherever it stands") {
  const auto whole = to_json(example_table());
  std::size_t values = 0;
  for_each_value(whole, "", [&](const std::string& pointer, const boost::json::value&) {
    if (pointer.empty()) return;
    for (const auto& other : {boost::json::value(1.5), boost::json::value(boost::json::array{nullptr})}) {
      auto changed = whole;
      changed.at_pointer(pointer) = other;
      CHECK_MESSAGE(!decode_routing_table(changed), pointer);
    }
    ++values;
  });
  CHECK(values >= 300);
}

TEST_CASE("routing table json: what makes no sense in a policy is refused by its path") {
  const std::string set = "/policySets/1", policy = set + "/policies/0", rule = policy + "/rules/0";
  const auto conditions = rule + "/when/";
  const struct {
    std::string pointer;
    boost::json::value value;
    std::string message;
  } rows[] = {
      {policy + "/action", "allow", "policySets[1].policies[0].action: \"allow\": is not known"},
      {conditions + "0/key", "source.port",
       "policySets[1].policies[0].rules[0].when[0].key: \"source.port\": is not known"},
      {conditions + "6/members", boost::json::array{},
       "policySets[1].policies[0].rules[0].when[6].members: must name one header"},
      {conditions + "7/members", boost::json::array{},
       "policySets[1].policies[0].rules[0].when[7].members: must name a claim"},
      {rule + "/from/0/principals/1/0", "bad",
       "policySets[1].policies[0].rules[0].from[0].principals[1][0]: \"bad\": says not how to match what"},
      {rule + "/from/0/principals/1/0", "",
       "policySets[1].policies[0].rules[0].from[0].principals[1][0]: \"\": says not how to match what"},
      {rule + "/from/0/principals/1/0", "=",
       "policySets[1].policies[0].rules[0].from[0].principals[1][0]: \"=\": says not how to match what"},
      {rule + "/from/0/principals/1/0", "*a",
       "policySets[1].policies[0].rules[0].from[0].principals[1][0]: \"*a\": says not how to match what"},
      {rule + "/from/0/principals/1/0", "~/{*}",
       "policySets[1].policies[0].rules[0].from[0].principals[1][0]: \"~/{*}\": a template is of paths"},
      {rule + "/to/0/hosts/0/0", "~/{*}",
       "policySets[1].policies[0].rules[0].to[0].hosts[0][0]: \"~/{*}\": a template is of paths"},
      {conditions + "6/strings/0/0", "~/{*}",
       "policySets[1].policies[0].rules[0].when[6].strings[0][0]: \"~/{*}\": a template is of paths"},
      {"/providers/opa/includeRequestHeaders/0", "~/{*}",
       "providers.opa.includeRequestHeaders[0]: \"~/{*}\": a template is of paths"},
      {"/providers/opa/addresses/0", boost::json::string("10.0.0.1\0x", 10),
       "providers.opa.addresses[0]: not an IP address"},
      {rule + "/from/0/principals", boost::json::parse("[[]]"),
       "policySets[1].policies[0].rules[0].from[0].principals: not an array of two or none"},
      {rule + "/from/0/ipBlocks/0/0", "10.0.0.0",
       "policySets[1].policies[0].rules[0].from[0].ipBlocks[0][0]: \"10.0.0.0\": not a block of addresses"},
      {rule + "/from/0/ipBlocks/0/0", "10.0.0.0/8",
       "policySets[1].policies[0].rules[0].from[0].ipBlocks[0][0]: \"10.0.0.0/8\": not a block of addresses"},
      {rule + "/from/0/ipBlocks/0/0", "10.0.0.0/129",
       "policySets[1].policies[0].rules[0].from[0].ipBlocks[0][0]: \"10.0.0.0/129\": not a block of addresses"},
      {rule + "/from/0/ipBlocks/0/0", "10.0.0.1/104",
       "policySets[1].policies[0].rules[0].from[0].ipBlocks[0][0]: \"10.0.0.1/104\": has bits behind its prefix"},
      {rule + "/to/0/ports/0/0", 0, "policySets[1].policies[0].rules[0].to[0].ports[0][0]: not a port"},
      {rule + "/to/0/ports/0/0", 65536, "policySets[1].policies[0].rules[0].to[0].ports[0][0]: not a port"},
      {set + "/authentications/0/rules/0/fetchTimeoutMs", 0,
       "policySets[1].authentications[0].rules[0].fetchTimeoutMs: 0: must be from 1 to 31536000000"},
      {set + "/authentications/0/rules/0/outputClaims/0/claim", boost::json::array{},
       "policySets[1].authentications[0].rules[0].outputClaims[0].claim: must name a claim"},
      {"/providers/opa/port", 0, "providers.opa.port: 0: must be from 1 to 65535"},
      {"/providers/opa/port", 65536, "providers.opa.port: 65536: must be from 1 to 65535"},
      {"/providers/opa/statusOnError", 200, "providers.opa.statusOnError: 200: must be from 400 to 599"},
      {"/providers/opa/service", "opa.platform", "providers.opa.service: not an object"},
      {"/pods/0/policies", 2, "pods[0].policies: no index of policySets"},
      {"/pods/0/policies", -1, "pods[0].policies: no index of policySets"},
      {"/pods/0/ports/80", "http", "pods[0].ports.80: \"http\": is not known"},
      {"/settings/http/pathNormalization", "base", "settings.http.pathNormalization: \"base\": is not known"},
      {"/settings/http/maxConcurrentStreams", 0, "settings.http.maxConcurrentStreams: 0: must be from 1 to 4294967295"},
      {"/settings/http/detectionTimeoutMs", 0, "settings.http.detectionTimeoutMs: 0: must be from 1 to 31536000000"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.pointer);
    auto changed = to_json(example_table());
    changed.at_pointer(row.pointer) = row.value;
    const auto decoded = decode_routing_table(changed);
    REQUIRE(!decoded);
    CHECK(decoded.error().message == "routing table: " + row.message);
  }
  CHECK(refusal([](boost::json::object& o) {
          o["pods"].as_array()[0].as_object()["ports"].as_object()["080"] = "tcp";
        }) == "routing table: pods[0].ports.080: not a port");
}

TEST_CASE("routing table json: tables drawn at random come back as they went") {
  const auto seed = test::draw_seed();
  CAPTURE(seed);
  test::Dice dice(seed);
  for (int round = 0; round < 200; ++round) {
    RoutingTable table = dice.one_in(2) ? example_table() : RoutingTable{.revision = 1};
    for (int sets = dice.below(4); sets > 0; --sets) {
      HttpPolicySet set;
      for (const auto& policy : test::draw_policies(dice).policies) set.policies.push_back(*policy);
      if (dice.one_in(3)) set.authentications.push_back(example_authentication());
      if (dice.one_in(5)) set.closed_by = "x";
      table.policy_sets.push_back(std::move(set));
      table.pods.push_back(
          {.netns = 1 + table.pods.size(),
           .id = {"shop", "pod"},
           .identity = "spiffe://td/ns/shop/sa/pod",
           .labels = {},
           .ports = {},
           .policies = static_cast<std::uint32_t>(dice.below(static_cast<int>(table.policy_sets.size())))});
    }
    const auto decoded = decode_routing_table(to_text(table));
    REQUIRE_MESSAGE(decoded.has_value(), decoded.error().message);
    CHECK(*decoded == table);
  }
}

TEST_CASE("routing table json: a thousand rules are small and fast") {
  RoutingTable table{.revision = 1};
  table.policy_sets.resize(1);
  auto& policy = table.policy_sets[0].policies.emplace_back();
  for (int i = 0; i < 1000; ++i) {
    const auto number = std::to_string(i);
    model::PolicySource source;
    source.principals = strings({"cluster.local/ns/team-" + number + "/sa/web"});
    model::PolicyOperation operation;
    operation.methods = strings({"GET", "HEAD"});
    operation.paths = strings({"/api/v1/resource-" + number + "/*"});
    policy.rules.push_back({.from = {source}, .to = {operation}, .when = {}});
  }
  const auto text = to_text(table);
  CHECK(text.size() < 512UL * 1024);
  auto fastest = std::chrono::steady_clock::duration::max();
  for (int round = 0; round < 5; ++round) {
    const auto start = std::chrono::steady_clock::now();
    const auto decoded = decode_routing_table(text);
    fastest = std::min(fastest, std::chrono::steady_clock::now() - start);
    CHECK(decoded.value() == table);
  }
  MESSAGE(text.size() << " bytes, " << std::chrono::duration<double, std::milli>(fastest).count() << " ms");
  CHECK(fastest < milliseconds(500));  // with sanitizers, on a busy machine
}

TEST_CASE("routing table json: what is no table") {
  for (const char* text : {"", "{", "[]", "1", "null", "\xff", "{}x"}) {
    CAPTURE(text);
    CHECK(!decode_routing_table(std::string_view(text)));
  }
}
