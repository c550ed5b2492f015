// SPDX-License-Identifier: Apache-2.0
// Which flows `underpassctl flows` shows: what is not asked for is not looked at, and all that is asked must hold.
#pragma once

#include <boost/json/value.hpp>
#include <string>

#include "agent/cli/commands.h"
#include "underpass/result.h"

namespace underpass::cli {

// What is wrong with "404" or "4xx"; empty where nothing is.
std::string problem_of_code(const std::string& text);

bool matches(const FlowFilter& filter, const boost::json::value& flow);

}  // namespace underpass::cli
