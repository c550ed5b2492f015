// SPDX-License-Identifier: Apache-2.0
// The metrics istio_requests_total, istio_request_duration_milliseconds, istio_request_bytes and istio_response_bytes,
// of what workers say: Istio's standard names, labels and buckets, as traffic_meter.h has them for connections.
//
// A worker is not believed about others: of a series that a pod of another namespace would have reported nothing is
// counted. How many series there are is bounded, for each worker and for all; what exceeds it is added up in one whose
// labels are all "other". What was counted stays when a worker ends; a series goes when it has been still for
// kRemembered readings and there is no pod of its workload any more.
#pragma once

#include <prometheus/metric_family.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/traffic_meter.h"
#include "underpass/ids.h"
#include "underpass/request_series.h"

namespace underpass {

class RequestMeter {
 public:
  using Pod = std::pair<NetnsCookie, TrafficPeer>;
  using FindService = TrafficMeter::FindService;
  using FindWorkload = TrafficMeter::FindWorkload;

  struct Bounds {
    std::size_t series = 1'200;
    std::size_t of_a_worker = 400;
  };
  static constexpr std::uint64_t kRemembered = 900;    // readings
  static constexpr std::uint64_t kPodRemembered = 60;  // ... after the last one that a pod was there

  RequestMeter() = default;
  explicit RequestMeter(Bounds bounds) : bounds_(bounds) {}

  // After each change: pods of this node that are enrolled.
  void know(std::span<const Pod> pods);
  // Once a second: all of them.
  void observe(std::span<const Pod> pods);
  // What the worker of that name says.
  void add(
      const std::string& worker, std::span<const RequestSeries> series, const FindService& find_service,
      const FindWorkload& find_workload = [](std::uint32_t) { return std::nullopt; });
  // Whether it may speak of that pod.
  [[nodiscard]] bool is_own(std::string_view worker, NetnsCookie pod) const;

  [[nodiscard]] std::vector<prometheus::MetricFamily> collect() const;

 private:
  // Those of a workload are one; they live in peers_ and services_.
  struct Key {
    const TrafficPeer* source = nullptr;  // null: not known
    const TrafficPeer* destination = nullptr;
    const NamespacedName* service = nullptr;
    RequestKey how;  // without numbers of pods, workload and Service

    auto operator<=>(const Key&) const = default;
  };
  struct Series {
    RequestCounts counts;
    std::string worker;
    std::uint64_t changed = 0;
  };
  struct KnownPod {
    const TrafficPeer* peer = nullptr;
    std::uint64_t seen = 0;
  };

  RequestCounts& counts_of(const std::string& worker, const Key& key);
  [[nodiscard]] const TrafficPeer* find_peer(NetnsCookie pod) const;
  void forget();

  Bounds bounds_;
  std::set<TrafficPeer> peers_;
  std::set<NamespacedName> services_;
  std::map<NetnsCookie, KnownPod> pods_;
  std::map<Key, Series> series_;
  std::map<std::string, std::size_t> of_worker_;
  RequestCounts other_;
  bool full_ = false;
  std::map<std::string, std::uint64_t> refused_;  // requests of pods that are not its own, by worker
  std::uint64_t reading_ = 0;
};

}  // namespace underpass
