// SPDX-License-Identifier: Apache-2.0
#include "agent/admin/protocol.h"

#include <doctest/doctest.h>
#include <sys/eventfd.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <utility>
#include <vector>

using namespace underpass;
using admin::ErrorCode;
using admin::Scope;
namespace json = boost::json;
using std::chrono::milliseconds;

TEST_CASE("admin protocol: answers survive the way there and back") {
  const auto round_trip = [](const admin::Answer& answer) {
    std::string line = admin::encode_answer(answer);
    REQUIRE(line.find('\n') == line.size() - 1);
    line.pop_back();
    return admin::decode_answer(line).value();
  };
  CHECK(round_trip(json::value(nullptr)) == admin::Answer(json::value(nullptr)));
  CHECK(round_trip(json::value("two\nlines")) == admin::Answer(json::value("two\nlines")));
  for (const ErrorCode code : {ErrorCode::kNotFound, ErrorCode::kUsage, ErrorCode::kFailed}) {
    CHECK(round_trip(admin::refuse(code, "why \"so\"")) == admin::Answer(admin::refuse(code, "why \"so\"")));
  }
}

TEST_CASE("admin protocol: an error code that we do not know is a failure") {
  const auto answer = admin::decode_answer(R"({"error":{"code":"novel","message":"m"}})").value();
  CHECK(answer == admin::Answer(admin::refuse(ErrorCode::kFailed, "m")));
}

TEST_CASE("admin protocol: the scope of detach and attach") {
  const auto decode = [](std::string_view text) { return admin::decode_scope(json::parse(text).as_object()); };
  struct Case {
    std::string_view request;
    Scope scope;
  };
  for (const Case& c : {
           Case{R"({"node":true})", {}},
           Case{R"({"node":true,"namespace":null,"timeout":null})", {}},
           Case{R"({"namespace":"shop"})", {.ns = "shop"}},
           Case{R"({"namespace":"shop","node":false,"timeout":0})", {.ns = "shop", .timeout = milliseconds(0)}},
           Case{R"({"node":true,"timeout":1500})", {.timeout = milliseconds(1500)}},
           Case{R"({"node":true,"timeout":3600000})", {.timeout = std::chrono::hours(1)}},
       }) {
    CAPTURE(c.request);
    const auto scope = decode(c.request);
    REQUIRE(scope);
    CHECK(*scope == c.scope);
  }
  struct Bad {
    std::string_view request;
    std::string_view cause;
  };
  for (const Bad& c : {
           Bad{"{}", R"(neither "namespace" nor "node": true is given)"},
           Bad{R"({"node":false})", R"(neither "namespace" nor "node": true is given)"},
           Bad{R"({"node":1})", "node: not a boolean"},
           Bad{R"({"namespace":""})", "namespace: not a name"},
           Bad{R"({"namespace":7})", "namespace: not a name"},
           Bad{R"({"node":true,"namespace":"a"})", "namespace and node: only one of them can be meant"},
           Bad{R"({"node":true,"timeout":-1})", "timeout: not a number of milliseconds from 0 to 3600000 (one hour)"},
           Bad{R"({"node":true,"timeout":3600001})",
               "timeout: not a number of milliseconds from 0 to 3600000 (one hour)"},
           Bad{R"({"node":true,"timeout":"30s"})",
               "timeout: not a number of milliseconds from 0 to 3600000 (one hour)"},
           Bad{R"({"node":true,"timeout":1e300})",
               "timeout: not a number of milliseconds from 0 to 3600000 (one hour)"},
       }) {
    CAPTURE(c.request);
    const auto scope = decode(c.request);
    REQUIRE(!scope);
    CHECK(scope.error() == admin::CommandError{ErrorCode::kUsage, std::string(c.cause)});
  }
}

TEST_CASE("admin protocol: a scope survives the way there and back") {
  for (const Scope& scope : {Scope{}, Scope{.ns = "shop", .timeout = milliseconds(5)}}) {
    const json::object request = admin::encode_scope("detach", scope);
    CHECK(request.at("command") == json::value("detach"));
    CHECK(admin::decode_scope(request) == scope);
  }
}

TEST_CASE("admin protocol: the pod of relearn") {
  const NamespacedName pod{.ns = "shop", .name = "web"};
  const json::object request = admin::encode_pod("relearn", pod);
  CHECK(request.at("command") == json::value("relearn"));
  CHECK(admin::decode_pod(request) == pod);
  const auto cause_of = [](std::string_view text) {
    const auto decoded = admin::decode_pod(json::parse(text).as_object());
    REQUIRE(!decoded);
    CHECK(decoded.error().code == ErrorCode::kUsage);
    return decoded.error().message;
  };
  CHECK(cause_of("{}") == "namespace: not a name");
  CHECK(cause_of(R"({"namespace":"shop"})") == "pod: not a name");
  CHECK(cause_of(R"({"namespace":"shop","pod":""})") == "pod: not a name");
  CHECK(cause_of(R"({"namespace":7,"pod":"web"})") == "namespace: not a name");
}

TEST_CASE("admin protocol: who takes over survives the way there and back, and needs a name and a number") {
  const admin::Retirement whole{.instance = "pod-2", .pid = 77, .listeners = true};
  CHECK(admin::decode_retirement(admin::encode_retirement(whole)).value() == whole);
  const auto decode = [](std::string_view text) { return admin::decode_retirement(json::parse(text).as_object()); };
  // One of a version that knows of no listeners.
  CHECK(decode(R"({"instance":"pod-2","pid":77})").value() == admin::Retirement{.instance = "pod-2", .pid = 77});
  for (const std::string_view text :
       {R"({"pid":77})", R"({"instance":"","pid":77})", R"({"instance":"a"})", R"({"instance":"a","pid":"77"})"})
    CHECK(decode(text).error() ==
          admin::CommandError{.code = ErrorCode::kUsage,
                              .message = "retire: needs the instance and the pid of who takes over"});
}

TEST_CASE("admin protocol: listeners by their names, or none where names and descriptors do not agree") {
  const auto some = [](std::size_t count) {
    std::vector<UniqueFd> fds;
    for (std::size_t i = 0; i < count; ++i) fds.emplace_back(::eventfd(0, EFD_CLOEXEC));
    return fds;
  };
  ipc::Listeners listeners;
  listeners.emplace("ready", UniqueFd());
  listeners.emplace("admin", UniqueFd());
  const auto answer = admin::encode_listeners(listeners);
  CHECK(json::serialize(answer) == R"({"listeners":["admin","ready"]})");
  auto fds = some(2);
  const int first = fds[0].get();
  auto decoded = admin::decode_listeners(answer, std::move(fds));
  REQUIRE(decoded.size() == 2);
  CHECK(decoded.at("admin").get() == first);
  CHECK(ipc::take_listener(decoded, "admin").get() == first);
  CHECK_FALSE(ipc::take_listener(decoded, "admin"));
  CHECK_FALSE(ipc::take_listener(decoded, "cni"));

  CHECK(admin::decode_listeners(answer, some(1)).empty());
  for (const std::string_view text : {"{}", "null", R"({"listeners":7})", R"({"listeners":[7,8]})"})
    CHECK(admin::decode_listeners(json::parse(text), some(2)).empty());
}
