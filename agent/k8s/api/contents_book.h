// SPDX-License-Identifier: Apache-2.0
// The contents that a listener is told, kept up to date in place: a change costs a search for the file's place, and of
// the others no string is looked at and nothing is copied.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "agent/k8s/contents.h"

namespace underpass::k8s {

class ContentsBook {
 public:
  // Null: gone. Takes effect with settle(); the last word for a path counts.
  void change(const std::string& path, const std::shared_ptr<const File>& file) { changes_[path] = file; }
  [[nodiscard]] bool changed() const { return !changes_.empty(); }
  void settle();

  // In the order of their paths.
  [[nodiscard]] const Contents& contents() const { return contents_; }
  void set_lost(std::optional<Unreadable> lost) { contents_.lost = std::move(lost); }

 private:
  Contents contents_;
  std::map<std::string, std::shared_ptr<const File>> changes_;
};

}  // namespace underpass::k8s
