// SPDX-License-Identifier: Apache-2.0
// The routing table as text: what goes out comes in, and what is odd is refused by name.
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <string>

#include "underpass/routing_table_json.h"

using namespace underpass;

namespace {

RoutingTable example() {
  return {.revision = 7,
          .settings = {.threads = 3,
                       .connect_timeout = std::chrono::milliseconds(250),
                       .idle_timeout = std::chrono::milliseconds(0),
                       .drain_timeout = std::chrono::milliseconds(9)},
          .pods = {{.netns = 18446744073709551615ull, .id = {"shop", "web"}, .identity = "spiffe://td/ns/shop/sa/web"},
                   {.netns = 4711, .id = {"shop", "db"}, .identity = "spiffe://td/ns/shop/sa/db"}},
          .identities = {{2, "spiffe://td/ns/shop/sa/web"}, {4294967295u, "spiffe://td/ns/shop/sa/db"}}};
}

// The cause, when `change` is done to the example.
template <typename Change>
std::string refusal(Change change) {
  auto value = to_json(example());
  change(value.as_object());
  const auto decoded = decode_routing_table(boost::json::serialize(value));
  return decoded ? "" : decoded.error().message;
}

}  // namespace

TEST_CASE("routing table json: comes back as it went") {
  CHECK(decode_routing_table(to_text(example())).value() == example());
  const RoutingTable smallest{.revision = 1};
  CHECK(decode_routing_table(to_text(smallest)).value() == smallest);
}

TEST_CASE("routing table json: what is odd is refused by its path") {
  using Json = boost::json::object;
  CHECK(refusal([](Json&) {}).empty());
  CHECK(refusal([](Json& o) { o["format"] = 2; }) == "routing table: format: 2: only 1 is known");
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
  CHECK(refusal([](Json& o) { o["identities"].as_object()["x"] = "a"; }) ==
        "routing table: identities.x: not a number of an identity");
  CHECK(refusal([](Json& o) { o["identities"].as_object()["4294967296"] = "a"; }) ==
        "routing table: identities.4294967296: not a number of an identity");
  CHECK(refusal([](Json& o) { o["identities"].as_object()["2"] = 2; }) == "routing table: identities.2: not a string");
}

TEST_CASE("routing table json: what is no table") {
  for (const char* text : {"", "{", "[]", "1", "null", "\xff", "{}x"}) {
    CAPTURE(text);
    CHECK(!decode_routing_table(std::string_view(text)));
  }
}
