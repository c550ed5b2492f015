// SPDX-License-Identifier: Apache-2.0
// Requests of a traffic thread that somebody follows, until the control thread takes them, every second: those that
// policy denied always, others only while told to. More than kMostDenied and kMostOthers are counted and not kept.
#pragma once

#include <cstddef>

#include "underpass/request_flow.h"
#include "userspace_proxy/telemetry/request_record.h"

namespace underpass::telemetry {

class FlowTap {
 public:
  static constexpr std::size_t kMostDenied = 50;
  static constexpr std::size_t kMostOthers = 200;

  void follow(bool on) { follows_ = on; }
  void add(const RequestRecord& request);
  [[nodiscard]] RequestFlows take();

 private:
  bool follows_ = false;
  std::size_t denied_ = 0;
  std::size_t others_ = 0;
  RequestFlows kept_;
};

}  // namespace underpass::telemetry
