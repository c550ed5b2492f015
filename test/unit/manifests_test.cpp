// SPDX-License-Identifier: Apache-2.0
// manifests/ against the code, without a cluster: everything parses and is used, the schema of Mesh takes what the
// decoder takes, and the ports, folders, names and version of both workloads are the code's own. What only an API
// server can tell is in test/kube.
#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/admin/http.h"
#include "agent/agent.h"
#include "agent/cni/installer.h"
#include "agent/controller/signing.h"
#include "agent/k8s/decode.h"
#include "agent/k8s/yaml.h"

namespace underpass {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

const fs::path kManifests = UNDERPASS_MANIFESTS;
const fs::path kMeshes = UNDERPASS_MESHES;

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<json::value> documents_of(const fs::path& path) {
  const auto documents = k8s::parse_yaml(read(path));
  REQUIRE_MESSAGE(documents.has_value(), path.string() << ": " << documents.error().cause);
  std::vector<json::value> out;
  for (const auto& document : *documents) out.push_back(document.value);
  return out;
}

json::value document_of(const fs::path& path) {
  const auto documents = documents_of(path);
  REQUIRE_MESSAGE(documents.size() == 1, path.string());
  return documents.front();
}

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".yaml") out.push_back(entry.path());
  std::ranges::sort(out);
  return out;
}

std::string text(const json::value& value) { return std::string(value.as_string()); }

const json::value* find(const json::value& object, std::string_view key) {
  return object.as_object().if_contains({key.data(), key.size()});
}

TEST_CASE("manifests: every file parses, says what it is, and is part of a kustomization") {
  std::set<fs::path> files, used;
  for (const auto& path : files_below(kManifests)) {
    CAPTURE(path);
    files.insert(path);
    for (const auto& object : documents_of(path)) {
      REQUIRE(find(object, "apiVersion") != nullptr);
      const auto kind = text(*find(object, "kind"));
      if (kind != "Kustomization" && kind != "Component") {
        CHECK(object.at_pointer("/metadata/name").is_string());
        continue;
      }
      used.insert(path);
      const auto* resources = find(object, "resources");
      CHECK((resources != nullptr || find(object, "configMapGenerator") != nullptr));
      if (resources == nullptr) continue;
      for (const auto& resource : resources->as_array()) {
        const auto named = fs::weakly_canonical(path.parent_path() / text(resource));
        CHECK_MESSAGE(fs::exists(named), named.string());
        if (fs::is_regular_file(named)) used.insert(named);
      }
    }
  }
  CHECK(files.size() > 5);
  CHECK(files == used);
}

// --- dashboards ---

std::set<std::string> metrics_in(const std::string& content) {
  static const std::regex kMetric(R"(\b(underpass|istio)_[a-z0-9_]+)");
  std::set<std::string> out;
  for (std::sregex_iterator it(content.begin(), content.end(), kMetric), end; it != end; ++it) out.insert(it->str());
  return out;
}

// Queries, wherever they stand: panels, their targets, variables.
void collect_queries(const json::value& value, std::string& out) {
  if (const auto* array = value.if_array()) {
    for (const auto& one : *array) collect_queries(one, out);
  } else if (const auto* object = value.if_object()) {
    for (const auto& [key, one] : *object) {
      const bool is_query = key == "expr" || key == "definition" || key == "query";
      if (is_query && one.is_string()) {
        out += text(one) + "\n";
      } else {
        collect_queries(one, out);
      }
    }
  }
}

TEST_CASE("manifests: dashboards ask for metrics that agents and controllers have") {
  std::string sources;
  for (const auto& entry : fs::recursive_directory_iterator(UNDERPASS_AGENT))
    if (entry.path().extension() == ".cpp") sources += read(entry.path());
  std::string queries;
  collect_queries(json::parse(read(kManifests / "dashboards/underpass.json")), queries);
  const auto asked = metrics_in(queries);
  CHECK(asked.size() > 40);
  for (auto name : asked) {
    for (const std::string_view part : {"_bucket", "_sum", "_count"})
      if (name.ends_with(part)) name.resize(name.size() - part.size());
    CHECK_MESSAGE(sources.contains('"' + name + '"'), name);
  }
}

// --- Mesh ---

json::value mesh_schema() {
  const auto crd = document_of(kManifests / "base/crd-mesh.yaml");
  return crd.at_pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec");
}

k8s::Decoded<model::MeshConfig> decode_spec(const json::value& spec) {
  return k8s::decode_mesh({{"apiVersion", "underpass.dev/v1alpha1"},
                           {"kind", "Mesh"},
                           {"metadata", {{"name", "default"}}},
                           {"spec", spec}});
}

std::string error_of(const k8s::Decoded<model::MeshConfig>& mesh) {
  return mesh ? "it decodes" : mesh.error().path + ": " + mesh.error().cause;
}

// What the API server makes of nothing: each object's default, filled with those of its members.
json::value defaults_of(const json::value& schema) {
  const auto* value = find(schema, "default");
  REQUIRE_MESSAGE(value != nullptr, json::serialize(schema));
  const auto* properties = find(schema, "properties");
  if (properties == nullptr) return *value;
  CHECK(value->as_object().empty());
  json::object out;
  for (const auto& [name, property] : properties->as_object()) out[name] = defaults_of(property);
  return out;
}

// A spec with this value at the path.
json::value spec_with(const std::vector<std::string>& path, const json::value& value) {
  json::value out = value;
  for (auto key = path.rbegin(); key != path.rend(); ++key) out = json::object{{*key, out}};
  return out;
}

void check_leaf(const json::value& schema, const std::vector<std::string>& path) {
  const auto accepts = [&](const json::value& value) { return decode_spec(spec_with(path, value)).has_value(); };
  if (const auto* choices = find(schema, "enum"))
    for (const auto& choice : choices->as_array()) CHECK_MESSAGE(accepts(choice), choice);
  if (const auto* least = find(schema, "minimum")) {
    CHECK(accepts(*least));
    CHECK_FALSE(accepts(least->as_int64() - 1));
  }
  if (const auto* most = find(schema, "maximum")) {
    CHECK(accepts(*most));
    CHECK_FALSE(accepts(most->as_int64() + 1));
  }
  const bool is_number = text(schema.at("type")) == "integer";
  CHECK(accepts(*find(schema, "default")));
  CHECK_FALSE(accepts(is_number ? json::value("1") : json::value(1)));
}

void check_leaves(const json::value& schema, const std::vector<std::string>& path) {
  CAPTURE(path.size());
  REQUIRE(find(schema, "type") != nullptr);  // structural
  const auto* properties = find(schema, "properties");
  if (properties == nullptr) return check_leaf(schema, path);
  for (const auto& [name, property] : properties->as_object()) {
    CHECK_MESSAGE(find(property, "description") != nullptr, std::string(name));
    auto below = path;
    below.emplace_back(name);
    check_leaves(property, below);
  }
}

TEST_CASE("manifests: the schema of Mesh says what the decoder does") {
  const auto schema = mesh_schema();
  const auto decoded = decode_spec(defaults_of(schema));
  CHECK_MESSAGE(decoded.has_value(), error_of(decoded));
  CHECK(decoded.value() == model::MeshConfig{});
  check_leaves(schema, {});
}

TEST_CASE("manifests: the decoder and the table of Meshes, good ones") {
  const auto files = files_below(kMeshes / "good");
  CHECK(files.size() > 10);
  for (const auto& path : files) {
    const auto decoded = k8s::decode_mesh(document_of(path));
    CHECK_MESSAGE(decoded.has_value(), path.string() << ": " << error_of(decoded));
  }
}

TEST_CASE("manifests: the decoder and the table of Meshes, bad ones") {
  constexpr std::string_view kAt = "\n# at: ";
  const auto files = files_below(kMeshes / "bad");
  CHECK(files.size() > 30);
  for (const auto& path : files) {
    const auto content = read(path);
    const auto from = content.find(kAt);
    REQUIRE_MESSAGE(from != std::string::npos, path.string());
    const auto at = content.substr(from + kAt.size(), content.find('\n', from + 1) - from - kAt.size());
    const auto decoded = k8s::decode_mesh(document_of(path));
    REQUIRE_MESSAGE(!decoded.has_value(), path.string());
    CHECK_MESSAGE(decoded.error().path == at, path.string() << ": " << error_of(decoded));
  }
}

// --- the agent and the controller ---

json::value daemon_set() { return document_of(kManifests / "base/daemonset.yaml"); }
// With its PodDisruptionBudget.
std::vector<json::value> controller() { return documents_of(kManifests / "base/controller.yaml"); }
json::value pod_spec() { return daemon_set().at_pointer("/spec/template/spec"); }
json::value container() { return pod_spec().at_pointer("/containers/0"); }
json::value named(const std::vector<json::value>& objects, const std::string& kind, const std::string& name) {
  const auto found = std::ranges::find_if(objects, [&](const auto& object) {
    return text(object.at("kind")) == kind && text(object.at_pointer("/metadata/name")) == name;
  });
  REQUIRE_MESSAGE(found != objects.end(), kind << " " << name);
  return *found;
}

std::int64_t port_of(const std::string& host_port) { return admin::parse_host_port(host_port).value().port; }

TEST_CASE("manifests: ports, probes and version are those of the code") {
  const AgentOptions options;
  const auto metrics = port_of(options.metrics), ready = port_of(options.ready);
  for (const auto& workload : {daemon_set(), controller().front()}) {
    const auto annotations = workload.at_pointer("/spec/template/metadata/annotations");
    CHECK(text(annotations.at("prometheus.io/port")) == std::to_string(metrics));
    CHECK(admin::metrics_pages({}).contains(text(annotations.at("prometheus.io/path"))));
    CHECK(text(workload.at_pointer("/spec/template/spec/containers/0/image")) == "underpass:" UNDERPASS_VERSION);
  }
  const auto images = document_of(kManifests / "base/kustomization.yaml").at("images");
  CHECK(text(images.at(0).at("name")) == "underpass");
  CHECK(text(images.at(0).at("newTag")) == UNDERPASS_VERSION);

  std::set<std::pair<std::string, std::int64_t>> ports;
  const auto of_controller = controller().front().at_pointer("/spec/template/spec/containers/0");
  for (const auto& port : of_controller.at("ports").as_array())
    ports.emplace(text(port.at("name")), port.at("containerPort").as_int64());
  CHECK(ports == std::set<std::pair<std::string, std::int64_t>>{{"metrics", metrics}, {"ready", ready}});
  for (const auto& [probe, path] :
       {std::pair("readinessProbe", "/healthz/ready"), {"livenessProbe", "/healthz/live"}}) {
    const auto asks = of_controller.at(probe).at("httpGet");
    CHECK(text(asks.at("path")) == path);
    CHECK(admin::ready_pages({}).contains(path));
    CHECK(text(asks.at("port")) == "ready");
  }
  // And nobody else is asked for: NetworkPolicies let these two in.
  const auto policies = documents_of(kManifests / "base/network-policies.yaml");
  std::set<std::int64_t> open;
  for (const auto& port :
       named(policies, "NetworkPolicy", "underpass-controller").at_pointer("/spec/ingress/0/ports").as_array())
    open.insert(port.at("port").as_int64());
  CHECK(open == std::set<std::int64_t>{metrics, ready});
}

TEST_CASE("manifests: two agents fit on a node, and each knows itself from the other") {
  const auto update = daemon_set().at_pointer("/spec/updateStrategy/rollingUpdate");
  CHECK(update == json::value{{"maxSurge", 1}, {"maxUnavailable", 0}});
  const auto agent = container();
  CHECK(find(agent, "ports") == nullptr);  // of a pod on the node's network they would be the node's
  for (const std::string probe : {"startupProbe", "readinessProbe", "livenessProbe"})
    CHECK(text(agent.at(probe).at_pointer("/exec/command/0")) == "/usr/local/bin/underpassctl");
  const auto arguments = agent.at("args").as_array();
  CHECK(std::ranges::count(arguments, json::value("--instance=$(POD_UID)")) == 1);
  const auto env = agent.at("env").as_array();
  const auto variable = [&](const std::string& name) {
    return *std::ranges::find_if(env, [&](const auto& one) { return text(one.at("name")) == name; });
  };
  CHECK(text(variable("POD_UID").at_pointer("/valueFrom/fieldRef/fieldPath")) == "metadata.uid");
  CHECK(text(variable("UNDERPASS_INSTANCE").at("value")) == "$(POD_UID)");
}

TEST_CASE("manifests: what is mounted is the node's, at the same place, and what the agent uses") {
  std::set<std::pair<std::string, std::string>> on_node, in_container;
  for (const auto& volume : pod_spec().at("volumes").as_array())
    on_node.emplace(text(volume.at("name")), text(volume.at_pointer("/hostPath/path")));
  for (const auto& mount : container().at("volumeMounts").as_array())
    in_container.emplace(text(mount.at("name")), text(mount.at("mountPath")));
  CHECK(on_node == in_container);  // a netns or cgroup path that the agent names means the same to the node

  const AgentOptions options;
  CHECK(on_node.contains({"bpffs", options.bpffs}));
  CHECK(on_node.contains({"run", options.run_dir}));
  CHECK(on_node.contains({"state", options.state_dir}));
  const cni::InstallOptions cni;
  CHECK(on_node.contains({"cni-bin", cni.bin_dir}));
  CHECK(on_node.contains({"cni-conf", cni.conf_dir}));
  CHECK(on_node.contains({"cni-cache", cni.cache_dir}));
}

// The account that the workload runs as is there, and has all rights that are called as it is.
void check_account(const json::value& workload, const std::string& rights) {
  const auto name = text(workload.at_pointer("/metadata/name"));
  const auto ns = text(workload.at_pointer("/metadata/namespace"));
  CAPTURE(name);
  for (const auto& [key, value] : workload.at_pointer("/spec/selector/matchLabels").as_object())
    CHECK(workload.at_pointer("/spec/template/metadata/labels").at(key) == value);
  CHECK(text(workload.at_pointer("/spec/template/spec/serviceAccountName")) == name);
  const auto accounts = documents_of(kManifests / "base/service-accounts.yaml");
  CHECK(text(named(accounts, "ServiceAccount", name).at_pointer("/metadata/namespace")) == ns);
  for (const auto& object : documents_of(kManifests / "base" / rights)) {
    CHECK(text(object.at_pointer("/metadata/name")) == name);
    const auto* subjects = find(object, "subjects");
    if (subjects == nullptr) continue;
    CHECK(*subjects == json::value{{{"kind", "ServiceAccount"}, {"name", name}, {"namespace", ns}}});
    CHECK(text(object.at_pointer("/roleRef/name")) == name);
  }
}

TEST_CASE("manifests: names agree with each other, with the rights and with the code") {
  check_account(daemon_set(), "rbac-agent.yaml");
  check_account(controller().front(), "rbac-controller.yaml");
  const auto budget = controller().at(1);
  CHECK(budget.at_pointer("/spec/selector") == controller().front().at_pointer("/spec/selector"));

  const std::string ns = text(document_of(kManifests / "base/namespace.yaml").at_pointer("/metadata/name"));
  const std::string agent = text(daemon_set().at_pointer("/metadata/name"));
  const auto arguments = container().at("args").as_array();
  CHECK(std::ranges::count(arguments, json::value("--daemon-set=" + ns + "/" + agent)) == 1);
  const auto rights = documents_of(kManifests / "base/rbac-agent.yaml");
  const auto role = named(rights, "Role", agent);
  CHECK(text(role.at_pointer("/metadata/namespace")) == ns);
  CHECK(role.at_pointer("/rules/0/resourceNames") == json::value(json::array{agent}));

  // Whom the admission policy binds is whom the manifests call an agent.
  const auto policy = documents_of(kManifests / "base/admission.yaml").front();
  CHECK(text(policy.at_pointer("/spec/matchConditions/0/expression"))
            .contains("'system:serviceaccount:" + ns + ":" + agent + "'"));
  const auto of_controller = documents_of(kManifests / "base/rbac-controller.yaml");
  json::array signers;
  for (const auto& rule : named(of_controller, "ClusterRole", "underpass-controller").at("rules").as_array())
    if (rule.at_pointer("/resources/0") == json::value("signers")) signers = rule.at("resourceNames").as_array();
  CHECK(signers == json::array{json::string(ca::kSignerName)});
}

}  // namespace
}  // namespace underpass
