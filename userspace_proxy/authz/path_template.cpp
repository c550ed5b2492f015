// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/authz/path_template.h"

#include <algorithm>

namespace underpass::authz {
namespace {

// RFC 3986 §3.3: pchar, but "*", which is the operators'.
bool is_literal(char c) {
  const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return is_letter || (c >= '0' && c <= '9') || std::string_view("-._~%!$&'()+,;=:@").contains(c);
}

std::string cause_of(std::string_view segment) {
  if (segment.empty()) return "has an empty segment";
  if (segment.contains("{*}") || segment.contains("{**}")) return "{*} and {**} must be whole segments";
  return "*, { and } may stand in {*} and {**} alone, and other characters must be a path's";
}

}  // namespace

Result<PathTemplate> PathTemplate::parse(std::string_view text) {
  if (!text.starts_with('/')) return fail("a template must begin with /");
  PathTemplate out;
  bool has_operator = false;
  for (auto rest = text; !rest.empty();) {
    rest.remove_prefix(1);  // the "/"
    const auto segment = rest.substr(0, rest.find('/'));
    rest.remove_prefix(segment.size());
    auto& literal = out.has_rest_ ? out.end_ : out.literals_.back();
    literal += '/';
    if (segment == "{*}" || segment == "{**}") {
      if (out.has_rest_) return fail("{**} must be the last operator");
      has_operator = true;
      if (segment == "{*}") out.literals_.emplace_back();
      out.has_rest_ = segment == "{**}";
      continue;
    }
    const bool is_last = rest.empty();
    if (!std::ranges::all_of(segment, is_literal) || (segment.empty() && !is_last)) return fail(cause_of(segment));
    literal += segment;
  }
  if (!has_operator) return fail("has neither {*} nor {**}");
  return out;
}

bool PathTemplate::matches(std::string_view path) const {
  if (!path.starts_with(literals_.front())) return false;
  path.remove_prefix(literals_.front().size());
  for (std::size_t i = 1; i < literals_.size(); ++i) {
    const auto segment = std::min(path.find('/'), path.size());
    if (segment == 0) return false;
    path.remove_prefix(segment);
    if (!path.starts_with(literals_[i])) return false;
    path.remove_prefix(literals_[i].size());
  }
  return has_rest_ ? path.ends_with(end_) : path.empty();
}

}  // namespace underpass::authz
