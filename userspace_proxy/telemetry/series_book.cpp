// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/telemetry/series_book.h"

#include <algorithm>
#include <utility>

namespace underpass::telemetry {
namespace {

std::uint64_t micros_of(std::chrono::microseconds time) {
  return static_cast<std::uint64_t>(std::max<std::chrono::microseconds::rep>(time.count(), 0));
}

RequestKey key_of(const RequestRecord& request) {
  RequestKey key{.code = code_label(request.status),
                 .grpc_status = request.grpc ? grpc_label(request.grpc_status) : kNoGrpcStatus,
                 .flag = request.flag,
                 .grpc = request.grpc};
  if (request.connection == nullptr) return key;
  key.client = request.connection->client_netns;
  key.server = request.connection->server_netns;
  key.service = request.connection->service;
  key.remote = request.connection->remote;
  key.mutual_tls = request.connection->tunnel != UP_TUNNEL_NONE;
  return key;
}

}  // namespace

std::size_t SeriesBook::Hash::operator()(const RequestKey& key) const {
  // Two odd multipliers and a fold: cookies are consecutive numbers, and the map takes its bits from both ends.
  const std::uint64_t rest = (std::uint64_t{key.service} << 32) | (std::uint64_t{key.code} << 16) |
                             (std::uint64_t{static_cast<std::uint8_t>(key.grpc_status)} << 8) |
                             (std::uint64_t{static_cast<std::uint8_t>(key.flag)} << 3) |
                             (static_cast<std::uint64_t>(key.reporter) << 2) | (key.grpc ? 2U : 0U) |
                             (key.overflow ? 1U : 0U);
  const std::uint64_t remote = (std::uint64_t{key.remote} << 1) | (key.mutual_tls ? 1U : 0U);
  std::uint64_t hash = (key.client ^ (key.server << 32 | key.server >> 32)) * 0x9e3779b97f4a7c15U;
  hash = (hash ^ (hash >> 32) ^ rest ^ remote << 24) * 0xff51afd7ed558ccdU;
  return hash ^ (hash >> 32);
}

void SeriesBook::add(const RequestRecord& request) {
  RequestKey key = key_of(request);
  for (const auto& [reporter, reports] : {std::pair(Reporter::kSource, request.outbound_reported),
                                          std::pair(Reporter::kDestination, request.inbound_reported)}) {
    if (!reports) continue;
    key.reporter = reporter;
    auto& counts = counts_of(key);
    ++counts.requests;
    counts.duration.add_micros(micros_of(request.duration));
    counts.request_bytes.add_bytes(request.request_bytes);
    counts.response_bytes.add_bytes(request.response_bytes);
  }
}

RequestCounts& SeriesBook::counts_of(const RequestKey& key) {
  if (const auto found = places_.find(key); found != places_.end()) return series_[found->second].counts;
  if (!key.overflow && series_.size() >= most_) {
    // The agent counts what a worker says of its own pods alone: this is said of one of them.
    RequestKey rest{.reporter = key.reporter, .overflow = true};
    (key.reporter == Reporter::kSource ? rest.client : rest.server) =
        key.reporter == Reporter::kSource ? key.client : key.server;
    return counts_of(rest);
  }
  places_.emplace(key, static_cast<std::uint32_t>(series_.size()));
  return series_.emplace_back(RequestSeries{.key = key, .counts = {}}).counts;
}

std::vector<RequestSeries> SeriesBook::take() {
  places_.clear();
  return std::exchange(series_, {});
}

}  // namespace underpass::telemetry
