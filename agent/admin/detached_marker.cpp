// SPDX-License-Identifier: Apache-2.0
#include "agent/admin/detached_marker.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <optional>
#include <string_view>

#include "agent/state/state_file.h"

namespace underpass::admin {
namespace {

namespace json = boost::json;

constexpr std::size_t kLongestFile = 1024UL * 1024;

std::string encode(const DetachedMarker& marker) {
  json::object fields{{"node", marker.node}, {"nodeLabel", marker.node_label}};
  json::array& namespaces = fields["namespaces"].emplace_array();
  for (const std::string& name : marker.namespaces) namespaces.emplace_back(name);
  fields["since"] = marker.since;
  return json::serialize(fields) + "\n";
}

Result<DetachedMarker> decode(std::string_view text) {
  json::error_code error;
  const json::value value = json::parse(text, error);
  if (error) return fail("not JSON: " + error.message());
  const json::object* fields = value.if_object();
  if (fields == nullptr) return fail("not a JSON object");

  DetachedMarker marker;
  const json::value* node = fields->if_contains("node");
  if (node == nullptr || !node->is_bool()) return fail("node: not a boolean");
  marker.node = node->get_bool();

  if (const json::value* label = fields->if_contains("nodeLabel")) {  // not there before 0.2
    if (!label->is_bool()) return fail("nodeLabel: not a boolean");
    marker.node_label = label->get_bool();
  }

  const json::value* namespaces = fields->if_contains("namespaces");
  if (namespaces == nullptr || !namespaces->is_array()) return fail("namespaces: not a list");
  for (const json::value& name : namespaces->get_array()) {
    if (!name.is_string() || name.get_string().empty()) return fail("namespaces: holds something that is not a name");
    marker.namespaces.emplace(name.get_string());
  }

  const json::value* since = fields->if_contains("since");
  if (since == nullptr || !since->is_string()) return fail("since: not a time");
  marker.since = since->get_string();
  return marker;
}

}  // namespace

std::string detached_marker_path(const std::string& state_dir) { return state_dir + "/detached"; }

Result<DetachedMarker> load_detached_marker(const std::string& state_dir) {
  const std::string path = detached_marker_path(state_dir);
  const Result<std::optional<std::string>> text = state::read_state_file(path, kLongestFile);
  if (!text) return std::unexpected(text.error());
  if (!*text) return DetachedMarker{};
  Result<DetachedMarker> marker = decode(**text);
  if (!marker) return fail_in(path, marker.error());
  return marker;
}

Result<void> save_detached_marker(const std::string& state_dir, const DetachedMarker& marker) {
  const std::string path = detached_marker_path(state_dir);
  if (marker.is_empty()) return state::remove_state_file(path);
  return state::replace_state_file(path, encode(marker));
}

}  // namespace underpass::admin
