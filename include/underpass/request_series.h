// SPDX-License-Identifier: Apache-2.0
// Requests, added up by who asked whom and how it ended: what a worker counts and the agent shows as
// istio_requests_total and its histograms. A worker knows pods and Services by number alone; the agent has the names.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>

#include "underpass/ids.h"
#include "underpass/request_flag.h"

namespace underpass {

// What is served by the pod that dialled, or by the one that was dialled.
enum class Reporter : std::uint8_t { kSource, kDestination };

// Of a status outside 100 to 599, and of a gRPC status that is none of its seventeen, one series must be enough: the
// server chooses them.
inline constexpr std::uint16_t kNoCode = 0;
inline constexpr std::uint16_t kOtherCode = 1;
inline constexpr std::int8_t kNoGrpcStatus = -1;
inline constexpr std::int8_t kOtherGrpcStatus = 17;

constexpr std::uint16_t code_label(unsigned status) {
  if (status == 0) return kNoCode;
  return status >= 100 && status <= 599 ? static_cast<std::uint16_t>(status) : kOtherCode;
}
constexpr std::int8_t grpc_label(int status) {
  if (status < 0) return kNoGrpcStatus;
  return status < kOtherGrpcStatus ? static_cast<std::int8_t>(status) : kOtherGrpcStatus;
}

struct RequestKey {
  NetnsCookie client = 0;     // 0: not attested
  NetnsCookie server = 0;     // 0: no enrolled pod of this node
  std::uint32_t service = 0;  // 0: none
  std::uint32_t remote = 0;   // up_remote.workload of the end that is on another node, 0: it is not, or not known
  std::uint16_t code = kNoCode;
  std::int8_t grpc_status = kNoGrpcStatus;
  RequestFlag flag = RequestFlag::kNone;
  Reporter reporter = Reporter::kSource;
  bool grpc = false;
  bool mutual_tls = false;  // both ends were known by certificate
  bool overflow = false;    // there were too many series: everything else is as it is here

  auto operator<=>(const RequestKey&) const = default;
};

// Envoy's buckets, which are Istio's, of milliseconds and of bytes alike; twice their upper bounds, so that they are
// whole numbers. The last bucket has none.
inline constexpr std::array<std::uint64_t, 19> kTwiceBounds{
    1,     2,      10,     20,     50,      100,     200,       500,       1'000,    2'000,
    5'000, 10'000, 20'000, 60'000, 120'000, 600'000, 1'200'000, 3'600'000, 7'200'000};
inline constexpr std::size_t kBuckets = kTwiceBounds.size() + 1;

struct Histogram {
  std::uint64_t sum = 0;  // microseconds, or bytes
  std::array<std::uint64_t, kBuckets> counts{};

  void add_micros(std::uint64_t micros) { add(micros, micros, 500); }
  void add_bytes(std::uint64_t bytes) { add(bytes, 2 * bytes, 1); }
  bool operator==(const Histogram&) const = default;

 private:
  // A value is in the first bucket whose bound it does not exceed.
  void add(std::uint64_t value, std::uint64_t scaled, std::uint64_t unit) {
    std::size_t bucket = 0;
    while (bucket < kTwiceBounds.size() && scaled > kTwiceBounds[bucket] * unit) ++bucket;
    ++counts[bucket];
    sum += value;
  }
};

struct RequestCounts {
  std::uint64_t requests = 0;
  Histogram duration;
  Histogram request_bytes;
  Histogram response_bytes;

  bool operator==(const RequestCounts&) const = default;
};

struct RequestSeries {
  RequestKey key;
  RequestCounts counts;

  bool operator==(const RequestSeries&) const = default;
};

// So many go into one packet (worker_protocol.h); the longest that there can be fit.
inline constexpr std::size_t kSeriesPerPacket = 32;

}  // namespace underpass
