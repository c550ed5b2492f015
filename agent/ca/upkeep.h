// SPDX-License-Identifier: Apache-2.0
// A folder whose root is our own, kept in order by whichever agent comes first, under the folder's lock: made where
// there is nothing, its intermediate renewed at half of its life, its root replaced when an operator asks for it.
// A folder without root-key.pem is an operator's, and never written.
//
// A root is replaced in three steps, so that at no moment a peer misses the root that it needs:
//   asked for        the new one is in the bundle beside the old one, next-root-key.pem is its key
//   + overlap        it signs: every agent has had the time to give the bundle to its workers
//   + longest life   the old one leaves the bundle: what was made under it has ended
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "agent/ca/authority.h"
#include "agent/ca/authority_files.h"
#include "underpass/result.h"

namespace underpass::ca {

struct UpkeepOptions {
  std::chrono::seconds root_life = std::chrono::days(3652);
  std::chrono::seconds intermediate_life = std::chrono::days(365);
  std::chrono::seconds svid_life = std::chrono::hours(24);  // of this agent's
  std::chrono::seconds overlap{60};
};

struct Opened {
  Authority authority;
  std::optional<WallTime> next;   // when something is to be done
  std::string problem;            // what could not be done, though the authority is good
  std::vector<std::string> done;  // for the log: "ca-renewed folder=/x"
};

// What the folder says, after what had to be done. `may_make`: an empty or missing folder is given a new authority.
Result<Opened> open_authority(const AuthorityFiles& folder, const UpkeepOptions& options, WallTime now, bool may_make);

// When an intermediate of our own is renewed.
WallTime half_life(const CertificatePtr& certificate);

// Begins the replacement of the root. Error: the folder is an operator's, or a replacement is under way.
Result<void> rotate_root(const AuthorityFiles& folder, const UpkeepOptions& options, WallTime now);

}  // namespace underpass::ca
