// SPDX-License-Identifier: Apache-2.0
// Series, flows and notices of requests as JSON, for worker_codec.h. What is decoded is a worker's word, so every
// number has a range and every text a length; whether it may speak of these pods is the agent's to ask.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>

#include "underpass/policy_notice.h"
#include "underpass/request_flow.h"
#include "underpass/request_series.h"
#include "underpass/strict_json.h"

namespace underpass::worker::codec {

// So many requests, and so much of a sum, come at a time at the most: no sum of twenty of them is too large.
inline constexpr std::uint64_t kMostRequests = 1ULL << 48;
inline constexpr std::uint64_t kMostSum = 1ULL << 60;
// Microseconds since 1970, up to the year 2255, whose nanoseconds still fit a clock's 63 bits.
inline constexpr std::uint64_t kLatest = 1ULL << 53;

inline boost::json::object encode(const Histogram& histogram) {
  return {{"sum", histogram.sum}, {"counts", boost::json::array(histogram.counts.begin(), histogram.counts.end())}};
}
inline boost::json::value encode_status(int status) {
  return status < 0 ? boost::json::value(nullptr) : boost::json::value(status);
}
inline boost::json::string_view text_of(std::string_view text) { return {text.data(), text.size()}; }

inline boost::json::object encode(const RequestSeries& series) {
  const auto& [key, counts] = series;
  return {{"reporter", key.reporter == Reporter::kSource ? "source" : "destination"},
          {"client", std::to_string(key.client)},
          {"server", std::to_string(key.server)},
          {"service", key.service},
          {"remote", key.remote},
          {"code", key.code},
          {"grpcStatus", encode_status(key.grpc_status)},
          {"flag", text_of(name_of(key.flag))},
          {"grpc", key.grpc},
          {"mutualTls", key.mutual_tls},
          {"overflow", key.overflow},
          {"requests", counts.requests},
          {"duration", encode(counts.duration)},
          {"requestBytes", encode(counts.request_bytes)},
          {"responseBytes", encode(counts.response_bytes)}};
}

inline boost::json::object encode(const RequestFlow& flow) {
  return {{"started", flow.started_us},
          {"duration", flow.duration_us},
          {"upstream", flow.upstream_us},
          {"client", std::to_string(flow.client)},
          {"server", std::to_string(flow.server)},
          {"service", flow.service},
          {"clientIp", flow.client_ip.to_string()},
          {"serverIp", flow.server_ip.to_string()},
          {"dialledIp", flow.dialled_ip.to_string()},
          {"clientPort", flow.client_port},
          {"serverPort", flow.server_port},
          {"dialledPort", flow.dialled_port},
          {"inbound", flow.inbound},
          {"protocol", flow.protocol},
          {"method", flow.method},
          {"authority", flow.authority},
          {"path", flow.path},
          {"code", flow.code},
          {"grpcStatus", encode_status(flow.grpc_status)},
          {"flag", text_of(name_of(flow.flag))},
          {"details", flow.details},
          {"policy", flow.policy},
          {"requestBytes", flow.request_bytes},
          {"responseBytes", flow.response_bytes},
          {"requestId", flow.request_id}};
}

inline boost::json::object encode(const PolicyNoticeCount& count) {
  return {{"server", std::to_string(count.notice.server)},
          {"namespace", count.notice.policy.ns},
          {"policy", count.notice.policy.name},
          {"audited", count.notice.audited},
          {"requests", count.requests}};
}

// The members of one object, with what is asked of them here more than of others.
class RequestReader {
 public:
  RequestReader(const boost::json::value& value, std::string path, strict_json::Problem& problem)
      : object_(value, std::move(path), problem), problem_(problem) {}

  template <std::unsigned_integral Number = std::uint64_t>
  Number number(std::string_view name, std::uint64_t most = std::numeric_limits<Number>::max()) {
    return object_.number<Number>(name, 0, most);
  }
  std::uint64_t id(std::string_view name) { return object_.id(name); }
  bool boolean(std::string_view name) { return object_.boolean(name); }

  std::string text(std::string_view name, std::size_t most) {
    auto text = object_.string(name);
    if (text.size() > most) {
      problem_.add(object_.path_of(name), "more than " + std::to_string(most) + " bytes");
      text.clear();
    }
    return text;
  }
  int status(std::string_view name, int most) {
    const auto* value = object_.member(name);
    if (value == nullptr || value->is_null()) return -1;
    const auto* number = value->if_int64();
    if (number != nullptr && *number >= 0 && *number <= most) return static_cast<int>(*number);
    problem_.add(object_.path_of(name), "not null and not a whole number from 0 to " + std::to_string(most));
    return -1;
  }
  RequestFlag flag(std::string_view name) {
    const auto text = object_.string(name);
    const auto flag = find_request_flag(text);
    if (!flag) problem_.add(object_.path_of(name), "\"" + text + "\": is not known");
    return flag.value_or(RequestFlag::kNone);
  }
  Reporter reporter(std::string_view name) {
    const auto text = object_.string(name);
    if (text != "source" && text != "destination") problem_.add(object_.path_of(name), "not source or destination");
    return text == "destination" ? Reporter::kDestination : Reporter::kSource;
  }
  std::uint16_t code(std::string_view name) {
    const auto code = number<std::uint16_t>(name);
    if (code > kOtherCode && code_label(code) != code)
      problem_.add(object_.path_of(name), std::to_string(code) + ": not one that there is");
    return code;
  }
  IpAddress ip(std::string_view name) {
    const auto text = object_.string(name);
    const auto ip = IpAddress::parse(text);
    if (!ip) problem_.add(object_.path_of(name), "\"" + text + "\": not an IP address");
    return ip.value_or(IpAddress());
  }
  // Of `requests` values.
  Histogram histogram(std::string_view name, std::uint64_t requests) {
    Histogram out;
    const auto* value = object_.member(name);
    if (value == nullptr) return out;
    strict_json::Object parts(*value, object_.path_of(name), problem_);
    out.sum = parts.number("sum", 0, kMostSum);
    std::size_t bucket = 0;
    parts.array("counts", [&](const boost::json::value& element, const std::string& path) {
      const auto* number = element.if_int64();
      if (bucket == kBuckets || number == nullptr || *number < 0 || static_cast<std::uint64_t>(*number) > kMostRequests)
        return problem_.add(path, "not one of " + std::to_string(kBuckets) + " counts");
      out.counts[bucket++] = static_cast<std::uint64_t>(*number);
    });
    parts.end();
    if (bucket != kBuckets || std::accumulate(out.counts.begin(), out.counts.end(), std::uint64_t{0}) != requests)
      problem_.add(object_.path_of(name), "its counts are not those of all requests");
    return out;
  }
  void end() { object_.end(); }

 private:
  strict_json::Object object_;
  strict_json::Problem& problem_;
};

// Members are read in the order in which they are written here: initialiser lists are evaluated from left to right.
inline RequestSeries decode_series(const boost::json::value& value, const std::string& path,
                                   strict_json::Problem& problem) {
  RequestReader reader(value, path, problem);
  RequestSeries out{.key = {.client = reader.id("client"),
                            .server = reader.id("server"),
                            .service = reader.number<std::uint32_t>("service"),
                            .remote = reader.number<std::uint32_t>("remote"),
                            .code = reader.code("code"),
                            .grpc_status = static_cast<std::int8_t>(reader.status("grpcStatus", kOtherGrpcStatus)),
                            .flag = reader.flag("flag"),
                            .reporter = reader.reporter("reporter"),
                            .grpc = reader.boolean("grpc"),
                            .mutual_tls = reader.boolean("mutualTls"),
                            .overflow = reader.boolean("overflow")},
                    .counts = {}};
  out.counts.requests = reader.number("requests", kMostRequests);
  out.counts.duration = reader.histogram("duration", out.counts.requests);
  out.counts.request_bytes = reader.histogram("requestBytes", out.counts.requests);
  out.counts.response_bytes = reader.histogram("responseBytes", out.counts.requests);
  reader.end();
  return out;
}

inline RequestFlow decode_flow(const boost::json::value& value, const std::string& path,
                               strict_json::Problem& problem) {
  constexpr int kMostStatus = 999;
  RequestReader reader(value, path, problem);
  RequestFlow out{.started_us = reader.number("started", kLatest),
                  .duration_us = reader.number("duration", kMostSum),
                  .upstream_us = reader.number("upstream", kMostSum),
                  .client = reader.id("client"),
                  .server = reader.id("server"),
                  .service = reader.number<std::uint32_t>("service"),
                  .client_ip = reader.ip("clientIp"),
                  .server_ip = reader.ip("serverIp"),
                  .dialled_ip = reader.ip("dialledIp"),
                  .client_port = reader.number<std::uint16_t>("clientPort"),
                  .server_port = reader.number<std::uint16_t>("serverPort"),
                  .dialled_port = reader.number<std::uint16_t>("dialledPort"),
                  .inbound = reader.boolean("inbound"),
                  .protocol = reader.text("protocol", 16),
                  .method = reader.text("method", kMostFlowText),
                  .authority = reader.text("authority", kMostFlowText),
                  .path = reader.text("path", kMostFlowPath),
                  .code = reader.number<std::uint16_t>("code", kMostStatus),
                  .grpc_status = static_cast<std::int16_t>(reader.status("grpcStatus", kMostStatus)),
                  .flag = reader.flag("flag"),
                  .details = reader.text("details", kMostFlowText),
                  .policy = reader.text("policy", kMostFlowText),
                  .request_bytes = reader.number("requestBytes"),
                  .response_bytes = reader.number("responseBytes"),
                  .request_id = reader.text("requestId", kMostFlowText)};
  reader.end();
  return out;
}

inline PolicyNoticeCount decode_notice(const boost::json::value& value, const std::string& path,
                                       strict_json::Problem& problem) {
  RequestReader reader(value, path, problem);
  PolicyNoticeCount out{
      .notice = {.server = reader.id("server"),
                 .policy = {reader.text("namespace", kMostFlowText), reader.text("policy", kMostFlowText)},
                 .audited = reader.boolean("audited")},
      .requests = reader.number("requests", kMostRequests)};
  reader.end();
  return out;
}

}  // namespace underpass::worker::codec
