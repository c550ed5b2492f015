// SPDX-License-Identifier: Apache-2.0
// An IP address as one 16-byte value: IPv4 is held as its v4-mapped IPv6 form (RFC 4291 §2.5.5.2), exactly as in the
// BPF maps (struct up_addr), so that a dual-stack socket and an IPv4 socket name the same pod by the same key.
#pragma once

#include <arpa/inet.h>

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include "underpass/abi.h"

namespace underpass {

class IpAddress {
 public:
  IpAddress() = default;  // ::
  explicit IpAddress(const up_addr& address) { std::memcpy(bytes_.data(), address.bytes, bytes_.size()); }

  // Accepts what inet_pton accepts: no zone, no prefix, no leading zeros in IPv4, and nothing behind a NUL.
  static std::optional<IpAddress> parse(const std::string& text) {
    if (text.contains('\0')) return std::nullopt;
    IpAddress out;
    if (::inet_pton(AF_INET6, text.c_str(), out.bytes_.data()) == 1) return out;
    out.bytes_ = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (::inet_pton(AF_INET, text.c_str(), out.bytes_.data() + 12) == 1) return out;
    return std::nullopt;
  }

  [[nodiscard]] bool is_v4() const {
    static constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return std::memcmp(bytes_.data(), kMapped.data(), kMapped.size()) == 0;
  }

  // 127.0.0.0/8 or ::1.
  [[nodiscard]] bool is_loopback() const {
    return is_v4() ? bytes_[12] == 127 : std::memcmp(bytes_.data(), &in6addr_loopback, bytes_.size()) == 0;
  }

  [[nodiscard]] std::string to_string() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (is_v4()) return ::inet_ntop(AF_INET, bytes_.data() + 12, text.data(), text.size());
    return ::inet_ntop(AF_INET6, bytes_.data(), text.data(), text.size());
  }

  [[nodiscard]] up_addr to_abi() const {
    up_addr out;
    std::memcpy(out.bytes, bytes_.data(), bytes_.size());
    return out;
  }

  auto operator<=>(const IpAddress&) const = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};  // network order
};

}  // namespace underpass
