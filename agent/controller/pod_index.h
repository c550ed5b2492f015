// SPDX-License-Identifier: Apache-2.0
// On which nodes pods of which service account run. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <tuple>

#include "agent/controller/signing.h"
#include "agent/k8s/api/object_reader.h"
#include "underpass/ids.h"

namespace underpass::controller {

class PodIndex {
 public:
  // Takes away what is not looked at: of thousands that are listed together the rest would stand in memory.
  static void reduce(k8s::Received& received);
  // A Pod as the API server has it; one that has ended, or is on no node yet, counts for nothing.
  void put(const k8s::Received& received);
  void remove(const NamespacedName& id);
  [[nodiscard]] bool runs(const std::string& node, std::string_view ns, std::string_view account) const;
  [[nodiscard]] std::size_t size() const { return pods_.size(); }

 private:
  using Place = std::tuple<std::string, std::string, std::string>;  // node, namespace, service account

  std::map<NamespacedName, Place> pods_;
  std::map<Place, std::size_t> counts_;
};

}  // namespace underpass::controller
