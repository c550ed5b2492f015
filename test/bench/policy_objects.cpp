// SPDX-License-Identifier: Apache-2.0
#include "test/bench/policy_objects.h"

namespace underpass::bench {
namespace {

std::string object(const std::string& ns, const std::string& name, const std::string& spec) {
  return R"({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"namespace": ")" + ns +
         R"(", "name": ")" + name + R"("}, "spec": )" + spec + "}\n";
}

std::string source_of(int number, int version) {
  const std::string team = "team-" + std::to_string(number) + (version == 0 ? "" : "-" + std::to_string(version));
  switch (number % 4) {
    case 0:
      return R"("principals": ["cluster.local/ns/)" + team + R"(/sa/app"])";
    case 1:
      return R"("namespaces": [")" + team + R"("])";
    case 2:
      return R"("ipBlocks": ["10.)" + std::to_string(128 + number / 256) + "." + std::to_string(number % 256) + "." +
             std::to_string(version % 256) + R"(/32"])";
    default:
      return R"("namespaces": [")" + team + R"(*"])";
  }
}

}  // namespace

std::string policy_text(const std::string& ns, int number, int version, const std::string& labels) {
  const std::string name = "p" + std::to_string(10'000 + number);
  const std::string action = number % 10 == 5 ? "DENY" : "ALLOW";
  const std::string ports =
      number % 3 == 0 ? R"(, "to": [{"operation": {"ports": ["8080", ")" + std::to_string(9000 + number) + R"("]}}])"
                      : "";
  const std::string selector = labels.empty() ? "" : R"("selector": {"matchLabels": )" + labels + "}, ";
  return object(ns, name,
                "{" + selector + R"("action": ")" + action + R"(", "rules": [{"from": [{"source": {)" +
                    source_of(number, version) + "}}]" + ports + "}]}");
}

std::string last_policy_text(const std::string& ns, const std::string& from_namespace, const std::string& from_ip) {
  return object(ns, "z-last",
                R"({"action": "ALLOW", "rules": [{"from": [{"source": {"namespaces": [")" + from_namespace +
                    R"("]}}, {"source": {"ipBlocks": [")" + from_ip + R"(/32"]}}]}]})");
}

}  // namespace underpass::bench
