// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/plugin_list.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <utility>

#include "agent/cni/json_ranges.h"
#include "agent/cni/plugin_call.h"

namespace underpass::cni {
namespace {

namespace json = boost::json;

constexpr int kTimeoutSeconds = 20;
constexpr std::string_view kIndent = ",\n    ";

Result<json::object> parse_object(std::string_view text) {
  json::error_code error;
  json::parse_options deep;
  deep.max_depth = 500;
  auto value = json::parse({text.data(), text.size()}, error, {}, deep);
  if (error) return fail("not JSON: " + error.message());
  if (!value.is_object()) return fail("not a JSON object");
  return std::move(value.get_object());
}

// Empty where it is missing.
Result<std::string> text_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains({name.data(), name.size()});
  if (value == nullptr) return "";
  if (!value->is_string()) return fail(std::string(name) + ": not a string");
  return std::string(value->get_string().data(), value->get_string().size());
}

Result<std::string> required(const json::object& object, std::string_view name) {
  auto text = text_of(object, name);
  if (text && text->empty()) return fail(std::string(name) + ": is missing");
  return text;
}

// All that a runtime may choose among.
Result<std::vector<std::string>> versions_of(const json::object& list) {
  const auto version = text_of(list, "cniVersion");
  if (!version) return std::unexpected(version.error());
  std::vector<std::string> out;
  if (const auto* several = list.if_contains("cniVersions")) {
    if (!several->is_array()) return fail("cniVersions: not an array");
    for (const auto& one : several->get_array()) {
      if (!one.is_string()) return fail("cniVersions: not an array of strings");
      out.emplace_back(one.get_string().data(), one.get_string().size());
    }
  }
  if (!version->empty() || out.empty()) out.push_back(*version);
  return out;
}

std::string encode(const ListEntry& entry) {
  json::object object{
      {"type", kPluginName},
      {"agentSocket", entry.socket},
      {"enrolment", entry.enrolment},
      {"timeoutSeconds", kTimeoutSeconds},
  };
  if (!entry.made_from.empty()) object["madeFrom"] = entry.made_from;
  return json::serialize(object);
}

std::string trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  const auto end = text.find_last_not_of(" \t\r\n");
  return begin == std::string_view::npos ? "" : std::string(text.substr(begin, end - begin + 1));
}

}  // namespace

Result<PluginList> PluginList::parse(std::string text) {
  const auto object = parse_object(text);
  if (!object) return std::unexpected(object.error());
  if (const auto name = required(*object, "name"); !name) return std::unexpected(name.error());
  auto versions = versions_of(*object);
  if (!versions) return std::unexpected(versions.error());
  const auto* plugins = object->if_contains("plugins");
  if (plugins == nullptr || !plugins->is_array() || plugins->get_array().empty())
    return fail("plugins: not an array with a plugin in it");

  PluginList out;
  out.versions_ = std::move(*versions);
  const auto ranges = array_elements(text, "plugins");
  if (ranges.size() != plugins->get_array().size()) return fail("plugins: cannot be found in the text");
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const auto path = "plugins[" + std::to_string(i) + "]";
    const auto* plugin = plugins->get_array()[i].if_object();
    if (plugin == nullptr) return fail(path + ": not an object");
    const auto type = required(*plugin, "type");
    if (!type) return fail_in(path, type.error());
    const bool ours = *type == kPluginName;
    if (ours) out.made_from_ = text_of(*plugin, "madeFrom").value_or("");
    out.plugins_.push_back({.begin = ranges[i].begin, .end = ranges[i].end, .ours = ours});
  }
  out.text_ = std::move(text);
  return out;
}

Result<PluginList> PluginList::of_single(std::string_view text) {
  const auto object = parse_object(text);
  if (!object) return std::unexpected(object.error());
  if (const auto type = required(*object, "type"); !type) return std::unexpected(type.error());
  const auto name = required(*object, "name");
  if (!name) return std::unexpected(name.error());
  const auto version = text_of(*object, "cniVersion");
  if (!version) return std::unexpected(version.error());
  std::string list = "{\n";
  if (!version->empty()) list += "  \"cniVersion\": " + json::serialize(json::value(*version)) + ",\n";
  list +=
      "  \"name\": " + json::serialize(json::value(*name)) + ",\n  \"plugins\": [\n    " + trimmed(text) + "\n  ]\n}\n";
  return parse(std::move(list));
}

Result<void> PluginList::can_be_chained() const {
  for (const auto& version : versions_)
    if (!is_supported(version))
      return fail(R"(cniVersion: ")" + version +
                  R"(": plugins can be chained from 0.3.1 on, and underpass-cni knows )" +
                  std::string(kCniVersions.back()) + " at most");
  if (std::ranges::all_of(plugins_, &Plugin::ours)) return fail("plugins: there is none that makes an interface");
  return {};
}

bool PluginList::names_us() const { return std::ranges::any_of(plugins_, &Plugin::ours); }

std::string PluginList::made_from() const { return made_from_; }

std::string PluginList::with(const ListEntry& entry) const {
  const auto wanted = encode(entry);
  const auto& last = plugins_.back();
  const auto count = std::ranges::count(plugins_, true, &Plugin::ours);
  if (last.ours && count == 1 && json::parse(text_.substr(last.begin, last.end - last.begin)) == json::parse(wanted))
    return text_;
  if (count == 0) return text_.substr(0, last.end) + std::string(kIndent) + wanted + text_.substr(last.end);
  const auto rest = parse(without());
  return rest ? rest->with(entry) : text_;
}

std::string PluginList::without() const {
  if (std::ranges::all_of(plugins_, &Plugin::ours)) return "";
  const auto ours = std::ranges::find(plugins_, true, &Plugin::ours);
  if (ours == plugins_.end()) return text_;
  // With the comma before it; the first one with the comma behind.
  const bool is_first = ours == plugins_.begin();
  const auto begin = is_first ? ours->begin : std::prev(ours)->end;
  const auto end = is_first ? std::next(ours)->begin : ours->end;
  const auto rest = parse(text_.substr(0, begin) + text_.substr(end));
  return rest ? rest->without() : text_;
}

}  // namespace underpass::cni
