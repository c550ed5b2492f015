// SPDX-License-Identifier: Apache-2.0
#include "agent/controller/pod_index.h"

#include <boost/json/object.hpp>
#include <utility>

#include "agent/k8s/field.h"

namespace underpass::controller {

void PodIndex::reduce(k8s::Received& received) {
  boost::json::object spec, status;
  k8s::Findings ignored;
  const k8s::Field root(received.object, ignored);
  for (const char* name : {"nodeName", "serviceAccountName"})
    if (const auto text = root["spec"][name].string()) spec[name] = *text;
  if (const auto phase = root["status"]["phase"].string()) status["phase"] = *phase;
  received.object = boost::json::object{{"spec", std::move(spec)}, {"status", std::move(status)}};
}

void PodIndex::put(const k8s::Received& received) {
  const NamespacedName id{.ns = received.ns, .name = received.name};
  remove(id);
  k8s::Findings ignored;
  const k8s::Field root(received.object, ignored);
  const auto phase = root["status"]["phase"].string().value_or("");
  auto node = root["spec"]["nodeName"].string().value_or("");
  if (node.empty() || phase == "Succeeded" || phase == "Failed") return;
  auto account = root["spec"]["serviceAccountName"].string().value_or("default");
  Place place{std::move(node), received.ns, std::move(account)};
  ++counts_[place];
  pods_.emplace(id, std::move(place));
}

void PodIndex::remove(const NamespacedName& id) {
  const auto found = pods_.find(id);
  if (found == pods_.end()) return;
  const auto count = counts_.find(found->second);
  if (--count->second == 0) counts_.erase(count);
  pods_.erase(found);
}

bool PodIndex::runs(const std::string& node, std::string_view ns, std::string_view account) const {
  return counts_.contains({node, std::string(ns), std::string(account)});
}

}  // namespace underpass::controller
