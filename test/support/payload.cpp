// SPDX-License-Identifier: Apache-2.0
#include "test/support/payload.h"

#include <algorithm>
#include <array>

namespace underpass::test {
namespace {

// The inverse of an odd number modulo 2^64 (Newton).
constexpr std::uint64_t inverse(std::uint64_t a) {
  std::uint64_t x = a;
  for (int i = 0; i < 6; ++i) x *= 2 - a * x;
  return x;
}

constexpr std::uint64_t unshift(std::uint64_t z, int shift) {
  std::uint64_t x = z;
  for (int i = 0; i < 64 / shift; ++i) x = z ^ (x >> shift);
  return x;
}

constexpr std::uint64_t unmix(std::uint64_t z) {
  z = unshift(z, 31) * inverse(0x94d049bb133111eb);
  z = unshift(z, 27) * inverse(0xbf58476d1ce4e5b9);
  return unshift(z, 30);
}
static_assert(unmix(Random::mix(0x0123456789abcdef)) == 0x0123456789abcdef);

}  // namespace

std::optional<std::size_t> Payload::first_difference(std::uint64_t offset, std::span<const char> bytes) const {
  std::array<char, 4096> expected;
  for (std::size_t done = 0; done < bytes.size();) {
    const std::size_t n = std::min(expected.size(), bytes.size() - done);
    fill(offset + done, {expected.data(), n});
    if (std::memcmp(expected.data(), bytes.data() + done, n) != 0) {
      const auto differs = std::mismatch(expected.begin(), expected.begin() + n, bytes.begin() + done);
      return done + (differs.first - expected.begin());
    }
    done += n;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> Payload::find(std::span<const char> bytes) const {
  for (std::size_t skip = 0; skip < 8 && skip + 8 <= bytes.size(); ++skip) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data() + skip, sizeof word);
    const std::uint64_t index = (unmix(word) - key_) * inverse(Random::kStep);
    if (index >= (1ull << 37) || index * 8 < skip) continue;
    const std::uint64_t offset = index * 8 - skip;
    if (!first_difference(offset, bytes)) return offset;
  }
  return std::nullopt;
}

std::string hex(std::span<const char> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char byte : bytes.first(std::min<std::size_t>(bytes.size(), 16))) {
    out += kDigits[static_cast<unsigned char>(byte) >> 4];
    out += kDigits[static_cast<unsigned char>(byte) & 15];
  }
  return out;
}

}  // namespace underpass::test
