// SPDX-License-Identifier: Apache-2.0
// What the controller writes into policies' status, and when it writes nothing.
#include "agent/controller/policy_status.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <string>

namespace underpass::controller {
namespace {

namespace json = boost::json;

const std::chrono::system_clock::time_point kNow =
    std::chrono::sys_days(std::chrono::year(2031) / 5 / 17) + std::chrono::hours(9);
const std::string kNowText = "2031-05-17T09:00:00.000000Z";
const std::string kBefore = "2030-01-01T00:00:00Z";

json::value object(const std::string& conditions = "", const std::string& metadata = R"("generation": 3,)") {
  return json::parse(R"({"metadata": {)" + metadata + R"( "resourceVersion": "12"})" +
                     (conditions.empty() ? "" : R"(, "status": {"conditions": [)" + conditions + "]}") + "}");
}

std::string condition(const std::string& status, const std::string& reason, const std::string& message,
                      const std::string& more = R"(, "observedGeneration": 3)") {
  return R"({"type": "underpass.dev/Accepted", "status": ")" + status + R"(", "reason": ")" + reason +
         R"(", "message": ")" + message + R"(", "lastTransitionTime": ")" + kBefore + "\"" + more + "}";
}
const std::string kGood = condition("True", "Accepted", "every agent understands it");
const std::string kBad = condition("False", "Invalid", "spec.action: must be one of ALLOW, DENY");

// The conditions that are to be written.
json::array patched(const json::value& from, const std::string& refusal) {
  const auto patch = status_patch(from, refusal, kNow);
  REQUIRE(patch);
  CHECK(patch->at("metadata") == json::parse(R"({"resourceVersion": "12"})"));
  CHECK(patch->as_object().size() == 2);
  CHECK(patch->at("status").as_object().size() == 1);
  return patch->at("status").at("conditions").as_array();
}

TEST_CASE("policy status: the first word") {
  CHECK(patched(object(), "") ==
        json::parse(R"([{"type": "underpass.dev/Accepted", "status": "True", "reason": "Accepted",
            "message": "every agent understands it", "lastTransitionTime": ")" +
                    kNowText + R"(", "observedGeneration": 3}])"));
  CHECK(patched(object(), "spec.action: wrong") ==
        json::parse(R"([{"type": "underpass.dev/Accepted", "status": "False", "reason": "Invalid",
            "message": "spec.action: wrong", "lastTransitionTime": ")" +
                    kNowText + R"(", "observedGeneration": 3}])"));
  // Where the API server counts no generations.
  CHECK_FALSE(patched(object("", ""), "").at(0).as_object().contains("observedGeneration"));
  // Of an object of which no version is known nothing can be written safely.
  CHECK_FALSE(status_patch(json::parse(R"({"metadata": {"name": "a"}})"), "", kNow));
  CHECK_FALSE(status_patch(json::parse("{}"), "", kNow));
}

TEST_CASE("policy status: nothing is written where it says so already") {
  CHECK_FALSE(status_patch(object(kGood), "", kNow));
  CHECK_FALSE(status_patch(object(kBad), "spec.action: must be one of ALLOW, DENY", kNow));
  CHECK_FALSE(status_patch(object(condition("True", "Accepted", "every agent understands it", "")), "", kNow));
  CHECK_FALSE(status_patch(
      object(R"({"type": "istio.io/Reconciled", "status": "False"},)" + kGood + R"(,{"type": "Other"})"), "", kNow));
  // What one patch leaves is said already.
  for (const auto& refusal : {std::string(), std::string("spec: wrong"), std::string(5000, 'x')}) {
    const auto after = patched(object(), refusal);
    CHECK_FALSE(status_patch(object(json::serialize(after.at(0))), refusal, kNow + std::chrono::hours(1)));
  }
}

TEST_CASE("policy status: the time is that of the last change from good to bad or back") {
  const auto time_of = [](const json::array& conditions) {
    return conditions.at(0).at("lastTransitionTime").as_string();
  };
  CHECK(time_of(patched(object(kBad), "")) == kNowText);
  CHECK(time_of(patched(object(kGood), "spec: wrong")) == kNowText);
  CHECK(time_of(patched(object(kBad), "spec: wrong in another way")) == kBefore);
  // Another generation of the same word.
  const auto again = patched(object(kGood, R"("generation": 4,)"), "");
  CHECK(time_of(again) == kBefore);
  CHECK(again.at(0).at("observedGeneration") == 4);
  CHECK(again.size() == 1);
  // Conditions that others have spoilt.
  for (const char* spoilt : {R"({"type": "underpass.dev/Accepted"})",
                             R"({"type": "underpass.dev/Accepted", "lastTransitionTime": "2030-01-01T00:00:00Z"})",
                             R"({"type": "underpass.dev/Accepted", "status": "True", "lastTransitionTime": 5})"}) {
    CAPTURE(spoilt);
    const auto mended = patched(object(spoilt), "");
    CHECK(time_of(mended) == kNowText);
    CHECK(mended.size() == 1);
  }
}

TEST_CASE("policy status: others' conditions are theirs") {
  const std::string others[] = {R"({"type": "istio.io/Reconciled", "status": "True", "extra": [1]})",
                                R"({"type": "underpass.dev/accepted"})", R"("odd")"};
  const auto after = patched(object(others[0] + "," + kBad + "," + others[1] + "," + others[2]), "");
  REQUIRE(after.size() == 4);
  for (int i = 0; i < 3; ++i) CHECK(after.at(i) == json::parse(others[i]));
  CHECK(after.at(3).at("status") == "True");
  // What is no list is replaced.
  auto odd = object();
  odd.as_object()["status"] = {{"conditions", "none"}};
  CHECK(patched(odd, "").size() == 1);
}

TEST_CASE("policy status: a long message is cut, and not within a character") {
  const auto message = [](const std::string& refusal) {
    return std::string(patched(object(), refusal).at(0).at("message").as_string());
  };
  CHECK(message(std::string(1024, 'x')) == std::string(1024, 'x'));
  CHECK(message(std::string(1025, 'x')) == std::string(1024, 'x'));
  CHECK(message(std::string(1021, 'x') + "…").size() == 1024);
  CHECK(message(std::string(1022, 'x') + "…") == std::string(1022, 'x'));
  CHECK(message(std::string(1023, 'x') + "…" + "y") == std::string(1023, 'x'));
}

const k8s::ApiKind& kind_of(const std::string& kind) {
  static const auto all = k8s::told_kinds();
  return *std::ranges::find(all, kind, &k8s::ApiKind::kind);
}

std::string refusal(const std::string& kind, const std::string& spec) {
  return refusal_of(kind_of(kind),
                    {.object = json::parse(R"({"metadata": {"namespace": "shop", "name": "a"}, "spec": )" + spec + "}"),
                     .refused = "",
                     .ns = "shop",
                     .name = "a",
                     .uid = "u",
                     .resource_version = "1"});
}

TEST_CASE("policy status: what agents refuse, and why") {
  CHECK(refusal("AuthorizationPolicy", R"({"action": "ALLOW", "rules": [{}]})").empty());
  CHECK(refusal("AuthorizationPolicy", R"({"action": "MAYBE"})").starts_with("spec.action: \"MAYBE\": "));
  CHECK(refusal("PeerAuthentication", R"({"mtls": {"mode": "STRICT"}})").empty());
  CHECK(refusal("PeerAuthentication", R"({"mtls": {"mode": "LOOSE"}})").starts_with("spec.mtls.mode: \"LOOSE\": "));
  // What the reader itself gave up.
  CHECK(!refusal_of(kind_of("AuthorizationPolicy"), {.object = nullptr,
                                                     .refused = "longer than 8 MiB",
                                                     .ns = "shop",
                                                     .name = "a",
                                                     .uid = "",
                                                     .resource_version = "1"})
             .empty());
}

}  // namespace
}  // namespace underpass::controller
