// SPDX-License-Identifier: Apache-2.0
// Services, explanations and flows for people; as tables.h.
#pragma once

#include <boost/json/value.hpp>
#include <string>

#include "agent/cli/table.h"

namespace underpass::cli {

Table services_table(const boost::json::value& services);

std::string explain_text(const boost::json::value& explanation);

// Flows are shown as they come, so their columns have widths from the beginning; what is wider moves the rest of its
// line. Both with their line feed.
std::string flows_header();
std::string flow_line(const boost::json::value& flow);

}  // namespace underpass::cli
