// SPDX-License-Identifier: Apache-2.0
// Without an agent: ends the workers that one left, and what it made for them.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace underpass::workers {

// Their connections may end until `timeout`; who is still there then is killed. The names of those that were there.
std::vector<std::string> drain_running(const std::string& run_dir, std::chrono::milliseconds timeout,
                                       const std::function<void(std::string_view)>& progress);

}  // namespace underpass::workers
