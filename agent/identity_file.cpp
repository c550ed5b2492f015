// SPDX-License-Identifier: Apache-2.0
#include "agent/identity_file.h"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "agent/state/state_file.h"

namespace underpass {
namespace json = boost::json;

namespace {

constexpr std::size_t kLongest = std::size_t{64} << 20;
constexpr std::int64_t kVersion = 1;

Result<std::map<NamespacedName, std::uint32_t>> decode(std::string_view text) {
  json::error_code error;
  const auto root = json::parse(text, error);
  const auto* fields = root.if_object();
  if (error || fields == nullptr) return fail("not a JSON object");
  const auto* version = fields->if_contains("version");
  if (version == nullptr || *version != json::value(kVersion)) return fail("version: not 1");
  const auto* accounts = fields->if_contains("accounts");
  if (accounts == nullptr || !accounts->is_object()) return fail("accounts: not an object");
  std::map<NamespacedName, std::uint32_t> out;
  std::set<std::int64_t> seen;
  for (const auto& [name, value] : accounts->get_object()) {
    const std::string account = name;
    const auto slash = account.find('/');
    const auto* number = value.if_int64();
    if (slash == std::string::npos || number == nullptr || *number < UP_IDENTITY_FIRST_ACCOUNT ||
        *number > std::numeric_limits<std::uint32_t>::max() || !seen.insert(*number).second)
      return fail("accounts[" + account + "]: no number, or another's");
    out[{.ns = account.substr(0, slash), .name = account.substr(slash + 1)}] = static_cast<std::uint32_t>(*number);
  }
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
