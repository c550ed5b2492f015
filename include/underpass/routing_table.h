// SPDX-License-Identifier: Apache-2.0
// What a worker is given: whom it serves and how. A value that the agent compiles and passes as JSON in a sealed memfd;
// the worker takes a whole one or keeps the one that it has.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "underpass/ids.h"

namespace underpass {

// The format of the JSON below. A worker refuses another's.
inline constexpr std::uint64_t kRoutingTableFormat = 1;

// spec.proxy of Mesh/default.
struct ProxySettings {
  unsigned threads = 2;                               // counts when a worker starts
  std::chrono::milliseconds connect_timeout{10'000};  // of a dial
  std::chrono::milliseconds idle_timeout{3'600'000};  // a connection without a byte either way; 0: for ever
  std::chrono::milliseconds drain_timeout{45'000};    // a worker that goes lets its connections end so long

  bool operator==(const ProxySettings&) const = default;
};

struct RoutingTable {
  struct Pod {
    NetnsCookie netns = 0;
    NamespacedName id;
    std::string identity;  // spiffe://...

    bool operator==(const Pod&) const = default;
  };

  std::uint64_t revision = 0;  // greater than that of every earlier one for this worker
  ProxySettings settings;
  std::vector<Pod> pods;                            // whose connections it takes
  std::map<std::uint32_t, std::string> identities;  // the SPIFFE ids that up_peer.identity numbers

  bool operator==(const RoutingTable&) const = default;
};

}  // namespace underpass
