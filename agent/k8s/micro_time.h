// SPDX-License-Identifier: Apache-2.0
// Kubernetes' MicroTime.
#pragma once

#include <chrono>
#include <string>

namespace underpass::k8s {

// "2026-03-01T09:30:00.123456Z"
std::string micro_time(std::chrono::system_clock::time_point time);

}  // namespace underpass::k8s
