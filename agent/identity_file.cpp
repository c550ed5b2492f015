// SPDX-License-Identifier: Apache-2.0
#include "agent/identity_file.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "agent/state/state_file.h"
#include "underpass/strict_json.h"

namespace underpass {
namespace json = boost::json;

namespace {

constexpr std::size_t kLongest = std::size_t{64} << 20;
constexpr std::uint64_t kVersion = 1;

Result<std::map<NamespacedName, std::uint32_t>> decode(std::string_view text) {
  const auto value = strict_json::parse(text);
  if (!value) return std::unexpected(value.error());
  std::map<NamespacedName, std::uint32_t> out;
  std::set<std::uint32_t> seen;
  strict_json::Problem problem;
  strict_json::Object root(*value, "", problem);
  root.number("version", kVersion, kVersion);
  root.map("accounts", [&](std::string_view account, const json::value& held, const std::string& at) {
    const auto number = strict_json::whole_number(held);
    const auto slash = account.find('/');
    if (slash == std::string_view::npos) return problem.add(at, "not NAMESPACE/NAME");
    if (!number || *number < UP_IDENTITY_FIRST_ACCOUNT || *number > std::numeric_limits<std::uint32_t>::max())
      return problem.add(at, "no number of an account");
    const auto identity = static_cast<std::uint32_t>(*number);
    if (!seen.insert(identity).second) return problem.add(at, std::to_string(identity) + " is another's, too");
    out[{.ns = std::string(account.substr(0, slash)), .name = std::string(account.substr(slash + 1))}] = identity;
  });
  root.end();
  if (problem) return fail(problem.message());
  return out;
}

}  // namespace

std::string identity_path(const std::string& run_dir) { return run_dir + "/identities.json"; }

Result<void> load_identities(const std::string& path, compile::IdentityNumbers& numbers) {
  const auto text = state::read_state_file(path, kLongest);
  if (!text) return std::unexpected(text.error());
  if (!*text) return {};
  const auto known = decode(**text);
  if (!known) return fail_in(path, known.error());
  for (const auto& [account, number] : *known) numbers.adopt(account, number);
  return {};
}

Result<void> save_identities(const std::string& path, const compile::IdentityNumbers& numbers) {
  json::object accounts;
  for (const auto& [account, number] : numbers.all()) accounts[account.to_string()] = number;
  const json::object root{{"version", kVersion}, {"accounts", std::move(accounts)}};
  return state::replace_state_file(path, json::serialize(root) + "\n");
}

}  // namespace underpass
