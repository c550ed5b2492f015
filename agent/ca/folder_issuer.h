// SPDX-License-Identifier: Apache-2.0
// Issues by an authority that stands in a folder (--ca-dir), which is read again when it changes. Keys of certificates
// are in memory alone. Nothing is issued while the folder is not good.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/ca/folder.h"
#include "agent/ca/issuer.h"
#include "agent/ca/upkeep.h"

namespace underpass::ca {

class FolderIssuer : public Issuer {
 public:
  FolderIssuer(std::string folder, const UpkeepOptions& options, std::size_t at_once = 64)
      : folder_(std::move(folder)), options_(options), at_once_(at_once) {}

  bool look(WallTime now, std::vector<std::string>& news) override;
  [[nodiscard]] const std::string& trust_bundle() const override { return bundle_; }
  [[nodiscard]] std::string obstacle() const override;
  [[nodiscard]] WallTime ends() const override { return opened_->authority.ends; }
  [[nodiscard]] bool is_outdated(const Issued& issued, WallTime now) const override;
  [[nodiscard]] std::size_t at_once() const override { return at_once_; }  // 64: some 20 ms
  void issue(const std::string& identity, WallTime now, Done done) override;
  [[nodiscard]] std::vector<Row> rows(WallTime now) const override;
  [[nodiscard]] std::vector<Problem> problems(WallTime now) const override;
  // upkeep.h; in force with the next look.
  [[nodiscard]] Result<void> rotate_root(WallTime now) override { return ca::rotate_root(folder_, options_, now); }

 private:
  [[nodiscard]] bool must_read(const std::string& fingerprint, WallTime now) const;
  [[nodiscard]] Result<Issued> make(const std::string& identity, WallTime now) const;

  Folder folder_;
  UpkeepOptions options_;
  std::size_t at_once_;
  std::optional<Opened> opened_;  // the last good one
  std::string bundle_;
  std::string fingerprint_;  // of the folder when it was read
  bool was_read_ = false;
  std::string problem_;  // why the folder is not good; empty: it is
  WallTime since_{};
  WallTime next_upkeep_{};
  WallTime last_{};
};

}  // namespace underpass::ca
