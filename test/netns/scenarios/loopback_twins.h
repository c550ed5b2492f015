// SPDX-License-Identifier: Apache-2.0
// The same loopback addresses and ports in two pods at once: nothing may cross from one pod to the other.
#pragma once

#include <functional>
#include <string>

#include "test/support/pod_net.h"
#include "test/support/sockets.h"

namespace underpass::test {

// Makes 127.0.0.1:6000 → 127.0.0.1:5000 (or ::1) in both pods, exchanges bytes in both at the same time, and returns
// what was wrong, empty if nothing was. `live` is called with both pairs after the exchange.
std::string run_loopback_twins(const Place& a, const Place& b, int family,
                               const std::function<void(const Pair& in_a, const Pair& in_b)>& live = {});

}  // namespace underpass::test
