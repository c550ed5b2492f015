// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/decode_policy_values.h"

#include <algorithm>
#include <span>
#include <utility>

#include "agent/k8s/decode_metadata.h"
#include "agent/k8s/decode_values.h"
#include "agent/k8s/names.h"
#include "userspace_proxy/authz/path_template.h"

namespace underpass::k8s {
namespace {

constexpr unsigned kAddressBits = 128;
constexpr unsigned kV4Bits = 32;

IpAddress without_host_bits(const IpAddress& ip, unsigned prefix) {
  up_addr address = ip.to_abi();
  for (auto& byte : std::span(address.bytes)) {
    const unsigned kept = std::min(prefix, 8U);
    byte = static_cast<std::uint8_t>(byte & (0xff00U >> kept));
    prefix -= kept;
  }
  return IpAddress(address);
}

}  // namespace

void refuse_dry_run(const Field& metadata) {
  if (const auto dry_run = metadata["annotations"][kDryRun]; dry_run.present())
    dry_run.refuse_field("only an AuthorizationPolicy has a dry run");
}

std::string decode_text(const Field& field) {
  auto text = field.string();
  if (!field.present()) field.refuse_field(kMissing);
  if (text && text->empty()) field.refuse(kEmpty);
  return std::move(text).value_or("");
}

std::uint16_t decode_port_text(const Field& field) {
  const auto port = parse_port(decode_text(field));
  if (!port) field.refuse("must be 1 to 65535");
  return port.value_or(0);
}

model::StringMatch decode_string_match(const Field& field) {
  using Kind = model::StringMatch::Kind;
  model::StringMatch out{.kind = Kind::kExact, .text = decode_text(field)};
  if (out.text == "*") return {.kind = Kind::kPresent, .text = ""};
  if (out.text.starts_with('*')) {
    out.kind = Kind::kSuffix;
    out.text.erase(0, 1);
  } else if (out.text.ends_with('*')) {
    out.kind = Kind::kPrefix;
    out.text.pop_back();
  }
  if (out.text.contains('*')) field.refuse("one wildcard (*) may stand, at one end");
  return out;
}

model::StringMatch decode_principal(const Field& field) {
  auto out = decode_string_match(field);
  if (out.text.starts_with("spiffe://")) field.refuse("must be written without spiffe://");
  return out;
}

model::StringMatch decode_host(const Field& field) {
  auto out = decode_string_match(field);
  std::ranges::transform(out.text, out.text.begin(), to_lower);
  return out;
}

model::StringMatch decode_path(const Field& field) {
  const auto text = decode_text(field);
  if (text.contains("{*}") || text.contains("{**}")) {
    const auto parsed = authz::PathTemplate::parse(text);
    if (!parsed) field.refuse(parsed.error().message);
    return {.kind = model::StringMatch::Kind::kTemplate, .text = text};
  }
  if (text.find_first_of("{}") != std::string::npos) {
    field.refuse("of { and } only {*} and {**} may stand, each as a whole segment");
  }
  return decode_string_match(field);
}

std::string decode_header_name(const Field& field) {
  auto text = decode_text(field);
  if (!text.empty() && !is_header_name(text)) field.refuse("not a name of a header");
  std::ranges::transform(text, text.begin(), to_lower);
  return text;
}

bool is_framing_header(std::string_view name) {
  constexpr std::string_view kNames[] = {"connection", "content-length",   "expect",  "host",    "keep-alive",
                                         "te",         "proxy-connection", "trailer", "upgrade", "transfer-encoding"};
  return std::ranges::find(kNames, name) != std::end(kNames);
}

std::string decode_account(const Field& field, const std::string& ns) {
  const auto text = decode_text(field);
  const auto slash = text.find('/');
  const auto own_ns = slash == std::string::npos ? ns : text.substr(0, slash);
  const auto name = slash == std::string::npos ? text : text.substr(slash + 1);
  if (!is_dns_label(own_ns) || !is_dns_subdomain(name)) {
    field.refuse("must be a service account or namespace/service account, without wildcards");
  }
  return own_ns + "/" + name;
}

model::IpBlock decode_ip_block(const Field& field) {
  const auto text = decode_text(field);
  const auto slash = text.find('/');
  const auto ip = IpAddress::parse(text.substr(0, slash));
  if (!ip) {
    field.refuse("not an IP address or block (10.0.0.0/8)");
    return {};
  }
  if (ip->is_v4() && text.contains(':')) field.refuse("IPv4 in the form of IPv6: write it as IPv4");
  const unsigned bits = ip->is_v4() ? kV4Bits : kAddressBits;
  unsigned length = bits;
  if (slash != std::string::npos) {
    const auto number = parse_number(std::string_view(text).substr(slash + 1), bits);
    if (!number) {
      field.refuse("prefix is not a number");
      return {};
    }
    length = *number;
    if (length > bits) {
      field.refuse("prefix exceeds " + std::to_string(bits));
      return {};
    }
  }
  const auto prefix = kAddressBits - bits + length;
  const auto base = without_host_bits(*ip, prefix);
  if (base != *ip) {
    field.refuse("has bits behind its prefix: the block is " + base.to_string() + "/" + std::to_string(length));
  }
  return {.base = base, .prefix = static_cast<std::uint8_t>(prefix)};
}

std::map<std::string, std::string> decode_selector(const Field& selector) {
  constexpr std::string_view kExpressions = "matchExpressions";
  if (!selector.present()) return {};
  if (const auto expressions = selector[kExpressions]; expressions.present()) {
    expressions.refuse_field("not supported: use matchLabels");
  }
  selector.expect_members({"matchLabels"});
  std::map<std::string, std::string> out;
  for (const auto& [key, value] : selector["matchLabels"].members()) {
    auto text = value.string().value_or("");
    if (!value.present()) value.refuse_field(kMissing);
    if (key.empty()) value.refuse_field("a label without a name");
    if (key.contains('*') || text.contains('*')) value.refuse("wildcards (*) are not supported here");
    out.emplace(key, std::move(text));
  }
  return out;
}

void refuse_targets(const Field& spec) {
  constexpr std::string_view kCause = "not supported: it needs a waypoint; use selector";
  if (const auto target = spec["targetRef"]; target.present()) target.refuse_field(kCause);
  if (const auto targets = spec["targetRefs"]; !targets.elements().empty()) targets.refuse_field(kCause);
}

void expect_object(const Field& root, std::initializer_list<std::string_view> spec_members) {
  root.expect_members({"apiVersion", "kind", "metadata", "spec", "status"});
  if (const auto spec = root["spec"]; spec.present()) spec.expect_members(spec_members);
}

}  // namespace underpass::k8s
