// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/json_ranges.h"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

namespace underpass::cni {
namespace {

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  // Past white space, and past one comma or colon where there is one.
  void skip_between() { at_ = text_.find_first_not_of(" \t\r\n,:", at_); }
  [[nodiscard]] bool at_end() const { return at_ >= text_.size(); }
  [[nodiscard]] char here() const { return at_end() ? '\0' : text_[at_]; }
  void enter() { ++at_; }

  TextRange take_value() {
    const auto begin = at_;
    int depth = 0;
    do {
      switch (here()) {
        case '"':
          skip_string();
          break;
        case '{':
        case '[':
          ++depth;
          ++at_;
          break;
        case '}':
        case ']':
          --depth;
          ++at_;
          break;
        default:
          skip_word();
      }
    } while (depth > 0 && !at_end());
    return {.begin = begin, .end = std::min(at_, text_.size())};
  }

 private:
  void skip_string() {
    for (++at_; !at_end() && text_[at_] != '"'; ++at_)
      if (text_[at_] == '\\') ++at_;
    ++at_;
  }
  // A number or a name; inside of brackets also what stands between values.
  void skip_word() {
    ++at_;
    at_ = std::min(text_.find_first_of(" \t\r\n,:\"{}[]", at_), text_.size());
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

bool is_key(std::string_view written, std::string_view name) {
  boost::json::error_code error;
  const auto key = boost::json::parse({written.data(), written.size()}, error);
  return !error && key.is_string() && std::string_view(key.get_string()) == name;
}

std::vector<TextRange> elements_of(std::string_view text, TextRange array) {
  std::vector<TextRange> out;
  Scanner scanner(text.substr(0, array.end - 1));
  for (std::size_t i = 0; i <= array.begin; ++i) scanner.enter();
  for (scanner.skip_between(); !scanner.at_end(); scanner.skip_between()) out.push_back(scanner.take_value());
  return out;
}

}  // namespace

std::vector<TextRange> array_elements(std::string_view text, std::string_view name) {
  std::vector<TextRange> found;
  Scanner scanner(text);
  scanner.skip_between();
  scanner.enter();
  for (scanner.skip_between(); !scanner.at_end() && scanner.here() != '}'; scanner.skip_between()) {
    const auto key = scanner.take_value();
    scanner.skip_between();
    const auto value = scanner.take_value();
    if (text[value.begin] == '[' && is_key(text.substr(key.begin, key.end - key.begin), name))
      found = elements_of(text, value);
  }
  return found;
}

}  // namespace underpass::cni
