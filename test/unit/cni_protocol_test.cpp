// SPDX-License-Identifier: Apache-2.0
// What plugin and agent say to each other, and what the agent leaves for the plugin: there and back, and refused where
// it is anything else.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "agent/cni/enrolment_file.h"
#include "agent/cni/protocol.h"
#include "agent/state/state_file.h"
#include "test/support/temp_folder.h"

namespace underpass::cni {
namespace {

using test::TempFolder;

struct Refused {
  std::string text;
  std::string cause;
};

TEST_CASE("cni: a question comes out as it went in") {
  const Request request{.command = Command::kCheck,
                        .container_id = "c1",
                        .interface = "eth0",
                        .pod = {"shop", "web"},
                        .uid = "u-1",
                        .ips = {*IpAddress::parse("10.1.2.3"), *IpAddress::parse("fd00::3")}};
  const auto decoded = decode_request(encode_request(request));
  REQUIRE_MESSAGE(decoded, decoded.error().message);
  CHECK(*decoded == request);
}

TEST_CASE("cni: an answer comes out as it went in, and a refusal is an error") {
  for (const auto& answer : std::vector<Answer>{{.ok = true, .reason = {}}, {.ok = false, .reason = "no \"room\""}}) {
    const auto decoded = decode_answer(encode_answer(answer));
    REQUIRE_MESSAGE(decoded, decoded.error().message);
    CHECK(*decoded == answer);
  }
  const auto refused = decode_answer(encode_refusal("too many"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message == "it refuses the question: too many");
}

TEST_CASE("cni: a question that is not one is refused with its place") {
  const std::string whole =
      R"({"protocol":1,"command":"ADD","containerId":"c","interface":"eth0","namespace":"n","pod":"p","uid":"","ips":[]})";
  REQUIRE(decode_request(whole));
  const auto with = [&](const std::string& from, const std::string& to) {
    auto text = whole;
    return text.replace(text.find(from), from.size(), to);
  };
  const std::vector<Refused> rows{
      {"", "question: not JSON: incomplete JSON"},
      {"[]", "question: protocol: not an object"},
      {with(R"("protocol":1)", R"("protocol":2)"), "question: protocol: 2: must be from 1 to 1"},
      {with("ADD", "GC"), R"(question: command: "GC": must be ADD, CHECK or DEL)"},
      {with(R"("pod":"p")", R"("pod":"")"), "question: pod: no name or no namespace"},
      {with("[]", R"(["10.0.0.0/8"])"), "question: ips[0]: not an IP address"},
      {with("[]", "[7]"), "question: ips[0]: not an IP address"},
      {with(R"("uid")", R"("uuid")"), "question: uid: is missing"},
      {with(R"("uid")", R"("more":1,"uid")"), "question: more: is not known"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    const auto decoded = decode_request(row.text);
    REQUIRE_FALSE(decoded);
    if (row.text != "[]") CHECK(decoded.error().message == row.cause);
  }
}

TEST_CASE("cni: a pod is in the mesh by its own word, or else by its namespace's") {
  const Enrolment enrolment{.namespaces = {"shop"}, .pods = {{{"shop", "out"}, false}, {{"other", "in"}, true}}};
  CHECK(enrolment.wants({"shop", "web"}));
  CHECK_FALSE(enrolment.wants({"shop", "out"}));
  CHECK(enrolment.wants({"other", "in"}));
  CHECK_FALSE(enrolment.wants({"other", "web"}));

  const auto decoded = decode_enrolment(encode_enrolment(enrolment));
  REQUIRE_MESSAGE(decoded, decoded.error().message);
  CHECK(*decoded == enrolment);
}

TEST_CASE("cni: an enrolment file that is not whole is refused") {
  const std::vector<Refused> rows{
      {"", "not JSON: incomplete JSON"},
      {R"({"version":1,"namespaces":["shop"],"pods":{)", "not JSON: incomplete JSON"},
      {R"({"version":2,"namespaces":[],"pods":{}})", "version: 2: must be from 1 to 1"},
      {R"({"version":1,"namespaces":[7],"pods":{}})", "namespaces[0]: not a name"},
      {R"({"version":1,"namespaces":[]})", "pods: is missing"},
      {R"({"version":1,"namespaces":[],"pods":{"web":true}})", "pods.web: not namespace/name"},
      {R"({"version":1,"namespaces":[],"pods":{"a/b":1}})", "pods.a/b: not true or false"},
      {R"({"version":1,"namespaces":[],"pods":{},"x":0})", "x: is not known"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    const auto decoded = decode_enrolment(row.text);
    REQUIRE_FALSE(decoded);
    CHECK(decoded.error().message == row.cause);
  }
}

TEST_CASE("cni: the enrolment file is read from its copy where it is damaged, and absent where it was taken away") {
  const TempFolder folder;
  const auto path = (folder / "enrolment.json").string();
  const Enrolment enrolment{.namespaces = {"shop"}, .pods = {}};
  const auto none = read_enrolment(path);
  REQUIRE(none);
  CHECK_FALSE(*none);

  REQUIRE(write_enrolment(path, enrolment));
  folder.write("enrolment.json", R"({"version":1,)");
  const auto copied = read_enrolment(path);
  REQUIRE_MESSAGE(copied, copied.error().message);
  CHECK(*copied == enrolment);

  folder.write("enrolment.json.copy", "");
  const auto damaged = read_enrolment(path);
  REQUIRE_FALSE(damaged);
  CHECK(damaged.error().message == path + ": not JSON: incomplete JSON");

  REQUIRE(write_enrolment(path, enrolment));
  folder.remove("enrolment.json");
  const auto away = read_enrolment(path);
  REQUIRE(away);
  CHECK_FALSE(*away);
}

}  // namespace
}  // namespace underpass::cni
