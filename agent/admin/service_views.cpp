// SPDX-License-Identifier: Apache-2.0
#include "agent/admin/service_views.h"

#include <boost/json/object.hpp>
#include <charconv>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/admin/views.h"
#include "underpass/abi_names.h"

namespace underpass::admin {
namespace {

namespace json = boost::json;
using model::Diagnostic;

bool is_unspecified(const IpAddress& ip) { return ip == IpAddress() || ip == IpAddress::parse("0.0.0.0"); }

std::string_view family_of(bool v6) { return v6 ? "IPv6" : "IPv4"; }

// "spec.clusterIPs: 10.96.0.10:80/TCP is already that of Service shop/web"
std::string cause_of(const Diagnostic& diagnostic) {
  return diagnostic.path.empty() ? diagnostic.cause : diagnostic.path + ": " + diagnostic.cause;
}

// The causes of a Service that is in force as it was before.
json::value stale_cause_of(const NamespacedName& service, std::span<const Diagnostic> diagnostics) {
  std::string out;
  for (const Diagnostic& diagnostic : diagnostics) {
    if (diagnostic.kind != "Service" || diagnostic.state != Diagnostic::State::kStale || diagnostic.id != service)
      continue;
    out += (out.empty() ? "" : "; ") + cause_of(diagnostic);
  }
  return out.empty() ? json::value(nullptr) : json::value(out);
}

json::array backends_view(const std::vector<compile::Backend>& backends, const PodName& pod_name) {
  json::array rows;
  rows.reserve(backends.size());
  for (const compile::Backend& backend : backends) {
    const std::string pod = pod_name ? pod_name(backend.ip) : "";
    rows.emplace_back(json::object{{"ip", backend.ip.to_string()},
                                   {"port", backend.port},
                                   {"weight", backend.weight},
                                   {"pod", pod.empty() ? json::value(nullptr) : json::value(pod)}});
  }
  return rows;
}

json::object active_view(const compile::PortKey& key, const compile::PortTable& table, const PodName& pod_name,
                         json::value stale_cause) {
  json::array frontends;
  for (const compile::Frontend& frontend : table.frontends) frontends.emplace_back(frontend_text(frontend));
  return {
      {"namespace", key.service.ns},
      {"name", key.service.name},
      {"port", key.port},
      {"protocol", protocol_name(static_cast<unsigned>(key.protocol))},
      {"family", family_of(key.v6)},
      {"frontends", std::move(frontends)},
      {"backends", backends_view(table.backends, pod_name)},
      {"loadBalancing", table.maglev ? "maglev" : "random"},
      {"affinitySeconds", table.affinity_seconds},
      {"state", stale_cause.is_null() ? "active" : "stale"},
      {"cause", std::move(stale_cause)},
  };
}

// The frontend that a conflict's cause begins with: "10.96.0.10:80/TCP is already that of Service shop/web".
std::optional<compile::Frontend> find_frontend(std::string_view cause) {
  const std::size_t slash = cause.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::string_view address = cause.substr(0, slash);
  const std::string_view protocol = cause.substr(slash + 1, 4);
  const std::size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || (protocol != "TCP " && protocol != "UDP ")) return std::nullopt;

  compile::Frontend out{
      .ip = {}, .port = 0, .protocol = protocol == "UDP " ? model::Protocol::kUdp : model::Protocol::kTcp};
  const std::string_view port = address.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (error != std::errc{} || end != port.data() + port.size()) return std::nullopt;
  std::string ip(address.substr(0, colon));
  if (ip.starts_with('[') && ip.ends_with(']')) ip = ip.substr(1, ip.size() - 2);
  const auto parsed = IpAddress::parse(ip);
  if (!parsed) return std::nullopt;
  out.ip = *parsed;
  return out;
}

json::object refused_view(const Diagnostic& diagnostic) {
  const std::optional<compile::Frontend> frontend = find_frontend(diagnostic.cause);
  json::object row{
      {"namespace", diagnostic.id.ns}, {"name", diagnostic.id.name}, {"port", nullptr},
      {"protocol", nullptr},           {"family", nullptr},          {"frontends", json::array()},
  };
  if (frontend) {
    // Of a NodePort it is not told which of the Service's ports has it.
    if (!is_unspecified(frontend->ip)) row["port"] = frontend->port;
    row["protocol"] = protocol_name(static_cast<unsigned>(frontend->protocol));
    row["family"] = family_of(!frontend->ip.is_v4());
    row["frontends"] = json::array{json::value(frontend_text(*frontend))};
  }
  row["backends"] = json::array();
  row["loadBalancing"] = nullptr;
  row["affinitySeconds"] = 0;
  row["state"] = "refused";
  row["cause"] = cause_of(diagnostic);
  return row;
}

}  // namespace

std::string frontend_text(const compile::Frontend& frontend) {
  if (is_unspecified(frontend.ip)) return "*:" + std::to_string(frontend.port);
  return endpoint_text(frontend.ip, frontend.port);
}

std::string port_text(const compile::PortKey& key) { return key.service.to_string() + ":" + std::to_string(key.port); }

json::array services_view(const compile::PortTables& tables, std::span<const Diagnostic> diagnostics,
                          const PodName& pod_name) {
  std::multimap<NamespacedName, json::object> rows;  // those of one Service in the order in which they come
  json::value stale_cause;
  const NamespacedName* asked = nullptr;  // the diagnostics are searched once for each Service, not for each port
  for (const auto& [key, table] : tables) {
    if (asked == nullptr || *asked != key.service) stale_cause = stale_cause_of(key.service, diagnostics);
    asked = &key.service;
    rows.emplace(key.service, active_view(key, table, pod_name, stale_cause));
  }
  for (const Diagnostic& diagnostic : diagnostics) {
    if (diagnostic.kind == "Service" && diagnostic.state == Diagnostic::State::kRefused)
      rows.emplace(diagnostic.id, refused_view(diagnostic));
  }

  json::array out;
  out.reserve(rows.size());
  for (auto& [service, row] : rows) out.emplace_back(std::move(row));
  return out;
}

}  // namespace underpass::admin
