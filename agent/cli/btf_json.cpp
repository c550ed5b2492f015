// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/btf_json.h"

#include <bpf/btf.h>
#include <linux/btf.h>

#include <algorithm>
#include <array>
#include <bit>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cctype>
#include <cstring>
#include <iterator>

#include "agent/cli/text.h"
#include "underpass/ip_address.h"

namespace underpass::cli {
namespace {

namespace json = boost::json;

constexpr int kDeepest = 16;  // the kernel allows BTF to nest this far (MAX_RESOLVE_DEPTH 32 with pointers)
constexpr std::size_t kMostElements = 65536;  // of an array of something larger than a byte

// `bits` (1 to 64) bits as a number; `offset` counts as the compiler counts: from the low bit on little-endian
// machines, from the high bit on others.
std::uint64_t read_bits(Bytes bytes, std::size_t offset, std::size_t bits) {
  std::uint64_t value = 0;
  if constexpr (std::endian::native == std::endian::little) {
    if (offset == 0 && bits % 8 == 0) {  // all but bitfields
      std::memcpy(&value, bytes.data(), bits / 8);
      return value;
    }
  }
  for (std::size_t i = 0; i < bits; ++i) {
    const std::size_t at = offset + i;
    const unsigned byte = bytes[at / 8];
    if constexpr (std::endian::native == std::endian::little) {
      value |= static_cast<std::uint64_t>(byte >> (at % 8) & 1) << i;
    } else {
      value = value << 1 | (byte >> (7 - at % 8) & 1);
    }
  }
  return value;
}

std::int64_t sign_extend(std::uint64_t value, std::size_t bits) {
  const std::size_t unused = 64 - bits;
  return static_cast<std::int64_t>(value << unused) >> unused;
}

std::string kebab(std::string_view name) {
  std::string out(name);
  for (char& c : out) c = c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// What all names share, up to and with its last underscore: of UP_WAY_DIRECT and UP_WAY_PROXIED it is UP_WAY_.
std::size_t prefix_length(std::span<const std::string_view> names) {
  if (names.empty()) return 0;
  std::string_view common = names.front();
  for (const std::string_view name : names) {
    const auto [end, other] = std::ranges::mismatch(common, name);
    common = common.substr(0, static_cast<std::size_t>(end - common.begin()));
  }
  const std::size_t underscore = common.rfind('_');
  return underscore == std::string_view::npos ? 0 : underscore + 1;
}

bool is_cookie_name(std::string_view name) {
  return name == "cookie" || name == "id" || name == "conn" || name == "carries" || name.ends_with("_cookie") ||
         name.ends_with("_netns");
}

bool is_zero(const json::value& value) { return value.is_uint64() && value.get_uint64() == 0; }

std::string char_text(Bytes bytes) {
  const auto end = std::ranges::find(bytes, 0);
  return to_utf8({reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(end - bytes.begin())});
}

json::value float_value(Bytes bytes) {
  if (bytes.size() == sizeof(float)) {
    float value = 0;
    std::memcpy(&value, bytes.data(), sizeof(value));
    return value;
  }
  if (bytes.size() == sizeof(double)) {
    double value = 0;
    std::memcpy(&value, bytes.data(), sizeof(value));
    return value;
  }
  return json::string(to_hex(bytes));
}

}  // namespace

std::string to_hex(Bytes bytes) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const std::uint8_t byte : bytes) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

// The type behind typedefs and qualifiers, and its id. `byte_order` becomes the name of a __be typedef on the way.
const btf_type* BtfJson::strip(std::uint32_t& type, std::string_view* byte_order) const {
  const btf_type* found = ::btf__type_by_id(types_, type);
  for (int steps = 0; found != nullptr && (btf_is_mod(found) || btf_is_typedef(found)) && steps < 2 * kDeepest;
       ++steps) {
    if (byte_order != nullptr && btf_is_typedef(found) && name_of(found).starts_with("__be"))
      *byte_order = name_of(found);
    type = found->type;
    found = ::btf__type_by_id(types_, type);
  }
  return found;
}

std::string_view BtfJson::name_of(const btf_type* type) const {
  const char* name = ::btf__name_by_offset(types_, type->name_off);
  return name != nullptr ? name : "";
}

std::size_t BtfJson::size_of(std::uint32_t type) const {
  return static_cast<std::size_t>(std::max<std::int64_t>(::btf__resolve_size(types_, type), 0));
}

json::value BtfJson::decode(std::uint32_t type, Bytes bytes) const { return decode_at(type, bytes, 0); }

json::value BtfJson::decode_key(std::uint32_t type, Bytes bytes) const {
  json::value key = decode_at(type, bytes, 0);
  return is_u64(type) && key.is_uint64() ? json::value(std::to_string(key.get_uint64())) : key;
}

bool BtfJson::is_u64(std::uint32_t type) const {
  const btf_type* found = strip(type);
  return found != nullptr && btf_is_int(found) && found->size == 8 && btf_int_encoding(found) == 0;
}

bool BtfJson::is_counters(std::uint32_t type) const { return is_counters_at(type, 0); }

bool BtfJson::is_counters_at(std::uint32_t type, int depth) const {
  if (depth > kDeepest) return false;
  if (is_u64(type)) return true;
  const btf_type* found = strip(type);
  if (found == nullptr) return false;
  if (btf_is_array(found)) return is_counters_at(btf_array(found)->type, depth + 1);
  if (BTF_INFO_KIND(found->info) != BTF_KIND_STRUCT) return false;
  for (std::uint32_t i = 0; i < btf_vlen(found); ++i) {
    if (!is_counters_at(btf_members(found)[i].type, depth + 1)) return false;
  }
  return true;
}

json::value BtfJson::decode_at(std::uint32_t type, Bytes bytes, int depth) const {
  std::string_view byte_order;
  const btf_type* found = strip(type, &byte_order);
  if (found == nullptr || depth > kDeepest) return json::string(to_hex(bytes));
  if (btf_is_datasec(found)) return decode_section(found, bytes, depth);

  const std::size_t size = size_of(type);
  if (size > bytes.size() || (size == 0 && !btf_is_composite(found) && !btf_is_array(found))) {
    return json::string(to_hex(bytes));
  }
  bytes = bytes.first(size);
  if (btf_is_array(found)) return decode_array(found, bytes, nullptr, depth);
  if (btf_is_composite(found)) {
    if (name_of(found) == "up_addr" && size == sizeof(up_addr)) {
      up_addr address;
      std::memcpy(address.bytes, bytes.data(), sizeof(address.bytes));
      return json::string(IpAddress(address).to_string());
    }
    return decode_members(found, bytes, depth);
  }
  if (btf_is_float(found)) return float_value(bytes);
  const bool number = btf_is_int(found) || btf_is_any_enum(found);
  if (!number || size > 8) return json::string(to_hex(bytes));

  if (!byte_order.empty()) {  // network order: the first byte is the highest
    std::uint64_t value = 0;
    for (const std::uint8_t byte : bytes) value = value << 8 | byte;
    return value;
  }
  // An integer of fewer bits than its storage is how bitfields were recorded before BTF knew them (clang 7).
  if (btf_is_int(found) && btf_int_bits(found) != size * 8) {
    const std::size_t bits = btf_int_bits(found);
    const std::size_t offset = btf_int_offset(found);
    if (bits == 0 || bits + offset > size * 8) return json::string(to_hex(bytes));
    return decode_number(found, bytes, offset, bits);
  }
  return decode_number(found, bytes, 0, size * 8);
}

json::value BtfJson::decode_number(const btf_type* type, Bytes bytes, std::size_t offset, std::size_t bits) const {
  const std::uint64_t value = read_bits(bytes, offset, bits);
  if (btf_is_any_enum(type)) {
    return enumerator(type, btf_kflag(type) ? static_cast<std::uint64_t>(sign_extend(value, bits)) : value);
  }
  const std::uint32_t encoding = btf_int_encoding(type);
  if ((encoding & BTF_INT_BOOL) != 0) return value != 0;
  if ((encoding & BTF_INT_SIGNED) != 0) return sign_extend(value, bits);
  return value;
}

json::value BtfJson::enumerator(const btf_type* type, std::uint64_t value) const {
  auto names = enums_.find(type);
  if (names == enums_.end()) names = enums_.emplace(type, names_of(type)).first;
  const auto name = names->second.find(value);
  if (name == names->second.end()) return value;
  return json::string(name->second);
}

BtfJson::EnumNames BtfJson::names_of(const btf_type* type) const {
  std::vector<std::string_view> names;
  std::vector<std::uint64_t> values;
  for (std::uint32_t i = 0; i < btf_vlen(type); ++i) {
    std::uint32_t name_off = 0;
    if (btf_is_enum64(type)) {
      const struct btf_enum64& one = btf_enum64(type)[i];
      values.push_back(btf_enum64_value(&one));
      name_off = one.name_off;
    } else {
      const struct btf_enum& one = btf_enum(type)[i];
      values.push_back(btf_kflag(type) ? static_cast<std::uint64_t>(static_cast<std::int64_t>(one.val))
                                       : static_cast<std::uint32_t>(one.val));
      name_off = one.name_off;
    }
    const char* name = ::btf__name_by_offset(types_, name_off);
    names.emplace_back(name != nullptr ? name : "");
  }
  const std::size_t prefix = prefix_length(names);
  EnumNames out;
  for (std::size_t i = 0; i < names.size(); ++i) out.emplace(values[i], kebab(names[i].substr(prefix)));
  return out;
}

json::value BtfJson::decode_members(const btf_type* type, Bytes bytes, int depth) const {
  json::object out;
  out.reserve(btf_vlen(type));
  for (std::uint32_t i = 0; i < btf_vlen(type); ++i) {
    const btf_member& member = btf_members(type)[i];
    const char* text = ::btf__name_by_offset(types_, member.name_off);
    const std::string_view name = text != nullptr ? text : "";
    if (name.starts_with("pad") || name == "seal" || (name == "sock" && is_u64(member.type))) continue;

    json::value value = decode_member(type, i, bytes, depth + 1);
    if (!name.empty()) {
      if (is_cookie_name(name) && is_u64(member.type) && value.is_uint64()) value = std::to_string(value.get_uint64());
      out[name] = rename_number(type, name, std::move(value));
    } else if (json::object* inner = value.if_object()) {  // an anonymous struct or union: its members are the owner's
      for (auto& [key, part] : *inner) out[key] = std::move(part);
    }
  }
  return out;
}

json::value BtfJson::rename_number(const btf_type* owner, std::string_view member, Json value) const {
  if (!value.is_uint64()) return value;
  const auto found = std::ranges::find_if(numbers_, [&](const NumberNames& names) {
    return names.member == member && (names.type.empty() || names.type == name_of(owner));
  });
  if (found == numbers_.end()) return value;
  std::uint64_t number = value.get_uint64();
  if (!found->flags) {
    const auto name = std::ranges::find(found->names, number, &std::pair<std::uint64_t, std::string>::first);
    return name != found->names.end() ? json::value(name->second) : value;
  }
  json::array flags;
  for (const auto& [bit, name] : found->names) {
    if ((number & bit) != 0) flags.emplace_back(name);
    number &= ~bit;
  }
  if (number != 0) flags.emplace_back(number);
  return flags;
}

json::value BtfJson::decode_member(const btf_type* owner, std::uint32_t index, Bytes bytes, int depth) const {
  const btf_member& member = btf_members(owner)[index];
  const std::size_t offset = btf_member_bit_offset(owner, index);
  const std::size_t bits = btf_member_bitfield_size(owner, index);
  std::uint32_t type = member.type;
  const btf_type* found = strip(type);
  if (found == nullptr) return nullptr;

  if (bits != 0 || offset % 8 != 0) {
    const std::size_t width = bits != 0 ? bits : btf_is_int(found) ? btf_int_bits(found) : 0;
    const bool number = btf_is_int(found) || btf_is_any_enum(found);
    if (!number || width == 0 || width > 64 || offset + width > bytes.size() * 8) return nullptr;
    return decode_number(found, bytes, offset, width);
  }
  if (offset / 8 > bytes.size()) return nullptr;
  const Bytes rest = bytes.subspan(offset / 8);
  if (btf_is_array(found)) {
    const std::size_t size = std::min(size_of(type), rest.size());
    const char* name = ::btf__name_by_offset(types_, member.name_off);
    const auto names = std::ranges::find_if(arrays_, [&](const ArrayNames& array) {
      return array.type == name_of(owner) && name != nullptr && array.member == name;
    });
    return decode_array(found, rest.first(size), names != arrays_.end() ? &*names : nullptr, depth);
  }
  // Cut to the member's size, so that what cannot be decoded does not print its neighbours in hex.
  const std::size_t size = size_of(type);
  return decode_at(member.type, size > 0 && size <= rest.size() ? rest.first(size) : rest, depth);
}

json::value BtfJson::decode_array(const btf_type* type, Bytes bytes, const ArrayNames* names, int depth) const {
  const struct btf_array* array = ::btf_array(type);
  std::uint32_t element = array->type;
  const btf_type* found = strip(element);
  const std::size_t size = size_of(element);
  if (found == nullptr || size == 0 || array->nelems > bytes.size() / size) return json::string(to_hex(bytes));
  if (btf_is_int(found) && size == 1) {
    const bool text = name_of(found) == "char" || (btf_int_encoding(found) & BTF_INT_CHAR) != 0;
    return json::string(text ? char_text(bytes) : to_hex(bytes));
  }
  if (array->nelems > kMostElements) return json::string(to_hex(bytes));

  json::array list;
  json::object by_name;
  for (std::uint32_t i = 0; i < array->nelems; ++i) {
    json::value value = decode_at(array->type, bytes.subspan(i * size, size), depth + 1);
    if (names == nullptr) {
      list.emplace_back(std::move(value));
    } else if (!is_zero(value)) {
      by_name[i < names->names.size() ? names->names[i] : std::to_string(i)] = std::move(value);
    }
  }
  if (names != nullptr) return by_name;
  return list;
}

// The value of a map of global variables (.rodata, .bss).
json::value BtfJson::decode_section(const btf_type* type, Bytes bytes, int depth) const {
  json::object out;
  for (std::uint32_t i = 0; i < btf_vlen(type); ++i) {
    const btf_var_secinfo& variable = btf_var_secinfos(type)[i];
    const btf_type* found = ::btf__type_by_id(types_, variable.type);
    if (found == nullptr || !btf_is_var(found)) continue;
    if (variable.offset > bytes.size() || variable.size > bytes.size() - variable.offset) continue;
    out[name_of(found)] = decode_at(found->type, bytes.subspan(variable.offset, variable.size), depth + 1);
  }
  return out;
}

}  // namespace underpass::cli
