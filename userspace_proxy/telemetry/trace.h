// SPDX-License-Identifier: Apache-2.0
// What a request carries so that others can put it together with those that it causes: W3C Trace Context (traceparent,
// tracestate; https://www.w3.org/TR/trace-context/), B3 (https://github.com/openzipkin/b3-propagation) and Envoy's
// x-request-id. A worker has no spans of its own to show, so, as Envoy without a tracer does, it hands on what came:
//
// - A traceparent that is well formed goes on as it came, tracestate with it. One that is not, or several, are taken
//   away together with tracestate (§3.2.2.2).
// - B3, in one header or in several, goes on as it came if all of it is well formed, else all of it is taken away.
// - Where neither is left a traceparent is made: a new trace, not sampled. B3 is never made; where it alone came,
//   traceparent is made with its trace id, its span and its decision, so that both tell of one trace.
// - x-request-id goes on where it is 1 to 128 visible characters, else it is a new UUID of version 4 (RFC 9562).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "userspace_proxy/http/fields.h"

namespace underpass::telemetry {

struct TraceParent {
  std::string trace_id;  // 32 hex digits, not all 0
  std::string span_id;   // 16 hex digits, not all 0
  bool sampled = false;

  bool operator==(const TraceParent&) const = default;
};

// Of version 00 exactly; of later ones what 00 has of it (§4.3).
std::optional<TraceParent> parse_traceparent(std::string_view value);
// "{trace}-{span}", "-{decision}", "-{parent}"; nothing of a lone decision ("0"), which names no trace.
std::optional<TraceParent> parse_b3(std::string_view value);

// Names that do not come twice, and no secrets: xoshiro256** seeded by getrandom(). One for each thread.
class Dice {
 public:
  Dice();
  explicit Dice(const std::array<std::uint64_t, 4>& seed) : state_(seed) {}

  std::uint64_t roll();

 private:
  std::array<std::uint64_t, 4> state_;
};

struct TraceIds {
  std::string request_id;
  std::string trace_id;  // 32 hex digits
};

// Puts the request's fields in order, as is said above, and says what they are now.
TraceIds trace(http::Fields& fields, Dice& dice);

}  // namespace underpass::telemetry
