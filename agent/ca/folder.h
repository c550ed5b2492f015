// SPDX-License-Identifier: Apache-2.0
// A certificate authority in a folder (--ca-dir). Read strictly: a key that others may read, or a file that others may
// write, is an error. Several files are replaced as one: a process that is killed in the middle has changed nothing, or
// what is left to do is done by the next that holds the lock.
#pragma once

#include <string>
#include <utility>

#include "agent/ca/authority_files.h"
#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace underpass::ca {

class Folder : public AuthorityFiles {
 public:
  explicit Folder(std::string path) : AuthorityFiles(std::move(path)) {}

  // None where there is no folder. One that is not empty and has none of them is an error.
  [[nodiscard]] Result<Files> read() const override;

  // Another whenever one of the files may be another.
  [[nodiscard]] std::string fingerprint() const;

  // Agents of ours made it: it has their lock file.
  [[nodiscard]] bool has_lock() const override;
  // Makes folder (0700) and lock file where they are missing.
  [[nodiscard]] Result<UniqueFd> lock() const override;

  [[nodiscard]] Result<void> finish() const override;
  [[nodiscard]] Result<void> replace(const Files& files) const override;
};

}  // namespace underpass::ca
