// SPDX-License-Identifier: Apache-2.0
// Has a certificate for each identity that is wanted, renewed at half of its life. What was good stays in use until it
// ends, whatever becomes of who issues. No timer and no thread: whoever has one calls step() every few seconds, at
// whatever time the clock says; it may have been set forth or back.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/ca/issuer.h"
#include "underpass/result.h"
#include "underpass/routing_table.h"

namespace underpass::ca {

using CertificateMap = std::map<std::string, Certificate>;  // by identity

struct KeeperOptions {
  std::unique_ptr<Issuer> issuer;
  std::chrono::seconds svid_life = std::chrono::hours(24);
  CertificateMap remembered{};                // of the agent before this one; those that are not good are left out
  std::function<void()> wake = nullptr;       // an answer came after the step that asked: another is due
  std::function<WallTime()> clock = nullptr;  // null: the system's
  std::function<double()> random = nullptr;   // from 0 to below 1; null: a generator of its own
};

struct Counts {
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;
};

class Keeper {
 public:
  explicit Keeper(KeeperOptions options);
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  // In the place of what was wanted before. Where nothing ever was, nobody is asked.
  void set_wanted(const std::set<std::string>& identities);

  struct Step {
    bool changed = false;           // certificates() or trust_bundle() is another
    bool more = false;              // to be called again at once
    std::vector<std::string> news;  // for the log
  };
  Step step();

  // Those that are valid.
  [[nodiscard]] const CertificateMap& certificates() const { return given_; }
  [[nodiscard]] const std::string& trust_bundle() const { return bundle_; }

  // Roots, what signs, then SVIDs by identity.
  [[nodiscard]] std::vector<Row> rows() const;
  [[nodiscard]] std::vector<Problem> problems() const;
  [[nodiscard]] Counts counts() const { return counts_; }
  [[nodiscard]] WallTime now() const;

  [[nodiscard]] Result<void> rotate_root() { return options_.issuer->rotate_root(now()); }

 private:
  struct Entry {
    std::optional<Issued> held;
    std::string chain;  // PEM
    WallTime renewal;
    bool asked = false;            // the answer is not here yet
    WallTime next_try;             // after a failure
    std::chrono::seconds pause{};  // before that
    std::string problem;           // of the last try; empty: it was good, or none was made
  };

  [[nodiscard]] bool is_due(const Entry& entry, WallTime now) const;
  void renew(const std::string& identity, Entry& entry, WallTime now);
  void take(Entry& entry, Result<Issued> made);
  void hold(Entry& entry, Issued issued);
  void remember(const std::string& identity, Entry& entry);
  void give(Step& step, WallTime now);
  void try_again_at_once();
  [[nodiscard]] std::string cause_of(const Entry& entry) const;
  void add_problems_of_entries(WallTime now, std::vector<Problem>& out) const;

  KeeperOptions options_;
  std::map<std::string, Entry> entries_;
  CertificateMap given_;
  std::string bundle_;
  Counts counts_;
  std::size_t asked_ = 0;  // entries that are
  bool stepping_ = false;
  WallTime last_{};
};

}  // namespace underpass::ca
