// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/enrolment_file.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

#include "agent/state/state_file.h"
#include "underpass/strict_json.h"

namespace underpass::cni {
namespace {

namespace json = boost::json;
using strict_json::Object;
using strict_json::Problem;

constexpr std::uint64_t kVersion = 1;
constexpr std::size_t kLongest = std::size_t{16} << 20;

std::string copy_of(const std::string& path) { return path + ".copy"; }

std::optional<NamespacedName> parse_name(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == text.size()) return std::nullopt;
  return NamespacedName{.ns = std::string(text.substr(0, slash)), .name = std::string(text.substr(slash + 1))};
}

void decode_pod(std::string_view key, const json::value& value, const std::string& path, Enrolment& out,
                Problem& problem) {
  const auto name = parse_name(key);
  const auto* wanted = value.if_bool();
  if (!name)
    problem.add(path, "not namespace/name");
  else if (wanted == nullptr)
    problem.add(path, "not true or false");
  else
    out.pods.emplace(*name, *wanted);
}

Result<std::optional<Enrolment>> read_one(const std::string& path) {
  const auto text = state::read_state_file(path, kLongest);
  if (!text) return std::unexpected(text.error());
  if (!*text) return std::nullopt;
  auto decoded = decode_enrolment(**text);
  if (!decoded) return fail_in(path, decoded.error());
  return std::move(*decoded);
}

}  // namespace

bool Enrolment::wants(const NamespacedName& pod) const {
  const auto named = pods.find(pod);
  return named == pods.end() ? namespaces.contains(pod.ns) : named->second;
}

std::string encode_enrolment(const Enrolment& enrolment) {
  json::array namespaces;
  for (const auto& name : enrolment.namespaces) namespaces.emplace_back(name);
  json::object pods;
  for (const auto& [pod, wanted] : enrolment.pods) pods[pod.to_string()] = wanted;
  return json::serialize(
      json::object{{"version", kVersion}, {"namespaces", std::move(namespaces)}, {"pods", std::move(pods)}});
}

Result<Enrolment> decode_enrolment(std::string_view text) {
  const auto parsed = strict_json::parse(text);
  if (!parsed) return std::unexpected(parsed.error());
  Problem problem;
  Object object(*parsed, "", problem);
  object.number("version", kVersion, kVersion);
  Enrolment out;
  object.array("namespaces", [&](const json::value& value, const std::string& path) {
    const auto* name = value.if_string();
    if (name == nullptr || name->empty()) return problem.add(path, "not a name");
    out.namespaces.emplace(name->data(), name->size());
  });
  object.map("pods", [&](std::string_view key, const json::value& value, const std::string& path) {
    decode_pod(key, value, path, out, problem);
  });
  object.end();
  if (problem) return fail(problem.message());
  return out;
}

Result<void> write_enrolment(const std::string& path, const Enrolment& enrolment) {
  const auto text = encode_enrolment(enrolment);
  if (auto written = state::replace_state_file(copy_of(path), text); !written) return written;
  return state::replace_state_file(path, text);
}

Result<void> remove_enrolment(const std::string& path) {
  if (auto removed = state::remove_state_file(path); !removed) return removed;
  return state::remove_state_file(copy_of(path));
}

Result<std::optional<Enrolment>> read_enrolment(const std::string& path) {
  auto first = read_one(path);
  if (first) return first;
  auto copy = read_one(copy_of(path));
  if (copy && *copy) return copy;
  return first;
}

}  // namespace underpass::cni
