// SPDX-License-Identifier: Apache-2.0
#include "agent/jwks/sets_file.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "agent/jwks/key_set_text.h"
#include "agent/state/state_file.h"
#include "underpass/strict_json.h"

namespace underpass::jwks {
namespace json = boost::json;

namespace {

constexpr std::uint64_t kVersion = 1;
constexpr std::size_t kLongestFile = std::size_t{64} << 20;

}  // namespace

std::string sets_path(const std::string& state_dir) { return state_dir + "/jwks.json"; }

Result<Sets> load_sets(const std::string& path) {
  const auto text = state::read_state_file(path, kLongestFile);
  if (!text) return std::unexpected(text.error());
  Sets sets;
  if (!*text) return sets;
  const auto value = strict_json::parse(**text);
  if (!value) return fail_in(path, value.error());
  strict_json::Problem problem;
  strict_json::Object object(*value, "", problem);
  object.number("version", kVersion, kVersion);
  object.map("sets", [&](std::string_view uri, const json::value& set, const std::string& at) {
    const auto* kept = set.if_string();
    if (kept == nullptr) return problem.add(at, "not a text");
    const std::string_view view(kept->data(), kept->size());
    if (const auto good = check_key_set(view); !good) return problem.add(at, good.error().message);
    sets.emplace(uri, view);
  });
  object.end();
  if (problem) return fail(path + ": " + problem.message());
  return sets;
}

Result<void> save_sets(const std::string& path, const Sets& sets) {
  json::object object;
  for (const auto& [uri, text] : sets) object.emplace(uri, text);
  return state::replace_state_file(
      path, json::serialize(json::object{{"version", kVersion}, {"sets", std::move(object)}}) + "\n");
}

}  // namespace underpass::jwks
