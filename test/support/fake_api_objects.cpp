// SPDX-License-Identifier: Apache-2.0
#include "test/support/fake_api_objects.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>
#include <stdexcept>
#include <utility>

namespace underpass::test {
namespace json = boost::json;

namespace {

constexpr std::string_view kVersionMark = "@VERSION@";
constexpr const char* kDefinitions = "CustomResourceDefinition";

std::string text_of(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : "";
}

std::string group_of(const std::string& api_version) {
  const auto slash = api_version.find('/');
  return slash == std::string::npos ? "" : api_version.substr(0, slash);
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) return;
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

// "00000000-0000-4000-8000-00000000002a".
std::string uid_of(std::uint64_t number) {
  char text[40];
  std::snprintf(text, sizeof text, "00000000-0000-4000-8000-%012llx", static_cast<unsigned long long>(number));
  return text;
}

json::value definition_of(const FakeResource& resource, const std::vector<std::string>& versions) {
  json::array served;
  for (const auto& version : versions) {
    served.push_back({{"name", version}, {"served", true}, {"storage", version == versions.front()}});
  }
  return {{"apiVersion", "apiextensions.k8s.io/v1"},
          {"kind", kDefinitions},
          {"metadata", {{"name", resource.full_name()}}},
          {"spec",
           {{"group", resource.group},
            {"names", {{"kind", resource.kind}, {"plural", resource.plural}}},
            {"scope", resource.namespaced ? "Namespaced" : "Cluster"},
            {"versions", served}}}};
}

const FakeResource& definitions() { return fake_resource(kDefinitions, "apiextensions.k8s.io"); }

}  // namespace

std::string FakeResource::group_path(const std::string& version) const {
  return group.empty() ? "/api/" + version : "/apis/" + group + "/" + version;
}

std::string FakeResource::api_version(const std::string& version) const {
  return group.empty() ? version : group + "/" + version;
}

const std::vector<FakeResource>& fake_resources() {
  static const std::vector<FakeResource> all{
      {"", {"v1"}, "namespaces", "Namespace", false},
      {"", {"v1"}, "nodes", "Node", false},
      {"", {"v1"}, "pods", "Pod"},
      {"", {"v1"}, "services", "Service"},
      {"", {"v1"}, "serviceaccounts", "ServiceAccount"},
      {"", {"v1"}, "events", "Event"},
      {"events.k8s.io", {"v1"}, "events", "Event"},
      {"discovery.k8s.io", {"v1"}, "endpointslices", "EndpointSlice"},
      {"apps", {"v1"}, "daemonsets", "DaemonSet"},
      {"apiextensions.k8s.io", {"v1"}, "customresourcedefinitions", kDefinitions, false},
      {"security.istio.io", {"v1", "v1beta1"}, "authorizationpolicies", "AuthorizationPolicy", true, true},
      {"security.istio.io", {"v1", "v1beta1"}, "peerauthentications", "PeerAuthentication", true, true},
      {"security.istio.io", {"v1", "v1beta1"}, "requestauthentications", "RequestAuthentication", true, true},
      {"underpass.dev", {"v1alpha1"}, "meshes", "Mesh", false, true},
      {"underpass.dev", {"v1alpha1"}, "nodeworkloads", "NodeWorkloads", false, true},
  };
  return all;
}

const FakeResource& fake_resource(std::string_view kind, std::string_view group) {
  for (const auto& resource : fake_resources()) {
    if (resource.kind == kind && resource.group == group) return resource;
  }
  throw std::runtime_error("the fake API server knows no " + std::string(kind) + " of group \"" + std::string(group) +
                           "\"");
}

std::string FakeObject::text(const std::string& prefix, std::uint64_t as_version) const {
  return prefix + head + std::to_string(as_version) + tail;
}

std::string FakeObjects::text(const FakeResource& resource, const std::string& version, const FakeObject& object,
                              std::uint64_t as_version) {
  return object.text(R"({"kind":")" + resource.kind + R"(","apiVersion":")" + resource.api_version(version) + "\",",
                     as_version);
}

void FakeObjects::put(const json::value& value, std::string_view from, std::string_view to) {
  json::object object = value.as_object();
  const auto& resource = fake_resource(text_of(object, "kind"), group_of(text_of(object, "apiVersion")));
  if (resource.custom && !defined_.contains(&resource)) {
    throw std::runtime_error(resource.full_name() + " is not defined");
  }
  auto& metadata = object.at("metadata").as_object();
  auto made = std::make_shared<FakeObject>();
  made->id = {resource.namespaced ? text_of(metadata, "namespace") : "", text_of(metadata, "name")};
  auto& slot = objects_[&resource][made->id];
  made->version = version_ + 1;
  made->uid = text_of(metadata, "uid");
  made->created = text_of(metadata, "creationTimestamp");
  if (made->uid.empty()) made->uid = slot ? slot->uid : uid_of(next_uid_++);
  if (made->created.empty()) made->created = slot ? slot->created : "2026-01-02T03:04:05Z";
  metadata["uid"] = made->uid;
  metadata["creationTimestamp"] = made->created;
  metadata["resourceVersion"] = kVersionMark;
  if (const auto* spec = object.if_contains("spec"); spec != nullptr && spec->is_object()) {
    made->node = text_of(spec->as_object(), "nodeName");
  }
  object.erase("kind");
  object.erase("apiVersion");
  std::string text = json::serialize(object).substr(1);  // without its "{"
  replace_all(text, from, to);
  const auto at = text.find(kVersionMark);
  made->head = text.substr(0, at);
  made->tail = text.substr(at + kVersionMark.size());
  FakeObjectPtr before = std::exchange(slot, made);
  record({made->version, &resource, std::move(before), made});
}

bool FakeObjects::remove(const FakeResource& resource, const NamespacedName& id) {
  auto& objects = objects_[&resource];
  const auto found = objects.find(id);
  if (found == objects.end()) return false;
  FakeObjectPtr before = std::move(found->second);
  objects.erase(found);
  record({version_ + 1, &resource, std::move(before), nullptr});
  return true;
}

void FakeObjects::record(FakeChange change) {
  version_ = change.version;
  history_.push_back(std::move(change));
  keep_history(longest_history_);
}

void FakeObjects::keep_history(std::size_t changes) {
  longest_history_ = changes;
  while (history_.size() > changes) {
    oldest_ = history_.front().version;
    history_.pop_front();
  }
}

void FakeObjects::forget_history() {
  history_.clear();
  oldest_ = version_;
}

void FakeObjects::restart_versions_at(std::uint64_t version) {
  version_ = version;
  forget_history();
  for (auto& [resource, objects] : objects_) {
    for (auto& [id, object] : objects) {
      auto copy = std::make_shared<FakeObject>(*object);
      copy->version = std::min(copy->version, version);
      object = std::move(copy);
    }
  }
}

void FakeObjects::define(const FakeResource& resource, std::vector<std::string> versions) {
  if (versions.empty()) versions = resource.versions;
  put(definition_of(resource, versions));
  defined_[&resource] = std::move(versions);
}

void FakeObjects::undefine(const FakeResource& resource) {
  while (!objects_[&resource].empty()) remove(resource, NamespacedName(objects_[&resource].begin()->first));
  remove(definitions(), {"", resource.full_name()});
  defined_.erase(&resource);
}

bool FakeObjects::serves(const FakeResource& resource, const std::string& version) const {
  const auto defined = defined_.find(&resource);
  if (resource.custom && defined == defined_.end()) return false;
  const auto& versions = resource.custom ? defined->second : resource.versions;
  return std::ranges::find(versions, version) != versions.end();
}

const FakeObjectMap& FakeObjects::objects(const FakeResource& resource) const {
  static const FakeObjectMap none;
  const auto found = objects_.find(&resource);
  return found == objects_.end() ? none : found->second;
}

std::optional<FakeObjectMap> FakeObjects::objects_at(const FakeResource& resource, std::uint64_t version) const {
  if (version < oldest_) return std::nullopt;
  FakeObjectMap then = objects(resource);
  for (auto change = history_.rbegin(); change != history_.rend() && change->version > version; ++change) {
    if (change->resource != &resource) continue;
    const auto& id = (change->before ? change->before : change->after)->id;
    if (change->before) {
      then[id] = change->before;
    } else {
      then.erase(id);
    }
  }
  return then;
}

}  // namespace underpass::test
