// SPDX-License-Identifier: Apache-2.0
// What rows of traffic share: how their conditions are worded, and how their slices alternate.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "test/bench/connect_rate.h"
#include "test/bench/rows.h"

namespace underpass::bench {

std::string seconds_text(Seconds duration, int rounds);
std::string cpus_text(Node::Cpus cpus);

// Every slice of a row, the variants alternating.
void in_rounds(Row& row, const std::vector<Pair>& pairs, const Plan& plan,
               const std::function<double(const Pair&)>& slice);

// These connections are gone before anybody can list them: the maps' counters say which way they went.
ConnectRate checked_connects(const Node& node, const Pair& pair, up_way way, int connections);

}  // namespace underpass::bench
