// SPDX-License-Identifier: Apache-2.0
#include "agent/ca/remembered.h"

#include <sys/stat.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdint>
#include <string_view>
#include <utility>

#include "agent/state/state_file.h"
#include "underpass/strict_json.h"

namespace underpass::ca {
namespace json = boost::json;

namespace {

constexpr std::size_t kLongest = std::size_t{16} << 20;  // some thousand certificates
constexpr std::uint64_t kVersion = 1;

Result<Remembered> decode(std::string_view text) {
  const auto value = strict_json::parse(text);
  if (!value) return std::unexpected(value.error());
  Remembered out;
  strict_json::Problem problem;
  strict_json::Object root(*value, "", problem);
  root.number("version", kVersion, kVersion);
  out.trust_bundle = root.string("trustBundle");
  root.map("certificates", [&](std::string_view identity, const json::value& held, const std::string& at) {
    strict_json::Object one(held, at, problem);
    out.certificates[std::string(identity)] = {.chain = one.string("chain"), .key = one.string("key")};
    one.end();
  });
  root.end();
  if (problem) return fail(problem.message());
  return out;
}

}  // namespace

std::string remembered_path(const std::string& run_dir) { return run_dir + "/certificates.json"; }

Result<Remembered> load_remembered(const std::string& path) {
  struct stat facts{};
  if (::stat(path.c_str(), &facts) == 0 && (facts.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return fail(path + ": must be its owner's alone (0600)");
  const auto text = state::read_state_file(path, kLongest);
  if (!text) return std::unexpected(text.error());
  if (!*text) return Remembered();
  auto out = decode(**text);
  if (!out) return fail_in(path, out.error());
  return out;
}

Result<void> save_remembered(const std::string& path, const std::string& trust_bundle,
                             const CertificateMap& certificates) {
  json::object all;
  for (const auto& [identity, one] : certificates) all[identity] = {{"chain", one.chain}, {"key", one.key}};
  const json::object root{{"version", kVersion}, {"trustBundle", trust_bundle}, {"certificates", std::move(all)}};
  return state::replace_state_file(path, json::serialize(root) + "\n");
}

}  // namespace underpass::ca
