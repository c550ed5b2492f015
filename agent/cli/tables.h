// SPDX-License-Identifier: Apache-2.0
// The agent's JSON and the maps' as tables for people. Pure functions; a field that an agent of another version does
// not send, or sends as something else, is "-".
#pragma once

#include <boost/json/value.hpp>
#include <functional>
#include <ostream>
#include <span>
#include <string>

#include "agent/admin/wall_clock.h"
#include "agent/cli/map_dump.h"
#include "agent/cli/table.h"

namespace underpass::cli {

std::string status_text(const boost::json::value& status);
Table capabilities_table(const boost::json::value& capabilities);
Table pods_table(const boost::json::value& pods);
Table connections_table(const boost::json::value& connections, admin::WallTime now);
std::string proxy_config_text(const boost::json::value& answer);  // of proxy_commands.cpp
Table cut_table(const boost::json::value& cut);

Table maps_table(std::span<const MapSummary> maps);

// Hands its entries to `take`, one after the other, until that says enough.
using EntrySource = std::function<void(const TakeEntry& take)>;

// A heading, then the entries: as a table where the rows are short enough, else each as a block of its own, written as
// it comes. Stops when `out` fails.
void print_map_dump(std::ostream& out, const MapSummary& map, const std::string& note, const EntrySource& entries);

}  // namespace underpass::cli
