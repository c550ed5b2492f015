// SPDX-License-Identifier: Apache-2.0
// The Event that the API server is given, and how many of them.
#include <doctest/doctest.h>

#include <boost/json/serialize.hpp>
#include <string>

#include "agent/k8s/api/event_object.h"
#include "agent/k8s/api/token_bucket.h"

namespace underpass::k8s {
namespace {

namespace json = boost::json;
using std::chrono::seconds;

const EventSubject kPod{.api_version = "v1", .kind = "Pod", .id = {"shop", "web"}, .uid = "u-1"};
const std::chrono::system_clock::time_point kTime{std::chrono::microseconds(1'767'225'600'000'042)};

TEST_CASE("event: all that events.k8s.io/v1 asks for") {
  const auto event = make_event(kPod, "Refused", "no address", "node-1", kTime);
  CHECK(event.path == "/apis/events.k8s.io/v1/namespaces/shop/events");
  CHECK(
      json::serialize(event.body) ==
      R"({"apiVersion":"events.k8s.io/v1","kind":"Event","metadata":{"name":"web.)" +
          std::string(event.body.at("metadata").at("name").as_string().c_str()).substr(4) +
          R"(","namespace":"shop"},"eventTime":"2026-01-01T00:00:00.000042Z","reportingController":"underpass.dev/agent",)"
          R"("reportingInstance":"node-1","action":"Apply","reason":"Refused","type":"Warning","note":"no address",)"
          R"("regarding":{"apiVersion":"v1","kind":"Pod","name":"web","namespace":"shop","uid":"u-1"}})");
}

std::string name_of(const EventSubject& subject, const std::string& reason, const std::string& note,
                    const std::string& node) {
  return make_event(subject, reason, note, node, kTime).body.at("metadata").at("name").as_string().c_str();
}

TEST_CASE("event: the same on every node, and of other content another") {
  const auto name = name_of(kPod, "Refused", "no address", "node-1");
  CHECK(name.size() == std::string("web.").size() + 16);
  CHECK(name == name_of(kPod, "Refused", "no address", "node-2"));
  CHECK(name != name_of(kPod, "Refused", "another", "node-1"));
  CHECK(name != name_of(kPod, "Other", "no address", "node-1"));
  auto again = kPod;
  again.uid = "u-2";
  CHECK(name != name_of(again, "Refused", "no address", "node-1"));
}

TEST_CASE("event: of what is in no namespace, and bounds") {
  EventSubject node{.api_version = "v1", .kind = "Node", .id = {"", std::string(253, 'n')}, .uid = {}};
  node.id.name[235] = '.';
  std::string note(1023, 'x');
  note += "\u00e4 and more";
  const auto event = make_event(node, std::string(200, 'R'), note, std::string(200, 'n'), kTime);
  CHECK(event.path == "/apis/events.k8s.io/v1/namespaces/default/events");
  CHECK_FALSE(event.body.at("regarding").as_object().contains("namespace"));
  CHECK(event.body.at("note").as_string() == std::string(1023, 'x'));
  CHECK(event.body.at("reason").as_string().size() == 128);
  CHECK(event.body.at("reportingInstance").as_string().size() == 128);
  const std::string name = event.body.at("metadata").at("name").as_string().c_str();
  CHECK(name.size() <= 253);
  CHECK_FALSE(name.contains(".."));
}

TEST_CASE("token bucket: a burst, and then one a second") {
  TokenBucket bucket(3, 1);
  TokenBucket::Time now{seconds(1000)};
  for (int i = 0; i < 3; ++i) CHECK(bucket.take(now));
  CHECK_FALSE(bucket.take(now));
  now += seconds(1);
  CHECK(bucket.take(now));
  CHECK_FALSE(bucket.take(now));
  now += seconds(100);
  for (int i = 0; i < 3; ++i) CHECK(bucket.take(now));
  CHECK_FALSE(bucket.take(now));
}

}  // namespace
}  // namespace underpass::k8s
