// SPDX-License-Identifier: Apache-2.0
// Quantities as people write and read them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "underpass/result.h"

namespace underpass::cli {

// "0 B", "1023 B", "1.2 MiB"
std::string human_bytes(std::uint64_t bytes);

// The two largest units: "0s", "59s", "3m12s", "2h5m", "3d4h". Negative (clocks moved) is "0s".
std::string human_age(std::chrono::seconds age);

// "30s", "500ms", "2m", "1h", or a bare number of seconds; up to one hour, which is as long as the agent waits.
Result<std::chrono::milliseconds> parse_duration(std::string_view text);

// "10.0.0.7:80", "[fd00::7]:80"
std::string endpoint(std::string_view ip, std::uint64_t port);

}  // namespace underpass::cli
