// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/decode_ext_authz.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/k8s/decode_duration.h"
#include "agent/k8s/decode_policy_values.h"
#include "agent/k8s/decode_values.h"
#include "agent/k8s/names.h"

namespace underpass::k8s {
namespace {

constexpr std::string_view kNotSupported = "not supported";

// What else an extension provider of Istio may be.
constexpr std::string_view kOtherKinds[] = {
    "envoyExtAuthzGrpc", "zipkin",      "lightstep",     "datadog",           "stackdriver",
    "opencensus",        "skywalking",  "opentelemetry", "prometheus",        "sds",
    "envoyHttpAls",      "envoyTcpAls", "envoyOtelAls",  "envoyFileAccessLog"};

// "ext-authz.platform", "….svc" or "….svc.cluster.local", and each with "platform/" before it.
std::optional<NamespacedName> parse_service(std::string_view text) {
  const auto slash = text.find('/');
  const auto before = slash == std::string_view::npos ? std::string_view() : text.substr(0, slash);
  if (slash != std::string_view::npos) text.remove_prefix(slash + 1);
  const auto dot = text.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const auto name = text.substr(0, dot);
  text.remove_prefix(dot + 1);
  const auto ns = text.substr(0, text.find('.'));
  const auto rest = text.substr(ns.size());
  if (rest != "" && rest != ".svc" && rest != ".svc.cluster.local") return std::nullopt;
  if (!is_dns_label(name) || !is_dns_label(ns)) return std::nullopt;
  if (slash != std::string_view::npos && before != ns) return std::nullopt;
  return NamespacedName{std::string(ns), std::string(name)};
}

NamespacedName decode_service_name(const Field& field) {
  const auto text = decode_text(field);
  const auto service = parse_service(text);
  if (!service && !text.empty()) {
    field.refuse(
        "must be name.namespace or name.namespace.svc.cluster.local, which the same namespace and / may precede");
  }
  return service.value_or(NamespacedName{});
}

// "403", as Istio has it.
unsigned decode_status(const Field& field, unsigned usual) {
  const auto text = field.string();
  if (!text) return usual;
  const auto status = parse_number(*text, 599);
  if (!status || *status < 400 || *status > 599) field.refuse("must be \"400\" to \"599\"");
  return status.value_or(usual);
}

std::string decode_path_prefix(const Field& field) {
  if (!field.present()) return "";
  auto text = decode_text(field);
  const auto is_plain = [](char c) { return c > 0x20 && c < 0x7f && c != '?' && c != '#'; };
  if (!text.starts_with('/') || !std::ranges::all_of(text, is_plain)) {
    field.refuse("must be a path that begins with /, without query and fragment");
  }
  return text;
}

model::StringMatch decode_header_match(const Field& field) {
  auto out = decode_string_match(field);
  if (!out.text.empty() && !is_header_name(out.text)) field.refuse("not a name of a header, nor a part of one");
  std::ranges::transform(out.text, out.text.begin(), to_lower);
  return out;
}

std::map<std::string, std::string> decode_headers(const Field& field) {
  std::map<std::string, std::string> out;
  for (const auto& [key, value] : field.members()) {
    std::string name(key);
    std::ranges::transform(name, name.begin(), to_lower);
    auto text = value.string().value_or("");
    if (!value.present()) value.refuse_field(kMissing);
    if (!is_header_name(name)) value.refuse_field("not a name of a header");
    if (is_framing_header(name)) value.refuse_field(kFramingHeader);
    if (std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; })) {
      value.refuse("has a control character");
    }
    if (!out.emplace(std::move(name), std::move(text)).second) value.refuse_field(kListedTwice);
  }
  return out;
}

void decode_body(const Field& field, model::ExtAuthzProvider& out) {
  if (!field.present()) return;
  const auto most = field["maxRequestBytes"];
  if (const auto packed = field["packAsBytes"]; packed.present()) packed.refuse_field(kNotSupported);
  field.expect_members({"maxRequestBytes", "allowPartialMessage"});
  if (!most.present()) most.refuse_field(kMissing);
  out.max_request_bytes = most.integer(1, kMaxCheckedBody).value_or(0);
  out.allow_partial_message = field["allowPartialMessage"].boolean().value_or(false);
}

model::ExtAuthzProvider decode_http_provider(const Field& field, std::string name) {
  if (const auto old = field["includeHeadersInCheck"]; old.present()) {
    old.refuse_field("not supported: use includeRequestHeadersInCheck");
  }
  if (const auto cache = field["clearRouteCache"]; cache.present()) cache.refuse_field(kNotSupported);
  field.expect_members({"service", "port", "timeout", "failOpen", "statusOnError", "pathPrefix",
                        "includeRequestHeadersInCheck", "includeAdditionalHeadersInCheck", "includeRequestBodyInCheck",
                        "headersToUpstreamOnAllow", "headersToDownstreamOnDeny", "headersToDownstreamOnAllow"});
  model::ExtAuthzProvider out;
  out.name = std::move(name);
  out.service = decode_service_name(field["service"]);
  out.port = decode_port(field["port"]);
  out.timeout = decode_duration(field["timeout"], std::chrono::milliseconds(1)).value_or(out.timeout);
  out.fail_open = field["failOpen"].boolean().value_or(false);
  out.status_on_error = decode_status(field["statusOnError"], out.status_on_error);
  out.path_prefix = decode_path_prefix(field["pathPrefix"]);
  out.include_request_headers = decode_each(field["includeRequestHeadersInCheck"], decode_header_match);
  out.include_additional_headers = decode_headers(field["includeAdditionalHeadersInCheck"]);
  decode_body(field["includeRequestBodyInCheck"], out);
  out.headers_to_upstream_on_allow = decode_each(field["headersToUpstreamOnAllow"], decode_header_match);
  out.headers_to_downstream_on_deny = decode_each(field["headersToDownstreamOnDeny"], decode_header_match);
  out.headers_to_downstream_on_allow = decode_each(field["headersToDownstreamOnAllow"], decode_header_match);
  return out;
}

model::ExtAuthzProvider decode_provider(const Field& field) {
  for (const auto kind : kOtherKinds) {
    if (const auto other = field[kind]; other.present()) other.refuse_field("not supported: only envoyExtAuthzHttp is");
  }
  field.expect_members({"name", "envoyExtAuthzHttp"});
  return decode_http_provider(field["envoyExtAuthzHttp"], decode_text(field["name"]));
}

}  // namespace

std::map<std::string, model::ExtAuthzProvider> decode_extension_providers(const Field& list) {
  std::map<std::string, model::ExtAuthzProvider> out;
  const auto elements = list.elements();
  if (elements.size() > kMaxProviders) list.refuse_field("at most " + std::to_string(kMaxProviders) + " may stand");
  for (const auto& element : elements) {
    auto provider = decode_provider(element);
    auto name = provider.name;
    if (!out.emplace(std::move(name), std::move(provider)).second) element.refuse_field("its name is another's too");
  }
  return out;
}

}  // namespace underpass::k8s
