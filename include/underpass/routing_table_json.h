// SPDX-License-Identifier: Apache-2.0
// RoutingTable as JSON, as it travels from the agent to a worker:
//   {"format": 4, "revision": 7, "settings": {"threads": 2, …, "http": {…}}, "trustDomain": "cluster.local",
//    "pods": [{"netns": "4711", "namespace": "shop", "name": "web", "identity": "spiffe://…", "labels": {"app": "web"},
//    "ports": {"80": "http1"}, "policies": 0, "tunnels": true, "services":
//    {"web.shop.svc.cluster.local:80": 8080}}], "identities": {"2": "spiffe://…"}, "policySets":
//    [{"policies": […], "authentications": […], "closedBy": "", "whyClosed": ""}], "providers": {"opa": {…}}, "jwks":
//    {"https://…": "{…}"}, "certificates": [{"identity": "spiffe://…", "chain": "-----BEGIN…", "key": "-----BEGIN…"}],
//    "trustBundle": "-----BEGIN…"}
// Decoding is strict: another format, a member too few or too many, or a value that makes no sense is an Error. The
// parts are in routing_table_json/.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "underpass/result.h"
#include "underpass/routing_table.h"
#include "underpass/routing_table_json/authentication.h"
#include "underpass/routing_table_json/policy.h"
#include "underpass/routing_table_json/provider.h"
#include "underpass/routing_table_json/settings.h"
#include "underpass/routing_table_json/values.h"
#include "underpass/strict_json.h"

namespace underpass {
namespace routing_table_json {

inline constexpr Name<PortProtocol> kPortProtocols[] = {
    {PortProtocol::kDetect, "detect"}, {PortProtocol::kTcp, "tcp"},   {PortProtocol::kHttp1, "http1"},
    {PortProtocol::kHttp2, "http2"},   {PortProtocol::kGrpc, "grpc"},
};

inline json::value encode_pod(const RoutingTable::Pod& pod) {
  json::object ports;
  for (const auto& [port, protocol] : pod.ports) ports[std::to_string(port)] = encode_choice(kPortProtocols, protocol);
  json::object services;
  for (const auto& [name, port] : pod.services) services[name] = port;
  return json::object{{"netns", std::to_string(pod.netns)},
                      {"namespace", pod.id.ns},
                      {"name", pod.id.name},
                      {"identity", pod.identity},
                      {"labels", encode_map(pod.labels)},
                      {"ports", std::move(ports)},
                      {"policies", pod.policies ? json::value(*pod.policies) : json::value(nullptr)},
                      {"tunnels", pod.tunnels},
                      {"services", std::move(services)}};
}

// null, or the index of one of `sets` policy sets.
inline std::optional<std::uint32_t> decode_set(Object& pod, std::size_t sets, Problem& problem) {
  const auto* value = pod.member("policies");
  if (value == nullptr || value->is_null()) return std::nullopt;
  const auto number = strict_json::whole_number(*value);
  if (number && *number < sets) return static_cast<std::uint32_t>(*number);
  problem.add(pod.path_of("policies"), "no index of policySets");
  return std::nullopt;
}

inline RoutingTable::Pod decode_pod(const json::value& value, const std::string& path, std::size_t sets,
                                    Problem& problem) {
  Object pod(value, path, problem);
  RoutingTable::Pod out;
  out.netns = pod.id("netns");
  out.id = decode_id(pod);
  out.identity = pod.string("identity");
  out.labels = decode_map(pod, "labels", problem);
  pod.map("ports", [&](std::string_view key, const json::value& protocol, const std::string& at) {
    const auto port = strict_json::parse_id(key);
    if (!port || *port < 1 || *port > 65535) return problem.add(at, "not a port");
    out.ports.emplace(static_cast<std::uint16_t>(*port), decode_choice(protocol, at, problem, kPortProtocols));
  });
  out.policies = decode_set(pod, sets, problem);
  out.tunnels = pod.boolean("tunnels");
  pod.map("services", [&](std::string_view name, const json::value& target, const std::string& at) {
    const auto port = strict_json::whole_number(target);
    if (!port || *port < 1 || *port > 65535) return problem.add(at, "not a port");
    out.services.emplace(name, static_cast<std::uint16_t>(*port));
  });
  pod.end();
  if (out.netns == 0) problem.add(pod.path_of("netns"), "0 names no network namespace");
  return out;
}

inline json::value encode_policy_set(const HttpPolicySet& set) {
  return json::object{{"policies", encode_each(set.policies, encode_policy)},
                      {"authentications", encode_each(set.authentications, encode_authentication)},
                      {"closedBy", set.closed_by},
                      {"whyClosed", set.why_closed}};
}

inline HttpPolicySet decode_policy_set(const json::value& value, const std::string& path, Problem& problem) {
  Object set(value, path, problem);
  HttpPolicySet out;
  out.policies = decode_each(set, "policies", problem, decode_policy);
  out.authentications = decode_each(set, "authentications", problem, decode_authentication);
  out.closed_by = set.string("closedBy");
  out.why_closed = set.string("whyClosed");
  set.end();
  return out;
}

inline std::map<std::uint32_t, std::string> decode_identities(Object& top, Problem& problem) {
  std::map<std::uint32_t, std::string> out;
  top.map("identities", [&](std::string_view key, const json::value& id, const std::string& path) {
    const auto number = strict_json::parse_id(key);
    if (!number || *number > std::numeric_limits<std::uint32_t>::max())
      return problem.add(path, "not a number of an identity");
    out.emplace(static_cast<std::uint32_t>(*number), decode_text(id, path, problem));
  });
  return out;
}

inline RoutingTable decode_members(Object& top, Problem& problem) {
  RoutingTable out;
  out.revision = top.number("revision", 1);
  if (const auto* settings = top.member("settings")) out.settings = decode_settings(*settings, "settings", problem);
  out.trust_domain = top.string("trustDomain");
  out.policy_sets = decode_each(top, "policySets", problem, decode_policy_set);
  std::set<NetnsCookie> seen;
  top.array("pods", [&](const json::value& pod, const std::string& path) {
    out.pods.push_back(decode_pod(pod, path, out.policy_sets.size(), problem));
    if (!seen.insert(out.pods.back().netns).second) problem.add(path + ".netns", "is another pod's too");
  });
  out.identities = decode_identities(top, problem);
  top.map("providers", [&](std::string_view name, const json::value& provider, const std::string& path) {
    out.providers.emplace(name, decode_provider(provider, path, std::string(name), problem));
  });
  out.jwks = decode_map(top, "jwks", problem);
  top.array("certificates", [&](const json::value& value, const std::string& path) {
    Object certificate(value, path, problem);
    auto& one = out.certificates[certificate.string("identity")];
    one = {.chain = certificate.string("chain"), .key = certificate.string("key")};
    certificate.end();
  });
  out.trust_bundle = top.string("trustBundle");
  return out;
}

}  // namespace routing_table_json

inline boost::json::value to_json(const RoutingTable& table) {
  using namespace routing_table_json;
  json::object identities;
  for (const auto& [number, id] : table.identities) identities[std::to_string(number)] = id;
  json::object providers;
  for (const auto& [name, provider] : table.providers) providers[name] = encode_provider(provider);
  json::array certificates;
  for (const auto& [identity, one] : table.certificates)
    certificates.emplace_back(json::object{{"identity", identity}, {"chain", one.chain}, {"key", one.key}});
  return json::object{{"format", kRoutingTableFormat},
                      {"revision", table.revision},
                      {"settings", encode_settings(table.settings)},
                      {"trustDomain", table.trust_domain},
                      {"pods", encode_each(table.pods, encode_pod)},
                      {"identities", std::move(identities)},
                      {"policySets", encode_each(table.policy_sets, encode_policy_set)},
                      {"providers", std::move(providers)},
                      {"jwks", encode_map(table.jwks)},
                      {"certificates", std::move(certificates)},
                      {"trustBundle", table.trust_bundle}};
}

inline std::string to_text(const RoutingTable& table) { return boost::json::serialize(to_json(table)); }

inline Result<RoutingTable> decode_routing_table(const boost::json::value& value) {
  strict_json::Problem problem;
  strict_json::Object top(value, "", problem);
  // First: of another format nothing else can be said.
  if (const auto format = top.number("format"); !problem && format != kRoutingTableFormat)
    problem.add("format", std::to_string(format) + ": only " + std::to_string(kRoutingTableFormat) + " is known");
  auto out = routing_table_json::decode_members(top, problem);
  top.end();
  if (problem) return fail_in("routing table", Error{problem.message()});
  return out;
}

inline Result<RoutingTable> decode_routing_table(std::string_view text) {
  auto value = strict_json::parse(text);
  if (!value) return fail_in("routing table", value.error());
  return decode_routing_table(*value);
}

}  // namespace underpass
