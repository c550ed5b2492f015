// SPDX-License-Identifier: Apache-2.0
// What policy denied, as lines of the agent's log. Of denials that are alike (same policy and rule, client pod, server
// pod, side) the first has its line at once; those after it are counted, and told in at most one line a second. Clients
// that are no pod of this node count as one. Memory is bounded: when too many kinds are there, the others are only
// counted, together.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "agent/admin/views.h"
#include "agent/compile/policy_words.h"
#include "underpass/abi.h"

namespace underpass {

class DenialLog {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kPause{1};
  static constexpr std::size_t kMaxKinds = 1024;

  explicit DenialLog(std::size_t max_kinds = kMaxKinds) : max_kinds_(max_kinds) {}

  // `flow` is a denied one.
  void add(const up_flow& flow, const compile::Denier& denier, const admin::PodIndex& pods, Time now);

  // Lines to write now: denied policy="AuthorizationPolicy shop/web" rule=rules[0].from[1]
  // source=shop/a identity=spiffe://... destination=shop/b:8080 side=client count=3
  // For what is only counted: denied others=3
  std::vector<std::string> take(Time now);

 private:
  using Kind = std::tuple<std::string, std::string, std::string, std::string, unsigned>;
  struct Waiting {
    std::string line;  // of the last one, without the count
    std::uint64_t count = 0;
    Time next;  // when it may be told
  };

  std::size_t max_kinds_;
  std::map<Kind, Waiting> kinds_;
  std::uint64_t others_ = 0;
  Time next_others_;
};

}  // namespace underpass
