// SPDX-License-Identifier: Apache-2.0
// Which addresses are in a network. IPv4 is held v4-mapped, but no IPv6 network contains an IPv4 address, not even
// ::/0.
#pragma once

#include <cstdint>

#include "underpass/ip_address.h"
#include "underpass/model/policy.h"

namespace underpass::compile {

inline constexpr std::uint8_t kIpv4Prefix = 96;  // of ::ffff:0:0/96, which is 0.0.0.0/0

inline bool is_v4(const model::IpBlock& block) { return block.prefix >= kIpv4Prefix && block.base.is_v4(); }

// The network of `prefix` bits that `ip` is in.
inline model::IpBlock block_around(const IpAddress& ip, std::uint8_t prefix) {
  auto address = ip.to_abi();
  for (int i = 0; i < 16; ++i) {
    const int kept = prefix - 8 * i;
    if (kept <= 0)
      address.bytes[i] = 0;
    else if (kept < 8)
      address.bytes[i] &= static_cast<std::uint8_t>(0xff << (8 - kept));
  }
  return {.base = IpAddress(address), .prefix = prefix};
}

// Of two of one family.
inline bool contains(const model::IpBlock& block, const model::IpBlock& inner) {
  return block.prefix <= inner.prefix && block_around(inner.base, block.prefix) == block;
}

// 0.0.0.0/0 or ::/0.
inline model::IpBlock whole_family(bool v4) {
  up_addr address{};
  if (v4) address.bytes[10] = address.bytes[11] = 0xff;
  return {.base = IpAddress(address), .prefix = v4 ? kIpv4Prefix : std::uint8_t{0}};
}

}  // namespace underpass::compile
