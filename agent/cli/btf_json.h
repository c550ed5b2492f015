// SPDX-License-Identifier: Apache-2.0
// Bytes of a BPF map as JSON, by the type information (BTF) that the map itself carries: any map whose program was
// built with it, of this version or another, can be read. Never reads outside the bytes it is given.
//
// Rules beyond C's: struct up_addr is IP text; __be16/32/64 are shown in host order; an enumerator is its name without
// the prefix that all of its enum share, in lower case, with dashes; char arrays are text up to the NUL, byte arrays
// and what has no better form are hex; 64-bit cookies and ids are strings, as they do not fit a JSON number everywhere;
// padding, seals and kernel addresses (`pad…`, `seal`, `sock`) are left out.
#pragma once

#include <boost/json/value.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

struct btf;
struct btf_member;
struct btf_type;

namespace underpass::cli {

using Bytes = std::span<const std::uint8_t>;

// The elements of an array that programs index by an enum or a constant, which BTF does not record. Such an array
// becomes an object by these names, and counters that are 0 are left out.
struct ArrayNames {
  std::string_view type;    // struct
  std::string_view member;  // the array in it
  std::vector<std::string> names;
};

// A number that means something else, which BTF does not record either. One without a name stays a number; flags become
// the list of their names.
struct NumberNames {
  std::string_view type;    // struct; empty: any
  std::string_view member;  // the number in it
  bool flags = false;       // each name is of a bit, not of a value
  std::vector<std::pair<std::uint64_t, std::string>> names;
};

class BtfJson {
 public:
  // All must outlive this object.
  BtfJson(const btf* types, std::span<const ArrayNames> arrays, std::span<const NumberNames> numbers = {})
      : types_(types), arrays_(arrays), numbers_(numbers) {}

  [[nodiscard]] boost::json::value decode(std::uint32_t type, Bytes bytes) const;

  // As decode(), but a bare 64-bit number is a string: as a key it is a cookie or an id.
  [[nodiscard]] boost::json::value decode_key(std::uint32_t type, Bytes bytes) const;

  // Is this type made of 64-bit unsigned numbers only, so that values of several CPUs can be summed?
  [[nodiscard]] bool is_counters(std::uint32_t type) const;

 private:
  using Json = boost::json::value;

  [[nodiscard]] const btf_type* strip(std::uint32_t& type, std::string_view* byte_order = nullptr) const;
  [[nodiscard]] std::string_view name_of(const btf_type* type) const;
  [[nodiscard]] std::size_t size_of(std::uint32_t type) const;

  [[nodiscard]] Json decode_at(std::uint32_t type, Bytes bytes, int depth) const;
  [[nodiscard]] Json decode_members(const btf_type* type, Bytes bytes, int depth) const;
  [[nodiscard]] Json decode_member(const btf_type* owner, std::uint32_t index, Bytes bytes, int depth) const;
  [[nodiscard]] Json decode_array(const btf_type* type, Bytes bytes, const ArrayNames* names, int depth) const;
  [[nodiscard]] Json decode_section(const btf_type* type, Bytes bytes, int depth) const;
  // `value` in words, where it has some.
  [[nodiscard]] Json rename_number(const btf_type* owner, std::string_view member, Json value) const;
  // `type`: INT, ENUM or ENUM64, from `bits` bits that start `offset` bits into the bytes.
  [[nodiscard]] Json decode_number(const btf_type* type, Bytes bytes, std::size_t offset, std::size_t bits) const;
  [[nodiscard]] Json enumerator(const btf_type* type, std::uint64_t value) const;
  // The names of an enum's values as they are shown.
  using EnumNames = std::unordered_map<std::uint64_t, std::string>;
  [[nodiscard]] EnumNames names_of(const btf_type* type) const;
  [[nodiscard]] bool is_u64(std::uint32_t type) const;
  [[nodiscard]] bool is_counters_at(std::uint32_t type, int depth) const;

  const btf* types_;
  std::span<const ArrayNames> arrays_;
  std::span<const NumberNames> numbers_;
  mutable std::unordered_map<const btf_type*, EnumNames> enums_;  // filled on first use: tables are long
};

// "0a1b…"
std::string to_hex(Bytes bytes);

}  // namespace underpass::cli
