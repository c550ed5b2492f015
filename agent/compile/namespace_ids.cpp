// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cassert>

#include "agent/compile/compile.h"

namespace underpass::compile {

std::uint32_t NamespaceIds::id_of(const std::string& ns) {
  const auto [entry, is_new] = ids_.try_emplace(ns, next_);
  if (is_new) {
    assert(next_ != 0 && "four thousand million namespaces");
    ++next_;
  }
  return entry->second;
}

// Two namespaces with one number would be one namespace to the BPF programs. So a number that is taken is not taken
// again, whatever is left in a map: that namespace gets a new one, and its live connections stay as they are.
void NamespaceIds::adopt(const std::string& ns, std::uint32_t id) {
  const bool taken = std::ranges::any_of(ids_, [id](const auto& entry) { return entry.second == id; });
  if (id == 0 || id == UINT32_MAX || taken) return;
  if (ids_.try_emplace(ns, id).second) next_ = std::max(next_, id + 1);
}

}  // namespace underpass::compile
