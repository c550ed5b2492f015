// SPDX-License-Identifier: Apache-2.0
#include "test/bench/way_check.h"

#include <algorithm>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "underpass/abi_names.h"

namespace underpass::bench {
namespace {

constexpr double kWorthNaming = 0.1;  // per cent

}  // namespace

WhileOpen WayCheck::watch(const Pair& pair) {
  if (pair.variant != "short-circuit") return {};
  return [this, before = node_.stats()](const Pair& running, std::uint16_t server_port) {
    add(before, node_.stats());
    check(running, server_port);
  };
}

void WayCheck::check(const Pair& pair, std::uint16_t server_port) {
  const std::string what = "variant short-circuit: connection to " + pair.host + ":" + std::to_string(server_port);
  const std::vector<Node::Way> ways = node_.ways_of(pair, server_port);
  if (ways.empty()) throw std::runtime_error(what + ": not in underpassctl connections");
  for (const Node::Way& seen : ways) {
    if (seen.way == "short-circuit") continue;
    throw std::runtime_error(what + ": went " + seen.way + " (" + seen.fallback_reason + ")");
  }
  checked_ += static_cast<int>(ways.size());
}

void WayCheck::add(const up_stats& before, const up_stats& after) {
  redirected_ += after.redirected_messages - before.redirected_messages;
  for (std::size_t why = 0; why < fallbacks_.size(); ++why) {
    fallbacks_[why] += after.fallbacks[why] - before.fallbacks[why];
  }
}

std::string WayCheck::note() const {
  if (checked_ == 0) return "";
  const std::uint64_t all = std::accumulate(fallbacks_.begin(), fallbacks_.end(), redirected_);
  const auto percent = [&](std::uint64_t messages) {
    return all == 0 ? 0.0 : 100.0 * static_cast<double>(messages) / static_cast<double>(all);
  };
  std::ostringstream out;
  out.setf(std::ios::fixed);
  out.precision(1);
  out << "short-circuit: way verified " << checked_ << " times; " << percent(redirected_)
      << " % of the messages went socket to socket";
  for (std::size_t why = 0; why < fallbacks_.size(); ++why) {
    if (percent(fallbacks_[why]) < kWorthNaming) continue;
    out << ", " << percent(fallbacks_[why]) << " % by TCP: " << name_of(static_cast<up_why>(why));
  }
  return out.str();
}

}  // namespace underpass::bench
