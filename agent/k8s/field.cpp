// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/field.h"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

namespace underpass::k8s {
namespace json = boost::json;

namespace {

constexpr std::size_t kShown = 80;  // bytes of a value in a message

bool is_identifier(std::string_view key) {
  return !key.empty() && std::ranges::all_of(key, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

bool is_short_and_printable(std::string_view key) {
  return !key.empty() && key.size() <= kShown &&
         std::ranges::all_of(key, [](unsigned char c) { return c > 0x20 && c < 0x7f; });
}

// metadata.name, metadata.labels[underpass.dev/mesh], status.podIPs[1], spec["a b"].
std::string child_path(const std::string& parent, std::string_view key) {
  if (!is_short_and_printable(key)) return parent + "[" + show(key) + "]";
  if (!is_identifier(key)) return parent + "[" + std::string(key) + "]";
  return parent.empty() ? std::string(key) : parent + "." + std::string(key);
}

}  // namespace

std::string Findings::path(std::uint32_t place) const {
  if (place == 0) return "";
  const auto& at = places_[place];
  const auto parent = path(at.parent);
  return at.key.data() == nullptr ? parent + "[" + std::to_string(at.index) + "]" : child_path(parent, at.key);
}

Field::Field(const json::value& root, Findings& findings) : Field(&root, 0, findings) {
  if (findings.places_.empty()) findings.places_.push_back({});
}

Field::Field(const json::value* value, std::uint32_t place, Findings& findings)
    : value_(value != nullptr && value->is_null() ? nullptr : value), findings_(&findings), place_(place) {}

Field Field::child(const json::value* value, std::uint32_t index, std::string_view key) const {
  auto& places = findings_->places_;
  places.push_back({place_, index, key});
  return {value, static_cast<std::uint32_t>(places.size() - 1), *findings_};
}

bool Field::is_string() const { return value_ != nullptr && value_->is_string(); }

Field Field::operator[](std::string_view key) const {
  const json::value* found = nullptr;
  if (value_ != nullptr) {
    if (const auto* object = value_->if_object()) {
      found = object->if_contains({key.data(), key.size()});
    } else {
      refuse("must be a mapping");
    }
  }
  return child(found, 0, key);
}

std::optional<std::string> Field::string() const {
  if (value_ == nullptr) return std::nullopt;
  if (const auto* text = value_->if_string()) return std::string(text->data(), text->size());
  refuse(value_->is_primitive() ? "must be a string (put it in quotes)" : "must be a string");
  return std::nullopt;
}

std::optional<bool> Field::boolean() const {
  if (value_ == nullptr) return std::nullopt;
  if (const bool* flag = value_->if_bool()) return *flag;
  refuse("must be true or false");
  return std::nullopt;
}

std::optional<std::uint32_t> Field::integer(std::uint32_t least, std::uint32_t most) const {
  if (value_ == nullptr) return std::nullopt;
  if (value_->is_string()) {
    refuse("must be a number (without quotes)");
    return std::nullopt;
  }
  const auto* number = value_->if_int64();  // more than it holds is more than `most`
  if (number != nullptr && *number >= least && *number <= most) return static_cast<std::uint32_t>(*number);
  if (number != nullptr || value_->is_uint64()) {
    refuse("must be " + std::to_string(least) + " to " + std::to_string(most));
  } else {
    refuse("must be a whole number");
  }
  return std::nullopt;
}

std::vector<Field> Field::elements() const {
  std::vector<Field> out;
  if (value_ == nullptr) return out;
  const auto* array = value_->if_array();
  if (array == nullptr) {
    refuse("must be a list");
    return out;
  }
  out.reserve(array->size());
  for (const auto& element : *array) out.push_back(child(&element, static_cast<std::uint32_t>(out.size()), {}));
  return out;
}

std::vector<std::pair<std::string_view, Field>> Field::members() const {
  std::vector<std::pair<std::string_view, Field>> out;
  if (value_ == nullptr) return out;
  const auto* object = value_->if_object();
  if (object == nullptr) {
    refuse("must be a mapping");
    return out;
  }
  out.reserve(object->size());
  for (const auto& member : *object) {
    const std::string_view key(member.key().data(), member.key().size());
    out.emplace_back(key, child(&member.value(), 0, key));
  }
  return out;
}

void Field::expect_members(std::initializer_list<std::string_view> names) const {
  if (value_ == nullptr) return refuse_field("missing");
  for (const auto& [key, member] : members()) {
    if (std::ranges::find(names, key) == names.end()) member.refuse_field("unknown field");
  }
}

void Field::refuse(std::string_view cause) const {
  if (findings_->error) return;
  refuse_field((value_ == nullptr ? std::string("null") : show(*value_)) + ": " + std::string(cause));
}

void Field::refuse_field(std::string_view cause) const {
  if (!findings_->error) findings_->error = DecodeError{findings_->path(place_), std::string(cause)};
}

std::string show(std::string_view text) {
  const bool cut = text.size() > kShown;
  if (cut) {
    std::size_t end = kShown;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // not inside a UTF-8 sequence
    text = text.substr(0, end);
  }
  return json::serialize(json::string_view(text.data(), text.size())) + (cut ? "…" : "");
}

std::string show(const json::value& value) {
  if (value.is_object()) return "a mapping";
  if (value.is_array()) return "a list";
  if (const auto* text = value.if_string()) return show(std::string_view(text->data(), text->size()));
  return json::serialize(value);
}

}  // namespace underpass::k8s
