// SPDX-License-Identifier: Apache-2.0
// Header or trailer fields (RFC 9110 §5) in the order in which they came, in one piece of memory that a connection uses
// again for its next message. Names are kept in lower case, as HTTP/2 has them (RFC 9113 §8.2); a parser that lets one
// in with a character that is not a token's, or a value with NUL, CR or LF, has a bug.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace underpass::http {

struct Field {
  std::string_view name;
  std::string_view value;

  bool operator==(const Field&) const = default;
};

class Fields {
 public:
  // Views are good until the next call that is not const.
  [[nodiscard]] std::size_t size() const { return places_.size(); }
  [[nodiscard]] bool empty() const { return places_.empty(); }
  [[nodiscard]] Field at(std::size_t i) const {
    const auto& place = places_[i];
    const std::string_view all(text_);
    return {.name = all.substr(place.begin, place.name), .value = all.substr(place.begin + place.name, place.value)};
  }

  void clear() {
    text_.clear();
    places_.clear();
  }
  // Makes the name's upper-case letters lower.
  void add(std::string_view name, std::string_view value) {
    if (places_.capacity() == 0) reserve_usual();
    places_.push_back({.begin = static_cast<std::uint32_t>(text_.size()),
                       .name = static_cast<std::uint32_t>(name.size()),
                       .value = static_cast<std::uint32_t>(value.size())});
    const auto begin = text_.size();
    text_ += name;
    for (std::size_t i = begin; i < text_.size(); ++i)
      if (text_[i] >= 'A' && text_[i] <= 'Z') text_[i] = static_cast<char>(text_[i] + ('a' - 'A'));
    text_ += value;
  }
  // All of that name; `name` in lower case, here and below.
  void remove(std::string_view name) {
    std::erase_if(places_, [&](const Place& place) { return name_of(place) == name; });
  }
  // In the place of all of that name. `value` must not be a view into this.
  void set(std::string_view name, std::string_view value) {
    remove(name);
    add(name, value);
  }

  // The first of that name.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const {
    for (std::size_t i = 0; i < places_.size(); ++i)
      if (name_of(places_[i]) == name) return at(i).value;
    return std::nullopt;
  }
  [[nodiscard]] std::size_t count(std::string_view name) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(places_, [&](const Place& place) { return name_of(place) == name; }));
  }
  // Names and values, without what goes between them.
  [[nodiscard]] std::size_t bytes() const { return text_.size(); }

 private:
  struct Place {
    std::uint32_t begin;
    std::uint32_t name;
    std::uint32_t value;
  };
  // What most messages need, at once: growing costs more than all the rest of reading a head.
  void reserve_usual() {
    constexpr std::size_t kFields = 16, kBytes = 768;
    places_.reserve(kFields);
    text_.reserve(kBytes);
  }
  [[nodiscard]] std::string_view name_of(const Place& place) const {
    return std::string_view(text_).substr(place.begin, place.name);
  }

  std::string text_;
  std::vector<Place> places_;
};

}  // namespace underpass::http
