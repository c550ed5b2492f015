// SPDX-License-Identifier: Apache-2.0
// The numbers of a traffic thread's requests since they were last taken, by series. There are at most kMostSeries of
// them: what is more is added up in one for each pod and reporter, so that who makes up status codes or dials whoever
// it can costs no memory.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "underpass/request_series.h"
#include "userspace_proxy/telemetry/request_record.h"

namespace underpass::telemetry {

class SeriesBook {
 public:
  static constexpr std::size_t kMostSeries = 500;

  explicit SeriesBook(std::size_t most = kMostSeries) : most_(most) {}

  // Counts it once for each reporter that it has.
  void add(const RequestRecord& request);
  // All that there are; empty afterwards.
  [[nodiscard]] std::vector<RequestSeries> take();

 private:
  struct Hash {
    std::size_t operator()(const RequestKey& key) const;
  };

  RequestCounts& counts_of(const RequestKey& key);

  std::size_t most_;
  std::vector<RequestSeries> series_;
  boost::unordered_flat_map<RequestKey, std::uint32_t, Hash> places_;  // in series_
};

}  // namespace underpass::telemetry
