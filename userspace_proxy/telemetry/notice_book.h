// SPDX-License-Identifier: Apache-2.0
// How often policies that only tell had something to tell since it was last taken, of one traffic thread. As many as
// there are such policies, which the agent has chosen.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "underpass/policy_notice.h"
#include "userspace_proxy/authz/authorizer.h"

namespace underpass::telemetry {

class NoticeBook {
 public:
  // Of a request, or of a connection that is no HTTP, to that pod.
  void add(NetnsCookie server, std::span<const authz::Notice> notices) {
    for (const auto& [policy, audited] : notices) ++counts_[{.server = server, .policy = policy, .audited = audited}];
  }
  [[nodiscard]] std::vector<PolicyNoticeCount> take() {
    std::vector<PolicyNoticeCount> out;
    for (const auto& [notice, requests] : std::exchange(counts_, {}))
      out.push_back({.notice = notice, .requests = requests});
    return out;
  }

 private:
  std::map<PolicyNotice, std::uint64_t> counts_;
};

}  // namespace underpass::telemetry
