// SPDX-License-Identifier: Apache-2.0
// What policies that only tell (dry run, AUDIT) have to say of requests: what a worker counts and the agent adds to
// underpass_dry_run_denied_total and underpass_audited_total. Each rule is told of once: one that asks for HTTP by the
// worker, for each request; every other by the kernel's programs, for each connection.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

#include "underpass/ids.h"

namespace underpass {

struct PolicyNotice {
  NetnsCookie server = 0;  // the pod that it is a policy of
  NamespacedName policy;   // empty: no ALLOW policy matches, of which some are in dry run
  bool audited = false;    // an AUDIT policy matches; else it would have been denied

  auto operator<=>(const PolicyNotice&) const = default;
};

struct PolicyNoticeCount {
  PolicyNotice notice;
  std::uint64_t requests = 0;

  bool operator==(const PolicyNoticeCount&) const = default;
};

// So many go into one packet (worker_protocol.h); the longest that there can be fit.
inline constexpr std::size_t kNoticesPerPacket = 64;

}  // namespace underpass
