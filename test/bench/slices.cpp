// SPDX-License-Identifier: Apache-2.0
#include "test/bench/slices.h"

#include <sstream>
#include <stdexcept>

#include "underpass/abi_names.h"

namespace underpass::bench {

std::string seconds_text(Seconds duration, int rounds) {
  std::ostringstream out;
  out << duration.count() << " s × " << rounds;
  return out.str();
}

std::string cpus_text(Node::Cpus cpus) {
  if (cpus.client == cpus.server) return "both on CPU " + std::to_string(cpus.client);
  return "client CPU " + std::to_string(cpus.client) + ", server CPU " + std::to_string(cpus.server);
}

void in_rounds(Row& row, const std::vector<Pair>& pairs, const Plan& plan,
               const std::function<double(const Pair&)>& slice) {
  for (int round = 1; round <= plan.rounds; ++round) {
    plan.progress(row.title + ": round " + std::to_string(round) + " of " + std::to_string(plan.rounds));
    for (const Pair& pair : pairs) row.of(pair.variant).push_back(slice(pair));
  }
}

ConnectRate checked_connects(const Node& node, const Pair& pair, up_way way, int connections) {
  const up_stats before = node.stats();
  const ConnectRate rate = measure_connects(pair, connections);
  const std::uint64_t established = node.stats().connections[way] - before.connections[way];
  if (established < static_cast<std::uint64_t>(connections)) {
    throw std::runtime_error("variant " + pair.variant + ": " + std::to_string(established) + " of " +
                             std::to_string(connections) + " connections went " + std::string(name_of(way)));
  }
  return rate;
}

}  // namespace underpass::bench
