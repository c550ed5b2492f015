// SPDX-License-Identifier: Apache-2.0
// Every folder of cases/: objects/*.yaml and facts.json go in, through the decoders, the store and the compiler, and
// what comes out must be expected.txt, byte for byte. UNDERPASS_UPDATE_GOLDEN=1 writes it instead: read the diff then.
//
// facts.json says what the node knows beside the objects:
//   {"node": "node-a", "hostNetns": 1, "detachedNamespaces": ["shop"], "workersDecideHttp": true,
//    "netns": {"shop/web": {"cookie": 7, "addresses": ["10.0.0.7"]}, "shop/db": {"error": "why there is none"}},
//    "learned": [{"namespace": "shop", "owner": "Pod/web", "images": ["web:1"], "off": ["splice"]},
//                {"namespace": "shop", "owner": "Pod/db", "images": []}]}
#include <doctest/doctest.h>
#include <fcntl.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <boost/json/value_to.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "agent/compile/compile.h"
#include "agent/compile/policies.h"
#include "agent/compile/policy_compiler.h"
#include "agent/compile/remotes.h"
#include "agent/compile/services.h"
#include "agent/compile/workers.h"
#include "agent/k8s/folder.h"
#include "agent/state/store.h"
#include "underpass/unique_fd.h"

namespace underpass {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), path.string());
  std::stringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

struct NodeFacts {
  compile::Options options;
  compile::NetnsFacts netns;
};

Result<compile::NetnsFact> read_fact(const json::object& fact) {
  if (const auto* error = fact.if_contains("error")) return fail(json::value_to<std::string>(*error));
  compile::NetnsFact out{.cookie = fact.at("cookie").to_number<NetnsCookie>(), .addresses = {}};
  for (const auto& address : fact.at("addresses").as_array()) {
    out.addresses.push_back(IpAddress::parse(json::value_to<std::string>(address)).value());
  }
  return out;
}

NodeFacts read_facts(const fs::path& path) {
  const auto root = json::parse(read(path)).as_object();
  NodeFacts out;
  out.options.node_name = json::value_to<std::string>(root.at("node"));
  if (const auto* host = root.if_contains("hostNetns")) out.options.host_netns = host->to_number<NetnsCookie>();
  if (const auto* detached = root.if_contains("detachedNamespaces")) {
    out.options.detached_namespaces = json::value_to<std::vector<std::string>>(*detached);
  }
  if (const auto* learned = root.if_contains("learned")) {
    for (const auto& one : learned->as_array()) {
      const auto& verdict = one.as_object();
      const auto* off = verdict.if_contains("off");
      out.options.verdicts[{.ns = json::value_to<std::string>(verdict.at("namespace")),
                            .owner = json::value_to<std::string>(verdict.at("owner")),
                            .images = json::value_to<std::vector<std::string>>(verdict.at("images"))}] = {
          .state = off != nullptr ? learn::State::kOff : learn::State::kOn,
          .connections = 8,
          .reads = 32,
          .traits = off != nullptr ? json::value_to<std::vector<std::string>>(*off) : std::vector<std::string>{},
          .since = "2026-03-01T09:30:00Z"};
    }
  }
  for (const auto& [key, fact] : root.at("netns").as_object()) {
    const std::string id(key);
    const auto slash = id.find('/');
    out.netns.emplace(NamespacedName{id.substr(0, slash), id.substr(slash + 1)}, read_fact(fact.as_object()));
  }
  return out;
}

// Paths as seen from the case, so that the text is the same on every machine.
model::Snapshot read_objects(const fs::path& folder) {
  fs::current_path(folder.parent_path());
  k8s::Folder objects(folder.filename(), {.netns_annotation = true, .tunnels_by_label = true});
  const UniqueFd dir(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(static_cast<bool>(dir));
  objects.rescan(dir.get(), {});
  state::Store store([] { return std::chrono::system_clock::time_point{}; });
  store.update(objects.contents());
  return *store.snapshot();
}

std::string to_text(const model::Diagnostic& diagnostic) {
  std::string out = diagnostic.state == model::Diagnostic::State::kStale ? "stale " : "not decoded ";
  if (!diagnostic.kind.empty()) out += k8s::object_name(diagnostic.kind, diagnostic.id) + ": ";
  return out + diagnostic.path + ": " + diagnostic.cause + "\n";
}

// Services as they are dialled from this node; nothing where there are none.
std::string compile_services(const model::Snapshot& snapshot, const std::string& node_name) {
  compile::ServiceCompiler compiler;
  compiler.update(snapshot, node_name, {});
  auto out = compile::to_text(compiler.tables());
  for (const auto& conflict : compiler.conflicts()) {
    out +=
        "refused " + k8s::object_name(conflict.kind, conflict.id) + ": " + conflict.path + ": " + conflict.cause + "\n";
  }
  return out;
}

// Who may connect to the pods, those that have the same set together; nothing where there are no policies.
std::string compile_policies(const model::Snapshot& snapshot, compile::PolicyCompiler& compiler,
                             compile::Compiled& compiled) {
  compiler.update(snapshot, compiled);
  std::map<std::string, std::string> pods_of;
  for (const auto& pod : compiled.pods) {
    const auto set = compiled.tables.policies.find(pod.netns_cookie);
    if (!pod.enrolled || set == compiled.tables.policies.end()) continue;
    auto& pods = pods_of[compile::to_text(*set->second)];
    pods += (pods.empty() ? "" : " ") + pod.id.to_string();
  }
  std::map<std::string, std::string> sorted;
  for (const auto& [set, pods] : pods_of) sorted.emplace(pods, set);
  std::string out;
  for (const auto& [pods, set] : sorted) {
    out += "policy of " + pods + "\n";
    std::istringstream lines(set);
    for (std::string line; std::getline(lines, line);) out += "  " + line + "\n";
  }
  return out;
}

std::string run(const fs::path& folder) {
  auto facts = read_facts(folder / "facts.json");
  const auto snapshot = read_objects(folder / "objects");
  facts.options.trust_domain = snapshot.mesh.value_or(model::MeshConfig{}).trust_domain;
  for (auto& [id, fact] : facts.netns)
    if (const auto pod = snapshot.pods.find(id); fact && pod != snapshot.pods.end())
      fact->path = pod->second.netns_path;
  compile::NamespaceIds ids;
  auto compiled = compile::compile_tables(snapshot, facts.netns, facts.options, ids);
  compile::PolicyCompiler compiler;
  compile::RemoteCompiler remotes;
  remotes.update(snapshot, {}, facts.options.node_name, compiled, compiler.numbers());
  const auto policies = compile_policies(snapshot, compiler, compiled);
  auto out = compile::to_text(compiled) + compile::to_text(remotes.remotes()) + policies;
  out += compile::to_text(compile::WorkerPlanner().plan(snapshot, compiled));
  for (const auto& diagnostic : snapshot.diagnostics) out += to_text(diagnostic);
  return out + compile_services(snapshot, facts.options.node_name);
}

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// Both texts in one: lines of the first alone with "-", of the second alone with "+" (longest common subsequence).
std::string diff(const std::string& wanted, const std::string& got) {
  const auto a = split_lines(wanted);
  const auto b = split_lines(got);
  std::vector<std::vector<std::size_t>> common(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = a.size(); i-- > 0;) {
    for (std::size_t j = b.size(); j-- > 0;) {
      common[i][j] = a[i] == b[j] ? common[i + 1][j + 1] + 1 : std::max(common[i + 1][j], common[i][j + 1]);
    }
  }
  std::string out;
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.size() || j < b.size()) {
    if (i < a.size() && j < b.size() && a[i] == b[j]) {
      out += "  " + a[i++] + "\n";
      ++j;
    } else if (j == b.size() || (i < a.size() && common[i + 1][j] >= common[i][j + 1])) {
      out += "- " + a[i++] + "\n";
    } else {
      out += "+ " + b[j++] + "\n";
    }
  }
  return out;
}

TEST_CASE("golden: objects in, tables out") {
  std::set<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(UNDERPASS_GOLDEN_CASES)) folders.insert(entry.path());
  REQUIRE_FALSE(folders.empty());
  const char* update = std::getenv("UNDERPASS_UPDATE_GOLDEN");
  for (const auto& folder : folders) {
    const auto expected = folder / "expected.txt";
    const auto got = run(folder);
    if (update != nullptr && std::string(update) == "1") {
      std::ofstream(expected, std::ios::binary) << got;
      continue;
    }
    const auto wanted = read(expected);
    const bool same = wanted == got;
    CHECK_MESSAGE(same, folder.filename().string(), ": - is expected.txt, + is what came out\n", diff(wanted, got));
  }
}

TEST_CASE("golden: a mismatch is shown line by line") {
  CHECK(diff("a\nb\nc\n", "a\nx\nc\nd\n") == "  a\n- b\n+ x\n  c\n+ d\n");
  CHECK(diff("", "a\n") == "+ a\n");
  CHECK(diff("a\n", "a\n") == "  a\n");
}

}  // namespace
}  // namespace underpass
