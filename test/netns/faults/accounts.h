// SPDX-License-Identifier: Apache-2.0
// What a scene's workers told of requests: their lines in the access log by flag, and the metric's sum, which must be
// the same, and the same as what the clients did.
#pragma once

#include <map>
#include <string>

#include "test/netns/http/ways.h"

namespace underpass::test {

// How many requests ended with which flag and status: "- 200", "DC null".
using Ends = std::map<std::string, std::size_t>;
std::string to_string(const Ends& ends);
inline std::size_t count_of(const Ends& ends) {
  std::size_t sum = 0;
  for (const auto& [end, count] : ends) sum += count;
  return sum;
}

Ends logged(const Scene& scene);
// By istio_requests_total of this reporter, with the same keys ("0" is null).
Ends metered(const Scene& scene, const std::string& reporter);

// Waits until both say this; fails with what they said.
void check_accounts(const Scene& scene, const Ends& wanted, const std::string& reporter = "destination");

}  // namespace underpass::test
