// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/decode_policy_condition.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/k8s/decode_policy_values.h"
#include "agent/k8s/names.h"

namespace underpass::k8s {
namespace {

using Key = model::PolicyCondition::Key;
using model::StringMatch;

constexpr std::string_view kHeaders = "request.headers";
constexpr std::string_view kClaims = "request.auth.claims";

// What stands in the brackets behind `name`: of "request.auth.claims[a][b]" {"a", "b"}. Nothing for another key, for
// brackets that are not closed, and for empty ones.
std::vector<std::string> members_of(std::string_view key, std::string_view name) {
  if (!key.starts_with(name)) return {};
  std::vector<std::string> out;
  for (auto rest = key.substr(name.size()); !rest.empty();) {
    const auto end = rest.find_first_of("[]", 1);
    if (rest.front() != '[' || end == std::string_view::npos || end < 2 || rest[end] != ']') return {};
    out.emplace_back(rest.substr(1, end - 1));
    rest.remove_prefix(end + 1);
  }
  return out;
}

// Keys that Istio has and nothing here can tell. Their brackets are Istio's to read.
bool is_unsupported_key(std::string_view key) {
  const auto open = key.find('[');
  const auto name = key.substr(0, open);
  const bool has_member = open != std::string_view::npos && key.ends_with(']') && open + 2 < key.size();
  if (key == "connection.sni") return true;
  return has_member &&
         (name == "request.experimental.inline.headers" || name.starts_with("experimental.envoy.filters."));
}

std::optional<Key> find_key(std::string_view name) {
  constexpr std::pair<std::string_view, Key> kKeys[] = {
      {"source.ip", Key::kSourceIp},
      {"source.namespace", Key::kSourceNamespace},
      {"source.principal", Key::kSourcePrincipal},
      {"source.serviceAccount", Key::kSourcePrincipal},
      {"remote.ip", Key::kRemoteIp},
      {"destination.ip", Key::kDestinationIp},
      {"destination.port", Key::kDestinationPort},
      {"request.auth.principal", Key::kRequestPrincipal},
      {"request.auth.audiences", Key::kAudiences},
      {"request.auth.presenter", Key::kPresenter},
  };
  for (const auto& [known, key] : kKeys) {
    if (known == name) return key;
  }
  if (members_of(name, kHeaders).size() == 1) return Key::kHeader;
  if (!members_of(name, kClaims).empty()) return Key::kClaim;
  if (is_unsupported_key(name)) return Key::kUnsupported;
  return std::nullopt;
}

// Host and what Envoy calls :authority, :method, :path and :scheme are no fields of a request here: a DENY that asks
// for them would never match.
std::vector<std::string> decode_header_key(const Field& key, std::string_view name) {
  auto out = members_of(name, kHeaders);
  auto& header = out.front();
  std::ranges::transform(header, header.begin(), to_lower);
  if (header.starts_with(':') || header == "host") {
    key.refuse("not supported: ask for hosts, methods or paths of the operation");
  } else if (!is_header_name(header)) {
    key.refuse("not a name of a header in brackets");
  }
  return out;
}

// A service account is what the principals of all trust domains end with.
StringMatch decode_principals_of_account(const Field& field, const std::string& ns) {
  const auto account = decode_account(field, ns);
  const auto slash = account.find('/');
  return {.kind = StringMatch::Kind::kSuffix,
          .text = "/ns/" + account.substr(0, slash) + "/sa" + account.substr(slash)};
}

}  // namespace

model::PolicyCondition decode_condition(const Field& field, const std::string& ns) {
  field.expect_members({"key", "values", "notValues"});
  const auto match = [&](const auto& decode) { return decode_match(field, "values", "notValues", decode); };
  const auto of_account = [&](const Field& element) { return decode_principals_of_account(element, ns); };

  model::PolicyCondition out;
  out.name = decode_text(field["key"]);
  const auto key = find_key(out.name);
  if (!key) field["key"].refuse("unknown key");
  out.key = key.value_or(Key::kUnsupported);
  bool asks = false;
  switch (out.key) {
    case Key::kSourceIp:
    case Key::kRemoteIp:
    case Key::kDestinationIp:
      out.blocks = match(decode_ip_block);
      asks = !out.blocks.empty();
      break;
    case Key::kDestinationPort:
      out.ports = match(decode_port_text);
      asks = !out.ports.empty();
      break;
    case Key::kUnsupported:
      asks = !match(decode_text).empty();
      break;
    case Key::kSourcePrincipal:
      out.strings = out.name == "source.serviceAccount" ? match(of_account) : match(decode_principal);
      asks = !out.strings.empty();
      break;
    default:
      out.strings = match(decode_string_match);
      asks = !out.strings.empty();
  }
  if (out.key == Key::kHeader) out.members = decode_header_key(field["key"], out.name);
  if (out.key == Key::kClaim) out.members = members_of(out.name, kClaims);
  if (!asks) field.refuse_field("needs values or notValues");
  return out;
}

}  // namespace underpass::k8s
