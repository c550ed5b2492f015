// SPDX-License-Identifier: Apache-2.0
#include "test/fake/scene.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <ctime>
#include <stdexcept>
#include <utility>
#include <variant>

#include "agent/k8s/decode.h"
#include "test/fake/objects.h"
#include "test/support/eventually.h"
#include "test/support/files.h"

namespace underpass::fake {
namespace {

double thread_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

template <typename T>
T or_throw(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

// Which version of its kind an object is, by what objects.h writes into it.
std::optional<long> version_of(const k8s::Object& object) {
  if (const auto* pod = std::get_if<model::Pod>(&object)) {
    const auto label = pod->labels.find("version");
    if (label != pod->labels.end()) return std::stol(label->second);
  }
  if (const auto* slice = std::get_if<std::shared_ptr<const model::EndpointSlice>>(&object)) {
    if (!(*slice)->ports.empty()) return (*slice)->ports.front().port;
  }
  if (const auto* service = std::get_if<std::shared_ptr<const model::Service>>(&object)) {
    if (!(*service)->ports.empty()) return (*service)->ports.front().port;
  }
  return std::nullopt;
}

bool equal(const NamespacedName&, const auto& a, const auto& b) { return a == b; }
template <typename T>
bool equal(const NamespacedName&, const std::shared_ptr<const T>& a, const std::shared_ptr<const T>& b) {
  return *a == *b;
}

NamespacedName id_of(const std::string& name) { return {"", name}; }
NamespacedName id_of(const NamespacedName& id) { return id; }

template <typename Map>
std::string compare(const std::string& kind, const Map& actual, const Map& expected) {
  for (const auto& [key, value] : expected) {
    const auto found = actual.find(key);
    if (found == actual.end()) return k8s::object_name(kind, id_of(key)) + " is missing";
    if (!equal(id_of(key), found->second, value)) return k8s::object_name(kind, id_of(key)) + " is another";
  }
  for (const auto& [key, value] : actual) {
    if (!expected.contains(key)) return k8s::object_name(kind, id_of(key)) + " should not be there";
  }
  return "";
}

std::string compare(const model::Snapshot& actual, const model::Snapshot& expected) {
  std::string text = compare("Namespace", actual.namespaces, expected.namespaces);
  if (text.empty()) text = compare("Node", actual.nodes, expected.nodes);
  if (text.empty()) text = compare("ServiceAccount", actual.service_accounts, expected.service_accounts);
  if (text.empty()) text = compare("Pod", actual.pods, expected.pods);
  if (text.empty()) text = compare("Service", actual.services, expected.services);
  if (text.empty()) text = compare("EndpointSlice", actual.slices, expected.slices);
  if (text.empty())
    text = compare("AuthorizationPolicy", actual.authorization_policies, expected.authorization_policies);
  if (text.empty()) text = compare("PeerAuthentication", actual.peer_authentications, expected.peer_authentications);
  if (text.empty())
    text = compare("RequestAuthentication", actual.request_authentications, expected.request_authentications);
  if (text.empty() && actual.mesh != expected.mesh) text = "Mesh default is another";
  return text;
}

}  // namespace

Scene::Scene(test::FakeApi& api, const Options& options) : api_(api) {
  k8s::ApiOptions server{.user_agent = "underpassd/test (node-1)", .timeouts = options.timeouts};
  if (options.in_cluster) {
    server.service_account_dir = api.in_cluster_folder();
  } else {
    server.kubeconfig = api.kubeconfig(folder_.path(), options.login);
  }
  client_ = or_throw(k8s::ApiClient::open(io_, server));
  k8s::ApiSourceOptions source{.tuning = options.tuning};
  if (options.daemon_set) source.daemon_set = NamespacedName{"underpass-system", "underpass"};
  source_ =
      k8s::ApiSource::make(io_, *client_, std::move(source), [this](const k8s::Contents& contents) { hear(contents); });
}

Scene::~Scene() = default;

void Scene::start() { source_->start(); }

void Scene::run_once() {
  const double before = thread_seconds();
  if (io_.stopped()) io_.restart();
  io_.run_for(std::chrono::milliseconds(5));
  cpu_seconds_ += thread_seconds() - before;
}

bool Scene::until(const std::function<bool()>& condition, Duration deadline) {
  const auto end = test::Clock::now() + deadline;
  while (!condition()) {
    if (test::Clock::now() >= end) return false;
    run_once();
  }
  return true;
}

void Scene::run_for(Duration time) {
  until([] { return false; }, time);
}

bool Scene::until_equal(Duration deadline) {
  return until([&] { return difference().empty(); }, deadline);
}

bool Scene::until_well(Duration deadline) {
  const auto well = [&] {
    return std::ranges::all_of(source_->kinds(), [](const auto& kind) { return !kind.stale_since && kind.synced; }) &&
           !lost() && difference().empty();
  };
  return until(well, deadline);
}

bool Scene::start_and_sync(Duration deadline) {
  start();
  return until([&] { return source_->synced() && told_ > 0; }, deadline) && until_equal(deadline);
}

void Scene::complain(const std::string& what) {
  if (broken_.size() < 1000) broken_ += "call " + std::to_string(told_) + ": " + what + "\n";
}

void Scene::hear(const k8s::Contents& contents) {
  const double before = thread_seconds();
  ++told_;
  if (source_ == nullptr || !source_->synced()) complain("told before all kinds are there");
  std::set<std::string> there;
  std::map<std::string, std::shared_ptr<const k8s::File>> files;
  for (const auto& file : contents.files) {
    if (!files.emplace(file->path, file).second) complain(file->path + " is there twice");
    const auto old = files_.find(file->path);
    if (old != files_.end() && old->second == file) {
      for (const auto& item : file->items) there.insert(k8s::object_name(item.kind, item.id));
      continue;
    }
    if (old != files_.end()) ++replaced_;
    check_versions(*file);
    for (const auto& item : file->items) there.insert(k8s::object_name(item.kind, item.id));
  }
  for (const auto& name : kept_) {
    if (!there.contains(name)) complain(name + " is missing");
  }
  files_ = std::move(files);
  lost_ = contents.lost;
  store_.update(contents);
  cpu_seconds_ -= thread_seconds() - before;
}

void Scene::check_versions(const k8s::File& file) {
  for (const auto& item : file.items) {
    const auto version = item.object ? version_of(*item.object) : std::nullopt;
    if (!version) continue;
    auto& newest = versions_[k8s::object_name(item.kind, item.id) + " " + item.uid];
    if (*version < newest) {
      complain(k8s::object_name(item.kind, item.id) + " goes back from version " + std::to_string(newest) + " to " +
               std::to_string(*version));
    }
    newest = std::max(newest, *version);
  }
}

std::string Scene::difference() const { return compare(*store_.snapshot(), snapshot_of(api_)); }

std::string Scene::state() const {
  std::string text = difference() + (lost_ ? " (lost: " + lost_->cause + ")" : "");
  for (const auto& kind : source_->kinds()) {
    if (kind.synced && !kind.stale_since && kind.problem.empty()) continue;
    text +=
        "; " + kind.kind + (kind.synced ? "" : " not synced") + (kind.stale_since ? " stale: " : ": ") + kind.problem;
  }
  return text;
}

void Scene::keep_all(const std::set<std::string>& but) {
  for (const auto& [path, file] : files_) {
    for (const auto& item : file->items) {
      if (!but.contains(item.kind)) kept_.insert(k8s::object_name(item.kind, item.id));
    }
  }
}

k8s::KindState Scene::kind(const std::string& name) const {
  for (auto& state : source_->kinds()) {
    if (state.kind == name) return state;
  }
  throw std::runtime_error("the source knows no kind " + name);
}

model::Snapshot snapshot_of(test::FakeApi& api) {
  k8s::Contents contents;
  for (const auto& kind : kKinds) {
    for (const auto& object : api.objects(kind)) {
      auto file = std::make_shared<k8s::File>();
      file->path = kind + std::to_string(contents.files.size());
      k8s::decode_document(object, file->path, {}, *file);
      contents.files.push_back(std::move(file));
    }
  }
  state::Store store;
  store.update(contents);
  return *store.snapshot();
}

void put_some(test::FakeApi& api) {
  api.put(namespace_object("shop"));
  api.put(namespace_object("bank"));
  api.put(node_object("node-1"));
  api.put(node_object("node-2"));
  for (int i = 0; i < 5; ++i) {
    const auto number = std::to_string(i);
    api.put(pod_object("shop", "web-" + number, "node-1", 1, "10.0.0." + std::to_string(i + 1)));
    api.put(pod_object("shop", "far-" + number, "node-2", 1, "10.0.1." + std::to_string(i + 1)));
    api.put(slice_object("shop", "web-" + number, 1, 3));
  }
  api.put(service_object("shop", "web"));
  api.put(account_object("shop", "default"));
  api.put(policy_object("shop", "allow-web"));
  api.put(authentication_object("shop", "strict"));
  api.put(tokens_object("shop", "tokens"));
  api.put(mesh_object());
}

}  // namespace underpass::fake
