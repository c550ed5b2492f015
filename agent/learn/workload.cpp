// SPDX-License-Identifier: Apache-2.0
#include "agent/learn/workload.h"

#include "agent/learn/workloads.h"

namespace underpass::learn {

Workload workload_of(const model::Pod& pod) { return {.ns = pod.id.ns, .owner = pod.owner, .images = pod.images}; }

std::string_view name_of(State state) {
  switch (state) {
    case State::kOn:
      return "on";
    case State::kOff:
      return "off";
    case State::kLearning:
      break;
  }
  return "learning";
}

std::string explain(const Verdict& verdict) {
  const auto of = [](std::uint64_t have, std::uint64_t need, const char* what) {
    return std::to_string(have) + " of " + std::to_string(need) + what;
  };
  switch (verdict.state) {
    case State::kOn:
      return "learned: " + std::to_string(verdict.connections) +
             (verdict.connections == 1 ? " connection" : " connections") + " without a trait";
    case State::kOff: {
      std::string traits;
      for (const auto& trait : verdict.traits) traits += (traits.empty() ? "" : ", ") + trait;
      return traits + " seen on " + day_of(verdict.since) + ": stays on TCP";
    }
    case State::kLearning:
      break;
  }
  return "learning: " + of(verdict.connections, kLearnConnections, " connections, ") +
         of(verdict.reads, kLearnReads, " reads");
}

}  // namespace underpass::learn
