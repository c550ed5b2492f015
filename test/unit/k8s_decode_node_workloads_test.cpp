// SPDX-License-Identifier: Apache-2.0
// NodeWorkloads, as another node's agent wrote them: what the API server's schema refuses is refused here too, and some
// more. That the API server takes and refuses the same table is a test of test/kube.
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <string>
#include <utility>

#include "agent/k8s/decode.h"
#include "test/support/node_workloads.h"

namespace underpass::k8s {
namespace {

using test::workload;
using test::workloads_of_n1;

Decoded<model::NodeWorkloads> decode(const std::string& name, const std::string& spec) {
  return decode_node_workloads(boost::json::parse(test::node_workloads(name, spec)));
}

std::string error_of(const Decoded<model::NodeWorkloads>& decoded) {
  return decoded ? "it decodes" : decoded.error().path + ": " + decoded.error().cause;
}

std::string error_of(const std::string& changed) {
  return error_of(decode("n1.0", workloads_of_n1(workload(changed))));
}

TEST_CASE("node workloads: every field") {
  const auto two =
      workload(R"({"ips": ["10.0.0.1", "fd00::1"]})") + "," +
      workload(R"({"namespace": "bank", "name": "a.b", "serviceAccount": "c.d", "ips": ["fd00::2"]})", "x");
  const auto decoded = decode("n1.15", R"({"node": "n1", "shard": 15, "workloads": [)" + two + "]}");
  REQUIRE_MESSAGE(decoded, error_of(decoded));
  const auto ip = [](const char* text) { return IpAddress::parse(text).value(); };
  CHECK(*decoded ==
        model::NodeWorkloads{
            .name = "n1.15",
            .node = "n1",
            .shard = 15,
            .workloads = {
                {.pod = {.ns = "shop", .name = "web-0"},
                 .uid = "6a1f",
                 .service_account = "web",
                 .ips = {ip("10.0.0.1"), ip("fd00::1")}},
                {.pod = {.ns = "bank", .name = "a.b"}, .uid = "x", .service_account = "c.d", .ips = {ip("fd00::2")}}}});
  CHECK(decode("n1.0", R"({"node": "n1", "shard": 0, "workloads": null})").value().workloads.empty());
}

TEST_CASE("node workloads: what the API server takes") {
  for (const auto& [name, spec] : test::good_node_workloads())
    CHECK_MESSAGE(decode(name, spec), spec.substr(0, 200) << ": " << error_of(decode(name, spec)));
}

TEST_CASE("node workloads: what the API server refuses, and at the same place") {
  for (const auto& bad : test::bad_node_workloads()) {
    const auto decoded = decode(bad.name, bad.spec);
    if (bad.unknown) {  // the API server drops it, and a later version may know it
      CHECK_MESSAGE(decoded, bad.spec);
      continue;
    }
    REQUIRE_MESSAGE(!decoded, bad.name << " " << bad.spec.substr(0, 200));
    CHECK_MESSAGE(decoded.error().path.starts_with(bad.at), bad.spec.substr(0, 200) << ": " << error_of(decoded));
  }
}

TEST_CASE("node workloads: path and cause") {
  const std::pair<std::string, std::string> rows[] = {
      {R"({"uid": null})", "spec.workloads[0].uid: missing"},
      {R"({"uid": 5})", "spec.workloads[0].uid: 5: must be a string (put it in quotes)"},
      {R"({"namespace": ""})", "spec.workloads[0].namespace: missing"},
      {R"({"namespace": "a.b"})",
       "spec.workloads[0].namespace: \"a.b\": not an RFC 1123 label (a-z, 0-9 and -, at most 63)"},
      {R"({"serviceAccount": "web/sa/admin"})",
       "spec.workloads[0].serviceAccount: \"web/sa/admin\": not an RFC 1123 subdomain (a-z, 0-9, - and ., at most "
       "253)"},
      {R"({"ips": ["10.0.0.1", "fd00::1", "10.0.0.2"]})",
       "spec.workloads[0].ips: must be one address, or one of each family"},
      {R"({"ips": []})", "spec.workloads[0].ips: must be one address, or one of each family"},
      {R"({"ips": "10.0.0.1"})", "spec.workloads[0].ips: \"10.0.0.1\": must be a list"},
      {R"({"ips": ["10.0.0.256"]})", "spec.workloads[0].ips[0]: \"10.0.0.256\": not an IP address"},
      {R"({"tunnel": null})", "spec.workloads[0].tunnel: missing"},
      {R"({"tunnel": "NONE"})", "spec.workloads[0].tunnel: \"NONE\": must be one of HBONE"},
  };
  for (const auto& [changed, error] : rows) CHECK(error_of(changed) == error);
  // More than the schema says: addresses that mean something else on every node.
  for (const char* ip : {"127.0.0.1", "::1", "169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1"})
    CHECK(error_of(R"({"ips": [")" + std::string(ip) + R"("]})") ==
          "spec.workloads[0].ips[0]: \"" + std::string(ip) +
              "\": must not be unspecified, loopback, link-local or multicast");

  CHECK(error_of(decode("n2.0", R"({"node": "n1", "shard": 0})")) ==
        "metadata.name: \"n2.0\": must be spec.node, a dot and spec.shard");
  CHECK(error_of(decode("n1.16", R"({"node": "n1", "shard": 16})")) == "spec.shard: 16: must be 0 to 15");
  CHECK(error_of(decode("n1.0", R"({"node": "n1"})")) == "spec.shard: missing");
  CHECK(error_of(decode("n1.0", workloads_of_n1(workload() + "," + workload()))) ==
        "spec.workloads[1].uid: \"6a1f\": listed twice");
  CHECK(error_of(decode("n1.0", test::many_workloads(513))) == "spec.workloads: more than 512");
}

}  // namespace
}  // namespace underpass::k8s
