// SPDX-License-Identifier: Apache-2.0
// The metrics istio_tcp_*, made of map up_traffic: Istio's standard names, labels and meaning
// (https://istio.io/latest/docs/reference/config/metrics/), so that dashboards made for Istio show what never met a
// proxy. As there, `sent` is what the server sent in response and `received` what the client sent as its request,
// whichever end reports; reporter is "source" where the client is an enrolled pod of this node and "destination" where
// the server is, so a connection between two of them is counted once for each. What goes through a tunnel is
// mutual_tls; the pod of another node at its other end is known by up_remotes, and its principal by the certificate.
//
// A series is one workload's traffic with another through one Service, not a pod's. There is a bound on how many are
// kept; what exceeds it is added up in one series whose labels are all "other".
#pragma once

#include <prometheus/metric_family.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "agent/compile/compile.h"
#include "underpass/abi.h"
#include "underpass/ids.h"

namespace underpass {

// Who is at an end. What is empty is shown as "unknown".
struct TrafficPeer {
  std::string workload;  // "web", of Deployment/web
  std::string ns;
  std::string principal;           // spiffe://…
  std::string app;                 // label app
  std::string version;             // label version
  std::string canonical_service;   // Istio's canonical name: a label that says it, else the workload
  std::string canonical_revision;  // ... and revision: a label that says it, else "latest"

  auto operator<=>(const TrafficPeer&) const = default;
};

TrafficPeer traffic_peer_of(const compile::PodStatus& pod, const std::map<std::string, std::string>& labels);

class TrafficMeter {
 public:
  using Row = std::pair<up_traffic_key, up_traffic>;
  using FindPeer = std::function<std::optional<TrafficPeer>(NetnsCookie)>;
  using FindService = std::function<std::optional<NamespacedName>(std::uint32_t id)>;
  // A pod's of another node, by up_remote.workload.
  using FindWorkload = std::function<std::optional<TrafficPeer>(std::uint32_t number)>;

  static constexpr std::size_t kMostSeries = 10'000;
  static constexpr std::uint64_t kRemembered = 60;  // readings after the last one with a row, for which its series is

  explicit TrafficMeter(std::size_t most_series = kMostSeries) : most_series_(most_series) {}

  // Adds what is new since the last reading. `rows` must be all there are: a row that is not among them is forgotten,
  // and counts from 0 when it comes again. Of a pod or Service that is gone the series of before is kept.
  void observe(
      std::span<const Row> rows, const FindPeer& find_peer, const FindService& find_service,
      const FindWorkload& find_workload = [](std::uint32_t) { return std::nullopt; });

  [[nodiscard]] std::vector<prometheus::MetricFamily> collect() const;

 private:
  struct Totals {
    std::uint64_t opened = 0;
    std::uint64_t closed = 0;
    std::uint64_t request = 0;   // bytes from client to server
    std::uint64_t response = 0;  // ... and back
  };
  // The labels that differ, in the order of kLabels (traffic_meter.cpp).
  using Labels = std::array<std::string, 15>;
  using Series = std::map<Labels, Totals>;
  using Key = std::array<std::uint64_t, 5>;  // client, server, service, workload, tunnel

  struct Known {
    up_traffic last{};
    std::array<Totals*, 2> series{};  // in series_ or &other_; the second is null where one reporter is all there is
    std::uint64_t reading = 0;
  };

  std::array<Totals*, 2> series_of(const up_traffic_key& key, const Known& known, const FindPeer& find_peer,
                                   const FindService& find_service, const FindWorkload& find_workload);
  Totals* find_or_make(Labels labels);

  std::size_t most_series_;
  Series series_;
  Totals other_;
  bool other_used_ = false;
  bool full_ = false;  // a series was refused
  std::map<Key, Known> rows_;
  std::uint64_t reading_ = 0;
};

}  // namespace underpass
