// SPDX-License-Identifier: Apache-2.0
// Lengths of time as Kubernetes' and Istio's objects have them, in the syntax of Go's time.ParseDuration: "10s",
// "1h30m", "1.5s", "500ms", or 0 as "0".
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "agent/k8s/field.h"

namespace underpass::k8s {

// The longest that is taken, 365 days: what is meant to be for ever has a value of its own.
inline constexpr std::chrono::milliseconds kLongestDuration = std::chrono::hours(8760);

// Nothing for what is not a duration, for a negative one, for one that is no whole number of milliseconds and for one
// that is longer than the longest.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

// At least `least`; nothing where the field is absent.
std::optional<std::chrono::milliseconds> decode_duration(const Field& field, std::chrono::milliseconds least);

}  // namespace underpass::k8s
