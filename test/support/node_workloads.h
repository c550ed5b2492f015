// SPDX-License-Identifier: Apache-2.0
// NodeWorkloads, good and bad, of which the API server by its schema and the agent by its decoder think alike.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <string>
#include <utility>
#include <vector>

namespace underpass::test {

// "uid": the same of each member but for what is in `changed`, a member with its new value or null for none.
inline std::string workload(const std::string& changed = "{}", const std::string& uid = "6a1f") {
  boost::json::object out{{"namespace", "shop"},     {"name", "web-0"},     {"uid", uid},
                          {"serviceAccount", "web"}, {"ips", {"10.0.0.1"}}, {"tunnel", "HBONE"}};
  for (const auto& [key, value] : boost::json::parse(changed).as_object()) {
    if (value.is_null()) {
      out.erase(key);
    } else {
      out[key] = value;
    }
  }
  return boost::json::serialize(out);
}

// A spec of node n1, shard 0.
inline std::string workloads_of_n1(const std::string& workloads) {
  return R"({"node": "n1", "shard": 0, "workloads": [)" + workloads + "]}";
}

inline std::string many_workloads(int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += (i == 0 ? "" : ",") + workload("{}", "uid-" + std::to_string(i));
  return workloads_of_n1(out);
}

inline std::string node_workloads(const std::string& name, const std::string& spec) {
  return R"({"apiVersion": "underpass.dev/v1alpha1", "kind": "NodeWorkloads", "metadata": {"name": ")" + name +
         R"("}, "spec": )" + spec + "}";
}

// Name and spec.
inline std::vector<std::pair<std::string, std::string>> good_node_workloads() {
  const std::string long_name =
      std::string(62, 'n') + "." + std::string(62, 'n') + "." + std::string(62, 'n') + "." + std::string(61, 'n');
  return {
      {"n1.0", R"({"node": "n1", "shard": 0})"},
      {"n1.15", R"({"node": "n1", "shard": 15, "workloads": []})"},
      {"ip-10-0-0-1.ec2.internal.3", R"({"node": "ip-10-0-0-1.ec2.internal", "shard": 3})"},
      {long_name + ".7", R"({"node": ")" + long_name + R"(", "shard": 7})"},
      {"n1.0", workloads_of_n1(workload())},
      {"n1.0", workloads_of_n1(workload(R"({"ips": ["fd00::1"]})"))},
      {"n1.0", workloads_of_n1(workload(R"({"ips": ["10.0.0.1", "fd00::1"], "name": "a.b"})"))},
      {"n1.0", workloads_of_n1(workload() + "," + workload("{}", "6a20"))},
      {"n1.0", workloads_of_n1(workload("{}", std::string(128, 'u')))},
      {"n1.0", many_workloads(512)},
  };
}

struct BadNodeWorkloads {
  std::string name;
  std::string spec;
  std::string at;        // a part of the path to what is wrong
  bool unknown = false;  // a field that is refused of people and dropped of others
};

inline std::vector<BadNodeWorkloads> bad_node_workloads() {
  std::vector<BadNodeWorkloads> all{
      {"n1.1", R"({"node": "n1", "shard": 0})", "metadata.name"},
      {"n2.0", R"({"node": "n1", "shard": 0})", "metadata.name"},
      {"n1", R"({"node": "n1", "shard": 0})", "metadata.name"},
      {"n1.00", R"({"node": "n1", "shard": 0})", "metadata.name"},
      {"n1.a", R"({"node": "n1", "shard": 0})", "metadata.name"},
      {"n1-0", R"({"node": "n1", "shard": 0})", "metadata.name"},
      {"n1.0", R"({"shard": 0})", "spec.node"},
      {"n1.0", R"({"node": "", "shard": 0})", "spec.node"},
      {"n1.0", R"({"node": "N1", "shard": 0})", "spec.node"},
      {"n1.0", R"({"node": "n1"})", "spec.shard"},
      {"n1.16", R"({"node": "n1", "shard": 16})", "spec.shard"},
      {"n1.1", R"({"node": "n1", "shard": -1})", "spec.shard"},
      {"n1.0", R"({"node": "n1", "shard": "0"})", "spec.shard"},
      {"n1.0", R"({"node": "n1", "shard": 0, "zone": "a"})", "spec.zone", true},
      {"n1.0", workloads_of_n1(workload() + "," + workload()), "spec.workloads[1]"},
      {"n1.0", workloads_of_n1(workload("{}", std::string(129, 'u'))), "spec.workloads[0].uid"},
      {"n1.0", many_workloads(513), "spec.workloads"},
      {"n1.0", workloads_of_n1(workload(R"({"more": "x"})")), "spec.workloads[0].more", true},
  };
  for (const std::string key : {"namespace", "name", "uid", "serviceAccount", "ips", "tunnel"})
    all.push_back({"n1.0", workloads_of_n1(workload(R"({")" + key + R"(": null})")), "spec.workloads[0]." + key});
  const std::pair<std::string, std::string> values[] = {
      {"namespace", R"("")"},
      {"namespace", R"("a/b")"},
      {"namespace", R"("a.b")"},
      {"name", R"("")"},
      {"name", R"("Web")"},
      {"uid", R"("")"},
      {"serviceAccount", R"("")"},
      {"serviceAccount", R"("web/sa/admin")"},
      {"serviceAccount", R"("web\n")"},
      {"ips", "[]"},
      {"ips", R"(["10.0.0.256"])"},
      {"ips", R"(["10.0.0.1/32"])"},
      {"ips", R"(["web"])"},
      {"ips", R"(["fe80::1%eth0"])"},
      {"ips", R"([""])"},
      {"ips", R"(["10.0.0.1", "fd00::1", "10.0.0.2"])"},
      {"tunnel", R"("NONE")"},
      {"tunnel", R"("")"},
  };
  for (const auto& [key, value] : values)
    all.push_back(
        {"n1.0", workloads_of_n1(workload(R"({")" + key + R"(": )" + value + "}")), "spec.workloads[0]." + key});
  return all;
}

}  // namespace underpass::test
