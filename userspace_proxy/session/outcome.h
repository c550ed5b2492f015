// SPDX-License-Identifier: Apache-2.0
// How connections end, by the flags of the access log. They are Envoy's where Envoy has one that means the same.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace underpass::session {

enum class Flag : std::uint8_t {
  kNone,           // "-": both ends have closed
  kConnectFailed,  // "UF": the upstream refused, or did not answer in time
  kUpstreamReset,  // "UC": the upstream reset it
  kClientReset,    // "DC": the client reset it
  kIdle,           // "SI": not a byte for idle_timeout
  kNoDial,         // "UH": no socket to dial with
  kNotOurs,        // "NR": nobody knows who dialled: it came to the listener directly
  kDrained,        // "DR": it was still there when the drain's time was over
  kDenied,         // "RBAC": policy denies it
  kProtocolError,  // "DPE": the client's HTTP was refused, with the connection
};

inline constexpr std::array<std::string_view, 10> kFlagNames{"-",  "UF", "UC", "DC",   "SI",
                                                             "UH", "NR", "DR", "RBAC", "DPE"};
inline constexpr std::size_t kFlags = kFlagNames.size();

constexpr std::string_view name_of(Flag flag) { return kFlagNames[static_cast<std::size_t>(flag)]; }

}  // namespace underpass::session
