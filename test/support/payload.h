// SPDX-License-Identifier: Apache-2.0
// Bytes that know where they belong. Byte i of a stream is a function of the stream's key and i alone, so a reader can
// check every byte without being told, and can say of misplaced bytes from where in the stream they come.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>

namespace underpass::test {

// A small generator of its own, so that a seed means the same everywhere (splitmix64, Steele et al. 2014).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() { return mix(state_ += kStep); }
  // 0 … n-1
  std::uint64_t below(std::uint64_t n) { return next() % n; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  // Every magnitude between the two is as likely as any other.
  std::uint64_t log_uniform(std::uint64_t low, std::uint64_t high) {
    const double u = static_cast<double>(next() >> 11) * 0x1p-53;
    const auto value = static_cast<std::uint64_t>(static_cast<double>(low) *
                                                  std::pow(static_cast<double>(high) / static_cast<double>(low), u));
    return value < low ? low : value > high ? high : value;
  }

  static constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15;
  static constexpr std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

 private:
  std::uint64_t state_;
};

class Payload {
 public:
  explicit Payload(std::uint64_t key) : key_(key) {}

  void fill(std::uint64_t offset, std::span<char> out) const {
    for (std::size_t done = 0; done < out.size();) {
      const std::uint64_t word = word_at((offset + done) / 8);
      const std::size_t skip = (offset + done) % 8;
      const std::size_t n = std::min(8 - skip, out.size() - done);
      std::memcpy(out.data() + done, reinterpret_cast<const char*>(&word) + skip, n);
      done += n;
    }
  }

  // Index of the first byte that is not what the stream holds at offset + index.
  [[nodiscard]] std::optional<std::size_t> first_difference(std::uint64_t offset, std::span<const char> bytes) const;

  // Where in this stream these bytes (16 are needed) stand; nothing if nowhere in its first 2^40 bytes.
  [[nodiscard]] std::optional<std::uint64_t> find(std::span<const char> bytes) const;

 private:
  [[nodiscard]] std::uint64_t word_at(std::uint64_t index) const { return Random::mix(key_ + index * Random::kStep); }

  std::uint64_t key_;
};

// "0011ff…": at most 16 bytes.
std::string hex(std::span<const char> bytes);

}  // namespace underpass::test
