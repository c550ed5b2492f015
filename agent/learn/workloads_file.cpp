// SPDX-License-Identifier: Apache-2.0
#include "agent/learn/workloads_file.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "agent/state/state_file.h"

namespace underpass::learn {
namespace {

namespace json = boost::json;

constexpr std::int64_t kVersion = 1;
constexpr std::size_t kLongestEntry = 4096;
constexpr std::size_t kLongestFile = kMostWorkloads * (kLongestEntry + 2) + 1024;

json::array to_array(const std::vector<std::string>& texts) {
  json::array out;
  for (const auto& text : texts) out.emplace_back(text);
  return out;
}

std::string encode(const Remembered& one) {
  return json::serialize(json::object{
      {"namespace", one.workload.ns},
      {"owner", one.workload.owner},
      {"images", to_array(one.workload.images)},
      {"verdict", name_of(one.verdict.state)},
      {"traits", to_array(one.verdict.traits)},
      {"connections", one.verdict.connections},
      {"reads", one.verdict.reads},
      {"since", one.verdict.since},
      {"lastSeen", one.last_seen},
  });
}

// One entry, field by field; the first thing that is wrong is kept.
class Entry {
 public:
  Entry(const json::value& value, std::string path) : fields_(value.if_object()), path_(std::move(path)) {
    if (fields_ == nullptr) problem_ = path_ + ": not an object";
  }

  std::string text(std::string_view name) {
    const json::value* value = find(name);
    if (value != nullptr && value->is_string() && !value->get_string().empty()) return std::string(value->get_string());
    refuse(name, "not a text");
    return {};
  }

  std::vector<std::string> texts(std::string_view name) {
    std::vector<std::string> out;
    const json::value* value = find(name);
    if (value == nullptr || !value->is_array()) {
      refuse(name, "not a list");
      return out;
    }
    for (const auto& element : value->get_array()) {
      if (!element.is_string())
        refuse(name, "holds something that is not a text");
      else
        out.emplace_back(element.get_string());
    }
    return out;
  }

  std::uint64_t number(std::string_view name) {
    const json::value* value = find(name);
    json::error_code error;
    const auto number = value != nullptr ? value->to_number<std::uint64_t>(error) : 0;
    if (value == nullptr || error) refuse(name, "not a count");
    return number;
  }

  void refuse(std::string_view name, std::string_view cause) {
    if (problem_.empty()) problem_ = path_ + "." + std::string(name) + ": " + std::string(cause);
  }

  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  const json::value* find(std::string_view name) { return fields_ != nullptr ? fields_->if_contains(name) : nullptr; }

  const json::object* fields_;
  std::string path_;
  std::string problem_;
};

Result<Remembered> decode(const json::value& value, const std::string& path) {
  Entry entry(value, path);
  Remembered out;
  out.workload = {.ns = entry.text("namespace"), .owner = entry.text("owner"), .images = entry.texts("images")};
  const auto verdict = entry.text("verdict");
  out.verdict = {.state = verdict == name_of(State::kOn) ? State::kOn : State::kOff,
                 .connections = entry.number("connections"),
                 .reads = entry.number("reads"),
                 .traits = entry.texts("traits"),
                 .since = entry.text("since")};
  out.last_seen = entry.text("lastSeen");
  if (verdict != name_of(out.verdict.state)) entry.refuse("verdict", "neither on nor off");
  if (out.verdict.traits.empty() != (out.verdict.state == State::kOn))
    entry.refuse("traits", "an off needs one, and an on has none");
  if (!entry.problem().empty()) return fail(entry.problem());
  return out;
}

Result<std::vector<Remembered>> decode(std::string_view text) {
  json::error_code error;
  json::parse_options options;
  options.allow_invalid_utf8 = true;  // an image's name may be anything
  const json::value root = json::parse(text, error, {}, options);
  if (error) return fail("not JSON: " + error.message());
  const json::object* fields = root.if_object();
  if (fields == nullptr) return fail("not a JSON object");
  const json::value* version = fields->if_contains("version");
  if (version == nullptr || !version->is_int64()) return fail("version: not a number");
  if (version->get_int64() != kVersion)
    return fail("version: " + std::to_string(version->get_int64()) + ": only " + std::to_string(kVersion) +
                " is understood");
  const json::value* list = fields->if_contains("workloads");
  if (list == nullptr || !list->is_array()) return fail("workloads: not a list");

  std::vector<Remembered> out;
  std::set<Workload> seen;
  for (const auto& value : list->get_array()) {
    const auto path = "workloads[" + std::to_string(out.size()) + "]";
    auto one = decode(value, path);
    if (!one) return std::unexpected(one.error());
    if (!seen.insert(one->workload).second) return fail(path + ": " + one->workload.to_string() + " is listed twice");
    out.push_back(std::move(*one));
  }
  return out;
}

}  // namespace

std::string workloads_path(const std::string& state_dir) { return state_dir + "/workloads.json"; }

Loaded load_workloads(const std::string& state_dir) {
  const std::string path = workloads_path(state_dir), aside = path + ".bad";
  const auto set_aside = [&](std::string problem) {
    problem += ": learning starts anew; ";
    if (std::rename(path.c_str(), aside.c_str()) == 0) return Loaded{{}, problem + "the file is now " + aside};
    return Loaded{{}, problem + "it could not be moved to " + aside + ": " + std::strerror(errno)};
  };
  const auto text = state::read_state_file(path, kLongestFile);
  if (!text) return set_aside(text.error().message);
  if (!*text) return {};
  auto workloads = decode(**text);
  if (!workloads) return set_aside(path + ": " + workloads.error().message);
  return {.workloads = std::move(*workloads), .problem = ""};
}

Result<void> save_workloads(const std::string& state_dir, std::span<const Remembered> workloads) {
  std::string text = R"({"version": )" + std::to_string(kVersion) + R"(, "workloads": [)";
  bool first = true;
  for (const auto& one : workloads) {
    const std::string entry = encode(one);
    if (entry.size() > kLongestEntry) continue;
    text += (std::exchange(first, false) ? "\n" : ",\n") + entry;
  }
  return state::replace_state_file(workloads_path(state_dir), text + "]}\n");
}

}  // namespace underpass::learn
