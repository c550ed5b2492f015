// SPDX-License-Identifier: Apache-2.0
// Reading an object's fields one by one, with the path at hand for messages. A field that is absent or null reads as
// nothing; one of a wrong type too, and the first such finding is kept in the DecodeError that all fields of an object
// share. So a decoder reads straight on and asks once, at its end, whether anything was wrong.
#pragma once

#include <boost/json/fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/k8s/contents.h"

namespace underpass::k8s {

class Field {
 public:
  // The root of an object. Both arguments outlive the field and all that come of it.
  Field(const boost::json::value& root, std::optional<DecodeError>& error) : Field(&root, "", error) {}

  [[nodiscard]] bool present() const { return value_ != nullptr; }

  [[nodiscard]] Field operator[](std::string_view key) const;
  [[nodiscard]] std::optional<std::string> string() const;
  [[nodiscard]] std::optional<bool> boolean() const;
  [[nodiscard]] std::vector<Field> elements() const;
  [[nodiscard]] std::vector<std::pair<std::string, Field>> members() const;

  // Says what is wrong with this field's value, which is put in front of the cause.
  void refuse(std::string_view cause) const;
  // ... without showing the value.
  void refuse_field(std::string_view cause) const;

 private:
  Field(const boost::json::value* value, std::string path, std::optional<DecodeError>& error);

  const boost::json::value* value_;
  std::string path_;
  std::optional<DecodeError>* error_;
};

// A value as messages show it: short, on one line, without control characters.
std::string show(const boost::json::value& value);
std::string show(std::string_view text);

}  // namespace underpass::k8s
