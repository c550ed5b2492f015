// SPDX-License-Identifier: Apache-2.0
// Has a certificate for each identity that is wanted, renewed at half of its life. What was good stays in use until it
// ends, whatever becomes of the authority's folder; nothing is signed while that is not good. Keys are in memory alone.
// No timer and no thread: whoever has one calls step() every few seconds, at whatever time the clock says; it may have
// been set forth or back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/ca/details.h"
#include "agent/ca/upkeep.h"
#include "underpass/result.h"
#include "underpass/routing_table.h"

namespace underpass::ca {

struct KeeperOptions {
  std::string folder;  // --ca-dir
  UpkeepOptions upkeep{};
  std::size_t at_once = 64;                   // certificates made in one step: some 20 ms
  std::function<WallTime()> clock = nullptr;  // null: the system's
  std::function<double()> random = nullptr;   // from 0 to below 1; null: a generator of its own
};

enum class Kind { kSvid, kIntermediate, kRoot };

// For `underpassctl certs`.
struct Row {
  Kind kind = Kind::kSvid;
  std::string identity;            // of an SVID
  std::optional<Details> details;  // absent: there is no certificate
  std::optional<WallTime> renewal;
  std::string problem;  // why there is none, or it was not renewed; empty: none
  std::string pem;      // it, and what leads to its root; never a key

  bool operator==(const Row&) const = default;
};

struct Problem {
  std::string text;
  bool urgent = false;  // less than an hour is left, or nothing

  bool operator==(const Problem&) const = default;
};

struct Counts {
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;
};

class Keeper {
 public:
  explicit Keeper(KeeperOptions options);

  // In the place of what was wanted before. Where nothing ever was, the folder is not even looked at.
  void set_wanted(const std::set<std::string>& identities);

  struct Step {
    bool changed = false;           // certificates() or trust_bundle() is another
    bool more = false;              // to be called again at once
    std::vector<std::string> news;  // for the log
  };
  Step step();

  // Those that are valid, by identity.
  [[nodiscard]] const std::map<std::string, Certificate>& certificates() const { return given_; }
  [[nodiscard]] const std::string& trust_bundle() const { return bundle_; }

  // Roots, what signs, then SVIDs by identity.
  [[nodiscard]] std::vector<Row> rows() const;
  [[nodiscard]] std::vector<Problem> problems() const;
  [[nodiscard]] Counts counts() const { return counts_; }
  [[nodiscard]] WallTime now() const;

  // upkeep.h; in force with the next step.
  [[nodiscard]] Result<void> rotate_root() const;

 private:
  struct Entry {
    KeyPair pair;           // empty: there is none
    CertificatePtr issuer;  // that signed it
    std::string chain;      // PEM
    WallTime renewal;
    WallTime next_try;             // after a failure
    std::chrono::seconds pause{};  // before that
    std::string problem;           // of the last try; empty: it was good, or none was made
  };

  void look(WallTime now, Step& step);
  [[nodiscard]] bool must_read(const std::string& fingerprint, WallTime now) const;
  void adopt(Opened opened, Step& step);
  [[nodiscard]] bool is_due(const Entry& entry, WallTime now) const;
  void renew(const std::string& identity, Entry& entry, WallTime now);
  [[nodiscard]] Result<void> make(const std::string& identity, Entry& entry, WallTime now);
  void try_again_at_once();
  [[nodiscard]] std::string cause_of(const Entry& entry) const;
  void add_problems_of_authority(WallTime now, std::vector<Problem>& out) const;
  void add_problems_of_entries(WallTime now, std::vector<Problem>& out) const;

  KeeperOptions options_;
  Folder folder_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, Certificate> given_;
  std::string bundle_;
  Counts counts_;
  WallTime last_{};

  std::optional<Opened> opened_;  // the last good one
  std::string fingerprint_;       // of the folder when it was read
  bool was_read_ = false;
  std::string problem_;  // why the folder is not good; empty: it is
  WallTime since_{};
  WallTime next_upkeep_{};
};

}  // namespace underpass::ca
