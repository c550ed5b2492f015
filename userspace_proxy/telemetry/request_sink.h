// SPDX-License-Identifier: Apache-2.0
// Where a traffic thread puts a request that has ended: its line goes to the access log, its numbers to the metrics,
// and, where somebody looks, it is a flow. One for each thread and only for that thread; add() is on the hot path and
// allocates only for lines that grow, series that are new, and flows.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "underpass/request_flow.h"
#include "underpass/request_series.h"
#include "userspace_proxy/telemetry/flow_tap.h"
#include "userspace_proxy/telemetry/notice_book.h"
#include "userspace_proxy/telemetry/request_record.h"
#include "userspace_proxy/telemetry/series_book.h"

namespace underpass::telemetry {

class RequestSink {
 public:
  // `lines`: of the access log, which it appends to.
  explicit RequestSink(std::string& lines) : lines_(lines) {}

  // Once for each request, when it has ended.
  void add(const RequestRecord& request);

  // Of a connection to that pod that is no HTTP.
  void add(NetnsCookie server, std::span<const authz::Notice> notices) { notices_.add(server, notices); }

  // Somebody follows flows, or does no more. Denied ones are always kept.
  void follow(bool on) { flows_.follow(on); }
  // What came since the last call.
  [[nodiscard]] std::vector<RequestSeries> take_series() { return series_.take(); }
  [[nodiscard]] RequestFlows take_flows() { return flows_.take(); }
  [[nodiscard]] std::vector<PolicyNoticeCount> take_notices() { return notices_.take(); }

 private:
  std::string& lines_;
  SeriesBook series_;
  FlowTap flows_;
  NoticeBook notices_;
};

}  // namespace underpass::telemetry
