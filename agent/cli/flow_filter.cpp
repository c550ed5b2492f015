// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/flow_filter.h"

#include "agent/cli/cells.h"
#include "agent/cli/json_text.h"

namespace underpass::cli {
namespace {

namespace json = boost::json;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "404", or "4xx" of which the first digit counts.
bool has_code(const std::string& wanted, const json::value& flow) {
  const std::string code = text_at(flow, {"code"});
  return wanted.ends_with("xx") ? code.size() == 3 && code[0] == wanted[0] : code == wanted;
}

}  // namespace

std::string problem_of_code(const std::string& text) {
  const bool is_class = text.size() == 3 && text.ends_with("xx");
  const bool is_code = text.size() == 3 && is_digit(text[1]) && is_digit(text[2]);
  return (is_class || is_code) && text[0] >= '1' && text[0] <= '9' ? "" : "\"" + text + "\": must be like 404 or 4xx";
}

bool matches(const FlowFilter& filter, const json::value& flow) {
  const auto at_an_end = [&flow](auto holds) {
    for (const char* end : {"source", "destination"})
      if (const json::value* found = find_at(flow, {end}); found != nullptr && holds(*found)) return true;
    return false;
  };
  if (!filter.ns.empty() &&
      !at_an_end([&](const json::value& end) { return text_at(end, {"namespace"}) == filter.ns; }))
    return false;
  if (!filter.pod.empty() && !at_an_end([&](const json::value& end) { return pod_of(end) == filter.pod; }))
    return false;
  if (!filter.verdict.empty() && (text_at(flow, {"verdict"}) == "deny") != (filter.verdict == "denied")) return false;
  return filter.code.empty() || has_code(filter.code, flow);
}

}  // namespace underpass::cli
