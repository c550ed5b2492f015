// SPDX-License-Identifier: Apache-2.0
// Which clauses name a value, by all the ways in which a policy can name one. What it costs to find out grows with the
// logarithm of the number of clauses: whole values by hash; prefixes by one search for the longest, which knows the
// shorter ones in it; suffixes likewise, backwards; a template is tried where the path begins as it does.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "underpass/model/policy.h"
#include "userspace_proxy/authz/clause_bits.h"
#include "userspace_proxy/authz/path_template.h"

namespace underpass::authz {

// Of prefixes, or, reversed, of suffixes.
template <bool kReversed>
class AffixTable {
 public:
  struct Entry {
    std::string text;  // of suffixes backwards
    SparseBits clauses;
    std::vector<std::uint32_t> templates;
    std::size_t parent = kNone;
  };

  Entry& at(std::string text) {
    if (kReversed) std::ranges::reverse(text);
    const auto [found, is_new] = numbers_.try_emplace(std::move(text), entries_.size());
    if (is_new) entries_.push_back({.text = found->first});
    return entries_[found->second];
  }

  // After the last at(). From then on an entry has what its own prefixes have, too.
  void finish() {
    numbers_.clear();
    std::ranges::sort(entries_, {}, &Entry::text);
    for (std::size_t i = 1; i < entries_.size(); ++i) {
      auto parent = i - 1;
      while (parent != kNone && !entries_[i].text.starts_with(entries_[parent].text)) parent = entries_[parent].parent;
      if (parent == kNone) continue;
      entries_[i].parent = parent;
      entries_[i].clauses.add_all(entries_[parent].clauses);
      const auto& more = entries_[parent].templates;
      entries_[i].templates.insert(entries_[i].templates.end(), more.begin(), more.end());
    }
  }

  // The longest that `value` begins (ends) with; null: none.
  [[nodiscard]] const Entry* find(std::string_view value) const {
    // Whatever `value` begins with is a prefix of the last entry that is not behind it in the order, too.
    const auto behind =
        std::ranges::partition_point(entries_, [&](const Entry& entry) { return !is_behind(entry, value); });
    auto i = static_cast<std::size_t>(behind - entries_.begin()) - 1;  // kNone where there is none
    while (i != kNone && !begins(value, entries_[i].text)) i = entries_[i].parent;
    return i == kNone ? nullptr : &entries_[i];
  }

 private:
  static bool is_behind(const Entry& entry, std::string_view value) {
    if constexpr (!kReversed) return entry.text > value;
    const auto less = [](char a, char b) { return static_cast<unsigned char>(a) < static_cast<unsigned char>(b); };
    return std::lexicographical_compare(value.rbegin(), value.rend(), entry.text.begin(), entry.text.end(), less);
  }
  static bool begins(std::string_view value, std::string_view text) {
    if constexpr (!kReversed) return value.starts_with(text);
    return value.size() >= text.size() && std::equal(text.begin(), text.end(), value.rbegin());
  }

  std::unordered_map<std::string, std::size_t> numbers_;
  std::vector<Entry> entries_;
};

class ValueIndex {
 public:
  // Clauses in order. A template must be one that parses.
  void add(const model::StringMatch& match, std::size_t clause);
  void finish();
  [[nodiscard]] bool empty() const { return empty_; }

  // Calls `use` with the clauses of each entry that `value` matches. "*" is any text but none, except where
  // `empty_is_present`.
  template <typename Use>
  void find(std::string_view value, bool empty_is_present, const Use& use) const {
    if (!exact_.empty()) {
      if (const auto found = exact_.find(value); found != exact_.end()) use(found->second);
    }
    if (const auto* prefix = prefixes_.find(value); prefix != nullptr) {
      use(prefix->clauses);
      for (const auto i : prefix->templates)
        if (templates_[i].match.matches(value)) use(templates_[i].clauses);
    }
    if (const auto* suffix = suffixes_.find(value); suffix != nullptr) use(suffix->clauses);
    if (empty_is_present || !value.empty()) use(present_);
  }

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  struct Template {
    std::string text;
    PathTemplate match;
    SparseBits clauses;
  };
  Template& template_of(const std::string& text);

  bool empty_ = true;
  std::unordered_map<std::string, SparseBits, Hash, std::equal_to<>> exact_;
  AffixTable<false> prefixes_;
  AffixTable<true> suffixes_;
  std::unordered_map<std::string, std::uint32_t> template_numbers_;
  std::vector<Template> templates_;
  SparseBits present_;
};

}  // namespace underpass::authz
