// SPDX-License-Identifier: Apache-2.0
// Sets of clauses, a bit each. A set that is worked on has all its words; one that waits in an index only those that
// are not zero, because most values are named by few clauses.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace underpass::authz {

using Word = std::uint64_t;
using Words = std::span<Word>;
using ConstWords = std::span<const Word>;

inline constexpr std::size_t kWordBits = 64;
inline constexpr std::size_t kNone = static_cast<std::size_t>(-1);

constexpr std::size_t words_for(std::size_t bits) { return (bits + kWordBits - 1) / kWordBits; }
constexpr Word mask_of(std::size_t bit) { return Word{1} << (bit % kWordBits); }

inline void set_bit(Words words, std::size_t bit) { words[bit / kWordBits] |= mask_of(bit); }
inline void clear_bit(Words words, std::size_t bit) { words[bit / kWordBits] &= ~mask_of(bit); }
inline bool has_bit(ConstWords words, std::size_t bit) { return (words[bit / kWordBits] & mask_of(bit)) != 0; }

// The first bit from `begin` on and before `end`; kNone.
inline std::size_t find_bit(ConstWords words, std::size_t begin, std::size_t end) {
  while (begin < end) {
    const Word rest = words[begin / kWordBits] >> (begin % kWordBits);
    if (rest == 0) {
      begin = (begin / kWordBits + 1) * kWordBits;
      continue;
    }
    begin += static_cast<std::size_t>(std::countr_zero(rest));
    return begin < end ? begin : kNone;
  }
  return kNone;
}

inline bool have_common(ConstWords a, ConstWords b) {
  Word common = 0;
  for (std::size_t i = 0; i < a.size(); ++i) common |= a[i] & b[i];
  return common != 0;
}

class SparseBits {
 public:
  // Greater ones last, or again the one that was added last.
  void add(std::size_t bit) {
    const auto index = static_cast<std::uint32_t>(bit / kWordBits);
    if (parts_.empty() || parts_.back().index != index) parts_.push_back({.index = index, .word = 0});
    parts_.back().word |= mask_of(bit);
  }
  void add_all(const SparseBits& other) {
    std::vector<Part> merged;
    auto a = parts_.begin();
    auto b = other.parts_.begin();
    while (a != parts_.end() || b != other.parts_.end()) {
      const bool take_a = b == other.parts_.end() || (a != parts_.end() && a->index <= b->index);
      const auto& next = take_a ? *a++ : *b++;
      if (!merged.empty() && merged.back().index == next.index)
        merged.back().word |= next.word;
      else
        merged.push_back(next);
    }
    parts_ = std::move(merged);
  }

  [[nodiscard]] bool empty() const { return parts_.empty(); }
  void set_in(Words words) const {
    for (const auto& part : parts_) words[part.index] |= part.word;
  }
  void clear_in(Words words) const {
    for (const auto& part : parts_) words[part.index] &= ~part.word;
  }

 private:
  struct Part {
    std::uint32_t index;
    Word word;
  };
  std::vector<Part> parts_;
};

}  // namespace underpass::authz
