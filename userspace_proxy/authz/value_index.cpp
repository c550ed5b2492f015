// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/authz/value_index.h"

#include <utility>

namespace underpass::authz {

ValueIndex::Template& ValueIndex::template_of(const std::string& text) {
  const auto number = static_cast<std::uint32_t>(templates_.size());
  const auto [found, is_new] = template_numbers_.try_emplace(text, number);
  if (is_new) {
    templates_.push_back({.text = text, .match = PathTemplate::parse(text).value(), .clauses = {}});
    prefixes_.at(std::string(templates_.back().match.start())).templates.push_back(number);
  }
  return templates_[found->second];
}

void ValueIndex::add(const model::StringMatch& match, std::size_t clause) {
  using Kind = model::StringMatch::Kind;
  empty_ = false;
  switch (match.kind) {
    case Kind::kExact:
      return exact_[match.text].add(clause);
    case Kind::kPrefix:
      return prefixes_.at(match.text).clauses.add(clause);
    case Kind::kSuffix:
      return suffixes_.at(match.text).clauses.add(clause);
    case Kind::kPresent:
      return present_.add(clause);
    case Kind::kTemplate:
      return template_of(match.text).clauses.add(clause);
  }
}

void ValueIndex::finish() {
  prefixes_.finish();
  suffixes_.finish();
  template_numbers_.clear();
}

}  // namespace underpass::authz
