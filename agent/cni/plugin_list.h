// SPDX-License-Identifier: Apache-2.0
// A plugin list of CNI as text, and the same with and without our entry. It is edited, not written anew: every byte
// that is not ours stays as its owner wrote it, and what was put in and taken out again leaves the very same text.
// Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "underpass/result.h"

namespace underpass::cni {

// What our entry says.
struct ListEntry {
  std::string socket;
  std::string enrolment;
  std::string made_from;  // name of the single-plugin file that the list was made from; empty: the list is its owner's
};

class PluginList {
 public:
  // An error where libcni would not load it as a *.conflist.
  static Result<PluginList> parse(std::string text);
  // The list that libcni makes in memory of a single-plugin file (*.conf, *.json). An error where that is none.
  static Result<PluginList> of_single(std::string_view text);

  // Why no plugin can be chained here.
  [[nodiscard]] Result<void> can_be_chained() const;
  [[nodiscard]] bool names_us() const;
  [[nodiscard]] std::string made_from() const;
  [[nodiscard]] const std::string& text() const { return text_; }

  // With our entry, once, and last. The same text where it is so already.
  [[nodiscard]] std::string with(const ListEntry& entry) const;
  // Empty where nothing else would be left.
  [[nodiscard]] std::string without() const;

 private:
  struct Plugin {
    std::size_t begin = 0;  // in text_
    std::size_t end = 0;
    bool ours = false;
  };

  PluginList() = default;

  std::string text_;
  std::string made_from_;
  std::vector<std::string> versions_;
  std::vector<Plugin> plugins_;
};

}  // namespace underpass::cni
