// SPDX-License-Identifier: Apache-2.0
// Reading an object's fields one by one, with the path at hand for messages. A field that is absent or null reads as
// nothing; one of a wrong type too, and the first such finding is kept in the Findings that all fields of an object
// share. So a decoder reads straight on and asks once, at its end, whether anything was wrong.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/k8s/contents.h"

namespace underpass::k8s {

// What the fields of one object share: the first error, and where each field stands. Paths are put together for
// messages only: there is one in a hundred thousand endpoints.
class Findings {
 public:
  std::optional<DecodeError> error;

 private:
  friend class Field;
  struct Place {
    std::uint32_t parent;
    std::uint32_t index;   // of a list's element
    std::string_view key;  // of a mapping's member; data() is null for an element
  };
  [[nodiscard]] std::string path(std::uint32_t place) const;

  std::vector<Place> places_;  // the first is the root
};

class Field {
 public:
  // The root of an object. Both arguments outlive the field and all that come of it.
  Field(const boost::json::value& root, Findings& findings);

  [[nodiscard]] bool present() const { return value_ != nullptr; }
  [[nodiscard]] bool is_string() const;

  // `key` outlives the findings.
  [[nodiscard]] Field operator[](std::string_view key) const;
  [[nodiscard]] std::optional<std::string> string() const;
  [[nodiscard]] std::optional<bool> boolean() const;
  // A whole number from `least` to `most`.
  [[nodiscard]] std::optional<std::uint32_t> integer(std::uint32_t least, std::uint32_t most) const;
  [[nodiscard]] std::vector<Field> elements() const;
  [[nodiscard]] std::vector<std::pair<std::string_view, Field>> members() const;
  // Refuses what is not a mapping, one that is missing too, and one that has a member of another name.
  void expect_members(std::initializer_list<std::string_view> names) const;

  // Says what is wrong with this field's value, which is put in front of the cause.
  void refuse(std::string_view cause) const;
  // ... without showing the value.
  void refuse_field(std::string_view cause) const;

 private:
  Field(const boost::json::value* value, std::uint32_t place, Findings& findings);
  [[nodiscard]] Field child(const boost::json::value* value, std::uint32_t index, std::string_view key) const;

  const boost::json::value* value_;
  Findings* findings_;
  std::uint32_t place_;
};

// A value as messages show it: short, on one line, without control characters.
std::string show(const boost::json::value& value);
std::string show(std::string_view text);

}  // namespace underpass::k8s
