// SPDX-License-Identifier: Apache-2.0
// A store that takes over changes one by one ends where one that is told everything at once would: whatever files are
// added, changed, swapped, broken and removed. And an update costs what changed.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "agent/k8s/folder.h"
#include "agent/state/store.h"

namespace underpass::state {
namespace {

using Texts = std::map<std::string, std::string>;

std::string object_text(const std::string& kind, const std::string& name, int version) {
  const auto id = "metadata: {name: " + name + ", namespace: shop}, ";
  const auto ip = "10.0.0." + std::to_string(version + 1);
  if (kind == "Pod") return "{apiVersion: v1, kind: Pod, " + id + "status: {podIP: " + ip + "}}";
  if (kind == "Service") return "{apiVersion: v1, kind: Service, " + id + "spec: {clusterIP: " + ip + "}}";
  if (kind == "Node") {
    return "{apiVersion: v1, kind: Node, " + id + "status: {addresses: [{type: InternalIP, address: " + ip + "}]}}";
  }
  if (kind == "AuthorizationPolicy") {
    return "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, " + id +
           "spec: {rules: [{from: [{source: {ipBlocks: [" + ip + "]}}]}]}}";
  }
  if (kind == "PeerAuthentication") {
    const auto mode = version == 999 ? "strict" : std::array{"DISABLE", "PERMISSIVE", "STRICT"}.at(version % 3);
    return "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, " + id + "spec: {mtls: {mode: " + mode + "}}}";
  }
  if (kind == "RequestAuthentication") {
    const auto issuer = version == 999 ? "''" : "issuer-" + std::to_string(version);
    return "{apiVersion: security.istio.io/v1, kind: RequestAuthentication, " + id +
           "spec: {jwtRules: [{issuer: " + issuer + ", jwksUri: 'https://idp/keys'}]}}";
  }
  if (kind == "Mesh") {
    const auto domain = version == 999 ? "-" : "mesh-" + std::to_string(version);
    return "{apiVersion: underpass.dev/v1alpha1, kind: Mesh, metadata: {name: default}, spec: {trustDomain: " + domain +
           "}}";
  }
  if (kind == "Namespace") return "{apiVersion: v1, kind: Namespace, metadata: {name: " + name + "}}";
  return "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, " + id +
         "addressType: IPv4, endpoints: [{addresses: [" + ip + "]}]}";
}

std::shared_ptr<const k8s::File> make_file(const std::string& path, const std::string& text) {
  return std::make_shared<const k8s::File>(k8s::decode_file(path, text, {}));
}

// All that a snapshot says, one line each.
std::string dump(const model::Snapshot& snapshot) {
  std::string out;
  for (const auto& [name, ns] : snapshot.namespaces) out += "Namespace " + name + "\n";
  for (const auto& [id, pod] : snapshot.pods) out += "Pod " + id.to_string() + " " + pod.ips.at(0).to_string() + "\n";
  for (const auto& [id, service] : snapshot.services) {
    out += "Service " + id.to_string() + " " + service->cluster_ips.at(0).to_string() + "\n";
  }
  for (const auto& [id, slice] : snapshot.slices) {
    out += "EndpointSlice " + id.to_string() + " " + slice->endpoints.at(0).ip.to_string() + "\n";
  }
  for (const auto& [name, node] : snapshot.nodes) out += "Node " + name + " " + node.addresses.at(0).to_string() + "\n";
  for (const auto& [id, policy] : snapshot.authorization_policies) {
    const auto& blocks = policy->rules.at(0).from.at(0).ip_blocks.values;
    out += "AuthorizationPolicy " + id.to_string() + " " + blocks.at(0).base.to_string() + "\n";
  }
  for (const auto& [id, peers] : snapshot.peer_authentications) {
    out += "PeerAuthentication " + id.to_string() + " " + std::to_string(static_cast<int>(peers->mode)) + "\n";
  }
  for (const auto& [id, tokens] : snapshot.request_authentications) {
    out += "RequestAuthentication " + id.to_string() + " " + tokens->rules.at(0).issuer + "\n";
  }
  if (snapshot.mesh) out += "Mesh " + snapshot.mesh->trust_domain + "\n";
  for (const auto& diagnostic : snapshot.diagnostics) {
    out += diagnostic.state == model::Diagnostic::State::kStale ? "stale " : "refused ";
    out += k8s::object_name(diagnostic.kind, diagnostic.id) + " " + diagnostic.path + ": " + diagnostic.cause + " " +
           diagnostic.since + "\n";
  }
  return out;
}

TEST_CASE("store: the new kinds go stale, and come and go, like the others") {
  for (const char* kind : {"Service", "EndpointSlice", "Node", "AuthorizationPolicy"}) {
    CAPTURE(kind);
    Store store([] { return std::chrono::system_clock::time_point{}; });
    const auto feed = [&](const std::string& text) {
      k8s::Contents contents;
      contents.files.push_back(make_file("a.yaml", text));
      return store.update(contents);
    };
    CHECK(feed(object_text(kind, "web", 6)));
    const auto good = dump(*store.snapshot());
    CHECK(good.starts_with(kind));
    CHECK(good.ends_with("web 10.0.0.7\n"));
    CHECK(feed(object_text(kind, "web", 999)));  // 10.0.0.1000
    auto after = dump(*store.snapshot());
    CHECK(after.starts_with(good + "stale " + kind));
    CHECK(after.contains("\"10.0.0.1000\": not an IP address"));
    CHECK(feed("{"));
    after = dump(*store.snapshot());
    CHECK(after.starts_with(good + "stale " + kind));
    CHECK(feed(object_text(kind, "web", 6)));
    CHECK(dump(*store.snapshot()) == good);
    CHECK(feed(object_text(kind, "other", 999)));
    CHECK(dump(*store.snapshot()).starts_with(std::string("refused ") + kind));
  }
}

TEST_CASE("store: what did not change is the same object") {
  Store store;
  k8s::Contents contents;
  contents.files = {make_file("a.yaml", object_text("Service", "a", 1)),
                    make_file("b.yaml", object_text("Service", "b", 1))};
  CHECK(store.update(contents));
  const auto a = store.snapshot()->services.at({"shop", "a"});
  const auto b = store.snapshot()->services.at({"shop", "b"});
  contents.files = {make_file("a.yaml", "# moved\n" + object_text("Service", "a", 1)),
                    make_file("b.yaml", object_text("Service", "b", 2))};
  CHECK(store.update(contents));
  CHECK(store.snapshot()->services.at({"shop", "a"}) == a);
  CHECK(store.snapshot()->services.at({"shop", "b"}) != b);
}

// A source whose files change at random.
class Folder {
 public:
  static constexpr const char* kKinds[] = {"Namespace",
                                           "Pod",
                                           "Service",
                                           "EndpointSlice",
                                           "Node",
                                           "AuthorizationPolicy",
                                           "PeerAuthentication",
                                           "RequestAuthentication",
                                           "Mesh"};

  void change() {
    const auto path = std::string(1, static_cast<char>('a' + pick(6))) + ".yaml";
    switch (pick(5)) {
      case 0:
        files_.erase(path);
        break;
      case 1:
        files_[path] = make_file(path, random_text() + "\n---\n{");
        break;
      case 2:
        files_[path] = make_file(path, random_text() + "\n---\n{kind: Pod}\n---\n5\n");
        break;
      default:
        files_[path] = make_file(path, random_text());
    }
    reversed_ = pick(10) == 0;
  }

  [[nodiscard]] k8s::Contents contents() {
    k8s::Contents out;
    for (const auto& [path, file] : files_) out.files.push_back(file);
    if (reversed_) std::ranges::reverse(out.files);
    if (pick(10) == 0) out.lost = k8s::Unreadable{"folder", "gone"};
    return out;
  }

 private:
  std::string random_text() {
    std::string text;
    for (auto count = pick(6); count > 0; --count) {
      const auto version = static_cast<int>(pick(4) == 0 ? 999 : pick(3));  // 10.0.0.1000 does not decode
      text += object_text(kKinds[pick(std::size(kKinds))], std::string(1, static_cast<char>('p' + pick(4))), version) +
              "\n---\n";
    }
    return text;
  }
  std::size_t pick(std::size_t below) { return random_() % below; }

  std::mt19937 random_{20260102};
  std::map<std::string, std::shared_ptr<const k8s::File>> files_;
  bool reversed_ = false;
};

// What Store did before it knew what changed, word for word in its results: every file walked at every update.
class WholeStore {
 public:
  std::string update(const k8s::Contents& contents, const std::string& now) {
    now_ = now;
    known_ = std::exchange(since_, {});
    held_before_ = std::exchange(held_, {});
    before_ = std::exchange(snapshot_, {});
    owners_.clear();
    for (const auto& file : contents.files) take(*file);
    if (contents.lost) report({}, true, contents.lost->place, contents.lost->cause, contents.lost->place);
    std::ranges::sort(snapshot_.diagnostics, {}, [](const model::Diagnostic& diagnostic) {
      return std::tie(diagnostic.kind, diagnostic.id, diagnostic.path, diagnostic.cause);
    });
    return dump(snapshot_);
  }

 private:
  void take(const k8s::File& file) {
    auto& held = held_[file.path];
    for (const auto& item : file.items) {
      const ObjectKey key{item.kind, item.id};
      held.emplace(key, item.place);
      const auto [owner, first] = owners_.emplace(key, item.place);
      if (!first) {
        report(key, false, item.place, "already defined at " + owner->second + ": only the first one counts",
               file.path);
      } else if (item.object) {
        std::visit([this](const auto& value) { put(snapshot_, value); }, *item.object);
      } else {
        keep(key, item.object.error().path, item.object.error().cause);
      }
    }
    if (file.unreadable.empty()) return;
    bool explained = false;
    for (const auto& [key, place] : held_before_[file.path]) {
      if (!held.emplace(key, place).second || !owners_.emplace(key, place).second) continue;
      keep(key, file.unreadable.front().place, file.unreadable.front().cause);
      explained = true;
    }
    for (const auto& text : file.unreadable) {
      if (!std::exchange(explained, false)) report({}, false, text.place, text.cause, file.path);
    }
  }

  static void put(model::Snapshot& to, const model::Namespace& value) { to.namespaces[value.name] = value; }
  static void put(model::Snapshot& to, const model::ServiceAccount& value) { to.service_accounts[value.id] = value; }
  static void put(model::Snapshot& to, const model::Pod& value) { to.pods[value.id] = value; }
  static void put(model::Snapshot& to, const model::Node& value) { to.nodes[value.name] = value; }
  static void put(model::Snapshot& to, const std::shared_ptr<const model::Service>& value) {
    to.services[value->id] = value;
  }
  static void put(model::Snapshot& to, const std::shared_ptr<const model::EndpointSlice>& value) {
    to.slices[value->id] = value;
  }
  static void put(model::Snapshot& to, const std::shared_ptr<const model::AuthorizationPolicy>& value) {
    to.authorization_policies[value->id] = value;
  }
  static void put(model::Snapshot& to, const std::shared_ptr<const model::PeerAuthentication>& value) {
    to.peer_authentications[value->id] = value;
  }
  static void put(model::Snapshot& to, const std::shared_ptr<const model::RequestAuthentication>& value) {
    to.request_authentications[value->id] = value;
  }
  static void put(model::Snapshot& to, const std::shared_ptr<const model::NodeWorkloads>& value) {
    to.node_workloads[value->name] = value;
  }
  static void put(model::Snapshot& to, const model::MeshConfig& value) { to.mesh = value; }

  void keep(const ObjectKey& key, const std::string& path, const std::string& cause) {
    const auto copy = [&](const auto& from, const auto& name) {
      const auto found = from.find(name);
      if (found != from.end()) put(snapshot_, found->second);
      return found != from.end();
    };
    bool stale = false;
    if (key.kind == "Namespace") stale = copy(before_.namespaces, key.id.name);
    if (key.kind == "Pod") stale = copy(before_.pods, key.id);
    if (key.kind == "Service") stale = copy(before_.services, key.id);
    if (key.kind == "EndpointSlice") stale = copy(before_.slices, key.id);
    if (key.kind == "Node") stale = copy(before_.nodes, key.id.name);
    if (key.kind == "AuthorizationPolicy") stale = copy(before_.authorization_policies, key.id);
    if (key.kind == "PeerAuthentication") stale = copy(before_.peer_authentications, key.id);
    if (key.kind == "RequestAuthentication") stale = copy(before_.request_authentications, key.id);
    if (key.kind == "Mesh" && (stale = before_.mesh.has_value())) snapshot_.mesh = before_.mesh;
    report(key, stale, path, cause, "");
  }

  void report(const ObjectKey& key, bool stale, const std::string& path, const std::string& cause,
              const std::string& file) {
    const auto failure = std::pair(key, file);
    const auto known = known_.find(failure);
    const auto since = since_.emplace(failure, known == known_.end() ? now_ : known->second).first->second;
    const auto state = stale ? model::Diagnostic::State::kStale : model::Diagnostic::State::kRefused;
    snapshot_.diagnostics.push_back({key.kind, key.id, state, path, cause, since});
  }

  std::string now_;
  model::Snapshot snapshot_;
  model::Snapshot before_;
  std::map<ObjectKey, std::string> owners_;
  std::map<std::string, std::map<ObjectKey, std::string>> held_;
  std::map<std::string, std::map<ObjectKey, std::string>> held_before_;
  std::map<std::pair<ObjectKey, std::string>, std::string> since_;
  std::map<std::pair<ObjectKey, std::string>, std::string> known_;
};

// What is another in `now`, or there in one of both alone.
template <typename Objects>
std::set<NamespacedName> differences(const Objects& before, const Objects& now) {
  std::set<NamespacedName> out;
  for (const auto& [id, object] : before)
    if (const auto found = now.find(id); found == now.end() || found->second != object) out.insert(id);
  for (const auto& [id, object] : now)
    if (!before.contains(id)) out.insert(id);
  return out;
}

// More may be named than changed, and nothing that changed may be left out.
void check_changes(const model::Changes& changes, const model::Snapshot& before, const model::Snapshot& now) {
  const auto covers = [](const auto& named, const auto& changed) { return std::ranges::includes(named, changed); };
  REQUIRE(covers(changes.services, differences(before.services, now.services)));
  REQUIRE(covers(changes.slices, differences(before.slices, now.slices)));
  REQUIRE(covers(changes.pods, differences(before.pods, now.pods)));
  REQUIRE((changes.nodes || before.nodes == now.nodes));
}

TEST_CASE("store: change by change it says what a walk over everything says") {
  Folder folder;
  std::time_t now = 1767322800;  // 2026-01-02T03:00:00Z
  Store store([&] { return std::chrono::system_clock::from_time_t(now); });
  WholeStore whole;
  std::string before;
  std::shared_ptr<const model::Snapshot> kept;
  std::string kept_says;
  model::Snapshot last;
  for (int i = 0; i < 5000; ++i) {
    CAPTURE(i);
    now += 1;
    folder.change();
    if (i % 3 == 0) folder.change();
    const auto contents = folder.contents();
    const bool changed = store.update(contents);
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    std::string text(20, '\0');
    REQUIRE(std::strftime(text.data(), text.size() + 1, "%Y-%m-%dT%H:%M:%SZ", &parts) == text.size());
    const auto expected = whole.update(contents, text);
    REQUIRE(dump(*store.snapshot()) == expected);
    check_changes(store.take_changes(), last, *store.snapshot());
    last = *store.snapshot();
    REQUIRE(changed == (expected != before));
    before = expected;
    if (kept) REQUIRE(dump(*kept) == kept_says);  // who keeps the pointer keeps what it says
    if (i % 7 == 0) {
      kept = store.snapshot();
      kept_says = expected;
    } else if (i % 7 == 3) {
      kept.reset();
    }
  }
}

TEST_CASE("store: one file changed among a thousand") {
  k8s::Contents contents;
  const auto make = [](int number, int version) {
    const auto name = "web-" + std::to_string(number);
    std::string text = object_text("EndpointSlice", name, version);
    for (int i = 0; i < 10; ++i) text += "\n---\n" + object_text("Service", name + "-" + std::to_string(i), 1);
    return make_file("/etc/mesh/" + name + ".yaml", text);
  };
  for (int i = 0; i < 1000; ++i) contents.files.push_back(make(i, 1));
  Store store;
  CHECK(store.update(contents));
  CHECK(store.snapshot()->services.size() == 10'000);
  CHECK(store.snapshot()->slices.size() == 1000);

  std::vector<double> milliseconds;
  for (int i = 0; i < 50; ++i) {
    const int number = i * 19;
    contents.files[static_cast<std::size_t>(number)] = make(number, 2);
    timespec start{};
    timespec end{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    const bool changed = store.update(contents);
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    CHECK(changed);
    milliseconds.push_back(static_cast<double>(end.tv_sec - start.tv_sec) * 1e3 +
                           static_cast<double>(end.tv_nsec - start.tv_nsec) / 1e6);
  }
  std::ranges::sort(milliseconds);
  MESSAGE("median of one change: " << milliseconds[25] << " ms");
  CHECK(milliseconds[25] < 2);  // with sanitizers too; a walk over everything takes ten times as long
}

}  // namespace
}  // namespace underpass::state
