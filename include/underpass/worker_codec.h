// SPDX-License-Identifier: Apache-2.0
// The words of worker_protocol.h as text, for both ends: {"type": "config", "revision": 7, "size": 4096}. Cookies are
// strings, since they may need all 64 bits. Decoding is strict, and says what is wrong with a packet by path → cause.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "underpass/abi_names.h"
#include "underpass/request_codec.h"
#include "underpass/result.h"
#include "underpass/strict_json.h"
#include "underpass/worker_protocol.h"

namespace underpass::worker {

namespace codec {

using boost::json::array;
using boost::json::object;
using strict_json::Object;
using strict_json::Problem;

inline object encode(const Config& m) { return {{"type", "config"}, {"revision", m.revision}, {"size", m.size}}; }
inline object encode(const Listeners& m) {
  array listeners;
  for (const auto& [direction, v6] : m.listeners)
    listeners.emplace_back(object{{"direction", name_of(direction)}, {"v6", v6}});
  return {{"type", "listeners"}, {"netns", std::to_string(m.netns)}, {"listeners", std::move(listeners)}};
}
inline object encode(const Dials& m) { return {{"type", "dials"}, {"netns", std::to_string(m.netns)}, {"v6", m.v6}}; }
inline object encode(const Forget& m) {
  return {{"type", "forget"}, {"netns", std::to_string(m.netns)}, {"reset", m.reset}};
}
inline object encode(const Drain&) { return {{"type", "drain"}}; }
inline object encode(const Logs&) { return {{"type", "logs"}}; }
inline object encode(const Hello& m) {
  return {{"type", "hello"}, {"version", m.version}, {"protocol", m.protocol}, {"revision", m.revision}};
}
inline object encode(const Ready&) { return {{"type", "ready"}}; }
inline object encode(const Configured& m) {
  return {{"type", "configured"}, {"revision", m.revision}, {"cause", m.cause}};
}
inline object encode(const Want& m) {
  return {{"type", "want"}, {"netns", std::to_string(m.netns)}, {"v6", m.v6}, {"count", m.count}};
}
inline object encode(const Report& m) {
  object ended;
  for (const auto& [flag, count] : m.ended) ended[flag] = count;
  object dials;
  for (const auto& [netns, left] : m.dials) dials[std::to_string(netns)] = array{left.first, left.second};
  return {{"type", "report"},
          {"connections", m.connections},
          {"accepted", m.accepted},
          {"ended", std::move(ended)},
          {"acceptPauses", m.accept_pauses},
          {"paused", m.paused},
          {"logLinesLost", m.log_lines_lost},
          {"dials", std::move(dials)}};
}
inline object encode(const FollowRequests& m) { return {{"type", "follow-requests"}, {"on", m.on}}; }
inline object encode(const Metrics& m) {
  array series;
  for (const auto& one : m.series) series.emplace_back(encode(one));
  array notices;
  for (const auto& one : m.notices) notices.emplace_back(encode(one));
  return {{"type", "metrics"}, {"series", std::move(series)}, {"notices", std::move(notices)}};
}
inline object encode(const Requests& m) {
  array flows;
  for (const auto& flow : m.flows) flows.emplace_back(encode(flow));
  return {{"type", "requests"}, {"flows", std::move(flows)}, {"skipped", m.skipped}};
}

inline up_direction decode_direction(Object& listener, Problem& problem) {
  const auto text = listener.string("direction");
  for (const auto direction : {UP_OUTBOUND, UP_INBOUND, UP_TUNNEL})
    if (text == name_of(direction)) return direction;
  problem.add(listener.path_of("direction"), "neither outbound, inbound nor tunnel");
  return UP_OUTBOUND;
}

inline Listeners decode_listeners(Object& top, Problem& problem) {
  Listeners out{.netns = top.id("netns"), .listeners = {}};
  top.array("listeners", [&](const boost::json::value& value, const std::string& path) {
    Object listener(value, path, problem);
    const auto direction = decode_direction(listener, problem);
    out.listeners.push_back({.direction = direction, .v6 = listener.boolean("v6")});
    listener.end();
  });
  return out;
}

// A number of a member that is not an object's own, for the maps of Report.
inline std::uint64_t decode_count(const boost::json::value& value, const std::string& path, Problem& problem) {
  if (const auto* number = value.if_uint64()) return *number;
  if (const auto* number = value.if_int64(); number != nullptr && *number >= 0)
    return static_cast<std::uint64_t>(*number);
  problem.add(path, "not a whole number");
  return 0;
}

inline Report decode_report(Object& top, Problem& problem) {
  Report out;
  out.connections = top.number("connections");
  out.accepted = top.number("accepted");
  top.map("ended", [&](std::string_view flag, const boost::json::value& value, const std::string& path) {
    out.ended.emplace(flag, decode_count(value, path, problem));
  });
  out.accept_pauses = top.number("acceptPauses");
  out.paused = top.boolean("paused");
  out.log_lines_lost = top.number("logLinesLost");
  top.map("dials", [&](std::string_view netns, const boost::json::value& value, const std::string& path) {
    const auto cookie = strict_json::parse_id(netns);
    const auto* pair = value.if_array();
    if (!cookie || pair == nullptr || pair->size() != 2) return problem.add(path, "not a pod's pair of counts");
    out.dials.emplace(*cookie,
                      std::pair(decode_count((*pair)[0], path, problem), decode_count((*pair)[1], path, problem)));
  });
  return out;
}

// At most `most` elements of an array, each decoded.
template <typename T, typename Decode>
std::vector<T> decode_some(Object& top, std::string_view name, std::size_t most, Problem& problem, Decode decode) {
  std::vector<T> out;
  top.array(name, [&](const boost::json::value& value, const std::string& path) {
    if (problem) return;
    if (out.size() >= most) return problem.add(top.path_of(name), "more than " + std::to_string(most));
    out.push_back(decode(value, path, problem));
  });
  return out;
}

// Members are read in the order in which they are written here: initialiser lists are evaluated from left to right.
inline const std::map<std::string, std::function<Message(Object&, Problem&)>, std::less<>>& decoders() {
  static const std::map<std::string, std::function<Message(Object&, Problem&)>, std::less<>> kDecoders{
      {"config",
       [](Object& o, Problem&) -> Message {
         return Config{.revision = o.number("revision"), .size = o.number("size")};
       }},
      {"listeners", [](Object& o, Problem& problem) -> Message { return decode_listeners(o, problem); }},
      {"dials", [](Object& o, Problem&) -> Message { return Dials{.netns = o.id("netns"), .v6 = o.boolean("v6")}; }},
      {"forget",
       [](Object& o, Problem&) -> Message { return Forget{.netns = o.id("netns"), .reset = o.boolean("reset")}; }},
      {"drain", [](Object&, Problem&) -> Message { return Drain{}; }},
      {"logs", [](Object&, Problem&) -> Message { return Logs{}; }},
      {"hello",
       [](Object& o, Problem&) -> Message {
         return Hello{
             .version = o.string("version"), .protocol = o.number("protocol"), .revision = o.number("revision")};
       }},
      {"ready", [](Object&, Problem&) -> Message { return Ready{}; }},
      {"configured",
       [](Object& o, Problem&) -> Message {
         return Configured{.revision = o.number("revision"), .cause = o.string("cause")};
       }},
      {"want",
       [](Object& o, Problem&) -> Message {
         return Want{.netns = o.id("netns"), .v6 = o.boolean("v6"), .count = o.number("count")};
       }},
      {"report", [](Object& o, Problem& problem) -> Message { return decode_report(o, problem); }},
      {"follow-requests", [](Object& o, Problem&) -> Message { return FollowRequests{.on = o.boolean("on")}; }},
      {"metrics",
       [](Object& o, Problem& problem) -> Message {
         return Metrics{
             .series = decode_some<RequestSeries>(o, "series", kSeriesPerPacket, problem, decode_series),
             .notices = decode_some<PolicyNoticeCount>(o, "notices", kNoticesPerPacket, problem, decode_notice)};
       }},
      {"requests",
       [](Object& o, Problem& problem) -> Message {
         return Requests{.flows = decode_some<RequestFlow>(o, "flows", kFlowsPerPacket, problem, decode_flow),
                         .skipped = o.number("skipped")};
       }},
  };
  return kDecoders;
}

}  // namespace codec

inline std::string encode(const Message& message) {
  return boost::json::serialize(std::visit([](const auto& held) { return codec::encode(held); }, message));
}

inline Result<Message> decode(std::string_view text) {
  auto value = strict_json::parse(text);
  if (!value) return fail_in("packet", value.error());
  strict_json::Problem problem;
  strict_json::Object top(*value, "", problem);
  const std::string type = top.string("type");
  if (problem) return fail_in("packet", Error{problem.message()});
  const auto decoder = codec::decoders().find(type);
  if (decoder == codec::decoders().end()) return fail("packet: type: \"" + type + "\": is not known");
  Message message = decoder->second(top, problem);
  top.end();
  if (problem) return fail_in("packet " + type, Error{problem.message()});
  return message;
}

}  // namespace underpass::worker
