// SPDX-License-Identifier: Apache-2.0
// RoutingTable as JSON, as it travels from the agent to a worker:
//   {"format": 1, "revision": 7, "settings": {"threads": 2, "connectTimeoutMs": 10000, "idleTimeoutMs": 3600000,
//    "drainTimeoutMs": 45000}, "pods": [{"netns": "4711", "namespace": "shop", "name": "web", "identity":
//    "spiffe://…"}], "identities": {"2": "spiffe://…"}}
// Decoding is strict: another format, a member too few or too many, or a value that makes no sense is an Error.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "underpass/result.h"
#include "underpass/routing_table.h"
#include "underpass/strict_json.h"

namespace underpass {

inline boost::json::value to_json(const RoutingTable& table) {
  boost::json::array pods;
  for (const auto& pod : table.pods) {
    pods.emplace_back(boost::json::object{{"netns", std::to_string(pod.netns)},
                                          {"namespace", pod.id.ns},
                                          {"name", pod.id.name},
                                          {"identity", pod.identity}});
  }
  boost::json::object identities;
  for (const auto& [number, id] : table.identities) identities[std::to_string(number)] = id;
  return boost::json::object{{"format", kRoutingTableFormat},
                             {"revision", table.revision},
                             {"settings",
                              {{"threads", table.settings.threads},
                               {"connectTimeoutMs", table.settings.connect_timeout.count()},
                               {"idleTimeoutMs", table.settings.idle_timeout.count()},
                               {"drainTimeoutMs", table.settings.drain_timeout.count()}}},
                             {"pods", std::move(pods)},
                             {"identities", std::move(identities)}};
}

inline std::string to_text(const RoutingTable& table) { return boost::json::serialize(to_json(table)); }

namespace routing_table_json {

inline constexpr std::uint64_t kMaxThreads = 64;
inline constexpr std::uint64_t kMaxMilliseconds = 1'000ull * 3600 * 24 * 365;  // far below what overflows a clock

inline ProxySettings decode_settings(const boost::json::value& value, strict_json::Problem& problem) {
  using std::chrono::milliseconds;
  strict_json::Object settings(value, "settings", problem);
  ProxySettings out;
  out.threads = settings.number<unsigned>("threads", 1, kMaxThreads);
  out.connect_timeout = milliseconds(settings.number("connectTimeoutMs", 1, kMaxMilliseconds));
  out.idle_timeout = milliseconds(settings.number("idleTimeoutMs", 0, kMaxMilliseconds));
  out.drain_timeout = milliseconds(settings.number("drainTimeoutMs", 0, kMaxMilliseconds));
  settings.end();
  return out;
}

inline RoutingTable::Pod decode_pod(const boost::json::value& value, const std::string& path,
                                    strict_json::Problem& problem) {
  strict_json::Object pod(value, path, problem);
  RoutingTable::Pod out;
  out.netns = pod.id("netns");
  out.id.ns = pod.string("namespace");
  out.id.name = pod.string("name");
  out.identity = pod.string("identity");
  pod.end();
  if (out.netns == 0) problem.add(pod.path_of("netns"), "0 names no network namespace");
  return out;
}

}  // namespace routing_table_json

inline Result<RoutingTable> decode_routing_table(const boost::json::value& value) {
  strict_json::Problem problem;
  strict_json::Object top(value, "", problem);
  // First: of another format nothing else can be said.
  if (const auto format = top.number("format"); !problem && format != kRoutingTableFormat)
    problem.add("format", std::to_string(format) + ": only " + std::to_string(kRoutingTableFormat) + " is known");
  RoutingTable out;
  out.revision = top.number("revision", 1);
  if (const auto* settings = top.member("settings"))
    out.settings = routing_table_json::decode_settings(*settings, problem);
  std::set<NetnsCookie> seen;
  top.array("pods", [&](const boost::json::value& pod, const std::string& path) {
    out.pods.push_back(routing_table_json::decode_pod(pod, path, problem));
    if (!seen.insert(out.pods.back().netns).second) problem.add(path + ".netns", "is another pod's too");
  });
  top.map("identities", [&](std::string_view key, const boost::json::value& id, const std::string& path) {
    const auto number = strict_json::parse_id(key);
    if (!number || *number > std::numeric_limits<std::uint32_t>::max())
      return problem.add(path, "not a number of an identity");
    const auto* text = id.if_string();
    if (text == nullptr) return problem.add(path, "not a string");
    out.identities.emplace(static_cast<std::uint32_t>(*number), std::string(text->data(), text->size()));
  });
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
