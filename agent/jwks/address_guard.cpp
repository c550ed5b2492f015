// SPDX-License-Identifier: Apache-2.0
#include "agent/jwks/address_guard.h"

#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

namespace underpass::jwks {

namespace {

struct Range {
  const char* base;
  unsigned prefix;  // of an IPv4 address, of 32
  std::string_view what;
  bool is_private = false;  // else always refused
};

// RFC 6890 and what clouds made of it. The first that matches counts.
constexpr std::array kV4{
    Range{.base = "100.100.100.200", .prefix = 32, .what = "a metadata service"},
    Range{.base = "192.0.0.192", .prefix = 32, .what = "a metadata service"},
    Range{.base = "168.63.129.16", .prefix = 32, .what = "a metadata service"},
    Range{.base = "0.0.0.0", .prefix = 8, .what = "no address of a host"},
    Range{.base = "127.0.0.0", .prefix = 8, .what = "loopback"},
    Range{.base = "169.254.0.0", .prefix = 16, .what = "link-local"},
    Range{.base = "192.0.0.0", .prefix = 24, .what = "no address of a host"},
    Range{.base = "224.0.0.0", .prefix = 4, .what = "multicast"},
    Range{.base = "240.0.0.0", .prefix = 4, .what = "no address of a host"},
    Range{.base = "10.0.0.0", .prefix = 8, .what = "a private network", .is_private = true},
    Range{.base = "100.64.0.0", .prefix = 10, .what = "a private network", .is_private = true},
    Range{.base = "172.16.0.0", .prefix = 12, .what = "a private network", .is_private = true},
    Range{.base = "192.168.0.0", .prefix = 16, .what = "a private network", .is_private = true},
    Range{.base = "198.18.0.0", .prefix = 15, .what = "a private network", .is_private = true},
};
constexpr std::array kV6{
    Range{.base = "fd00:ec2::254", .prefix = 128, .what = "a metadata service"},
    Range{.base = "fd20:ce::254", .prefix = 128, .what = "a metadata service"},
    Range{.base = "::", .prefix = 128, .what = "no address of a host"},
    Range{.base = "::1", .prefix = 128, .what = "loopback"},
    Range{.base = "fe80::", .prefix = 10, .what = "link-local"},
    Range{.base = "ff00::", .prefix = 8, .what = "multicast"},
    Range{.base = "100::", .prefix = 64, .what = "no address of a host"},
    Range{.base = "2001::", .prefix = 32, .what = "a Teredo address"},
    Range{.base = "fc00::", .prefix = 7, .what = "a private network", .is_private = true},
    Range{.base = "fec0::", .prefix = 10, .what = "a private network", .is_private = true},
    Range{.base = "64:ff9b:1::", .prefix = 48, .what = "a private network", .is_private = true},
};

// Where an IPv4 address stands in one of IPv6 (RFC 4291 §2.5.5, RFC 6052, RFC 3056).
struct Carrier {
  const char* base;
  unsigned prefix;
  std::size_t at;  // byte
};
constexpr std::array kCarriers{
    Carrier{.base = "::", .prefix = 96, .at = 12},
    Carrier{.base = "64:ff9b::", .prefix = 96, .at = 12},
    Carrier{.base = "2002::", .prefix = 16, .at = 2},
};

bool is_within(const IpAddress& address, const char* base, unsigned prefix) {
  const auto a = address.to_abi();
  const auto b = IpAddress::parse(base)->to_abi();
  const auto bytes = prefix / 8;
  if (std::memcmp(a.bytes, b.bytes, bytes) != 0) return false;
  const auto rest = prefix % 8;
  return rest == 0 || (a.bytes[bytes] ^ b.bytes[bytes]) >> (8 - rest) == 0;
}

const Range* find_range(std::span<const Range> ranges, const IpAddress& address, unsigned shift) {
  const auto found = std::ranges::find_if(
      ranges, [&](const Range& range) { return is_within(address, range.base, range.prefix + shift); });
  return found == ranges.end() ? nullptr : &*found;
}

IpAddress embedded(const IpAddress& address, std::size_t at) {
  const auto from = address.to_abi();
  up_addr out{};
  out.bytes[10] = out.bytes[11] = 0xff;
  std::memcpy(out.bytes + 12, from.bytes + at, 4);
  return IpAddress(out);
}

const Range* judge(const IpAddress& address) {
  if (address.is_v4()) return find_range(kV4, address, 96);
  if (const auto* range = find_range(kV6, address, 0)) return range;
  for (const auto& [base, prefix, at] : kCarriers)
    if (is_within(address, base, prefix)) return find_range(kV4, embedded(address, at), 96);
  return nullptr;
}

bool is_service(const std::string& host, const std::string& cluster_domain) {
  return host.ends_with(".svc") || host.ends_with(".svc." + cluster_domain);
}

std::optional<IpAddress> to_ip_address(const sockaddr* address) {
  up_addr out{};
  if (address == nullptr) return std::nullopt;
  if (address->sa_family == AF_INET6) {
    std::memcpy(out.bytes, &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, sizeof out.bytes);
  } else if (address->sa_family == AF_INET) {
    out.bytes[10] = out.bytes[11] = 0xff;
    std::memcpy(out.bytes + 12, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, 4);
  } else {
    return std::nullopt;
  }
  return IpAddress(out);
}

// The address itself, or the one that it carries.
bool is_one_of(const std::vector<IpAddress>& own, const IpAddress& address) {
  if (std::ranges::find(own, address) != own.end()) return true;
  return std::ranges::any_of(kCarriers, [&](const Carrier& carrier) {
    return is_within(address, carrier.base, carrier.prefix) &&
           std::ranges::find(own, embedded(address, carrier.at)) != own.end();
  });
}

}  // namespace

std::vector<IpAddress> interface_addresses() {
  std::vector<IpAddress> out;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return out;
  for (const auto* at = list; at != nullptr; at = at->ifa_next)
    if (const auto address = to_ip_address(at->ifa_addr)) out.push_back(*address);
  ::freeifaddrs(list);
  return out;
}

Result<void> may_dial(const GuardOptions& options, const std::string& host, const IpAddress& address) {
  const auto refuse = [&](std::string_view what) {
    return fail(address.to_string() + " is " + std::string(what) + ", which is not asked for keys");
  };
  if (const auto* range = judge(address)) {
    const bool allowed = range->is_private && (options.allow_private || is_service(host, options.cluster_domain));
    if (!allowed) return refuse(range->what);
  }
  if (is_one_of(options.own ? options.own() : interface_addresses(), address)) return refuse("an address of this node");
  return {};
}

}  // namespace underpass::jwks
