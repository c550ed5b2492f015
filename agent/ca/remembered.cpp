// SPDX-License-Identifier: Apache-2.0
#include "agent/ca/remembered.h"

#include <sys/stat.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "agent/state/state_file.h"

namespace underpass::ca {
namespace json = boost::json;

namespace {

constexpr std::size_t kLongest = std::size_t{16} << 20;  // some thousand certificates
constexpr std::int64_t kVersion = 1;

std::optional<std::string> text_of(const json::value& value, std::string_view name) {
  const auto* object = value.if_object();
  const auto* found = object == nullptr ? nullptr : object->if_contains(name);
  if (found == nullptr || !found->is_string()) return std::nullopt;
  return std::string(found->get_string());
}

Result<Remembered> decode(std::string_view text) {
  json::error_code error;
  const auto root = json::parse(text, error);
  const auto* fields = root.if_object();
  if (error || fields == nullptr) return fail("not a JSON object");
  const auto* version = fields->if_contains("version");
  if (version == nullptr || *version != json::value(kVersion)) return fail("version: not 1");
  auto bundle = text_of(root, "trustBundle");
  if (!bundle) return fail("trustBundle: not a text");
  const auto* list = fields->if_contains("certificates");
  if (list == nullptr || !list->is_object()) return fail("certificates: not an object");
  Remembered out{.trust_bundle = std::move(*bundle), .certificates = {}};
  for (const auto& [identity, one] : list->get_object()) {
    auto chain = text_of(one, "chain"), key = text_of(one, "key");
    if (!chain || !key) return fail("certificates[" + std::string(identity) + "]: has no chain or no key");
    out.certificates[identity] = {.chain = std::move(*chain), .key = std::move(*key)};
  }
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
