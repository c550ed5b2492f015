// SPDX-License-Identifier: Apache-2.0
// An authority's files in memory: whoever fetched them from elsewhere takes what became of them back there. Nobody else
// writes them, so there is nothing to lock.
#pragma once

#include <utility>

#include "agent/ca/authority_files.h"

namespace underpass::ca {

class MemoryFiles : public AuthorityFiles {
 public:
  MemoryFiles(std::string path, Files files) : AuthorityFiles(std::move(path)), files_(std::move(files)) {}

  [[nodiscard]] const Files& files() const { return files_; }

  [[nodiscard]] Result<Files> read() const override { return files_; }
  [[nodiscard]] bool has_lock() const override { return false; }
  [[nodiscard]] Result<UniqueFd> lock() const override { return UniqueFd(); }
  [[nodiscard]] Result<void> finish() const override { return {}; }
  [[nodiscard]] Result<void> replace(const Files& files) const override {
    for (const auto& [name, text] : files) {
      if (text.empty())
        files_.erase(name);
      else
        files_[name] = text;
    }
    return {};
  }

 private:
  mutable Files files_;
};

}  // namespace underpass::ca
