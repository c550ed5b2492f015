// SPDX-License-Identifier: Apache-2.0
// The subcommands that read the pinned maps: map list, map dump.
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

#include "agent/cli/commands.h"
#include "agent/cli/map_dump.h"
#include "agent/cli/tables.h"
#include "agent/dataplane/pins.h"

namespace underpass::cli {
namespace {

namespace json = boost::json;

std::string nothing_pinned(const std::string& folder) {
  return "no maps in " + folder + ": nothing is attached, or the agent has another --bpffs";
}

// {map, type, note, entries: [{key, value}]}, written entry by entry.
void print_json(std::ostream& out, const PinnedMap& map) {
  const json::value note = map.note().empty() ? json::value(nullptr) : json::value(map.note());
  out << R"({"map":)" << json::serialize(json::value(map.summary().name)) << R"(,"type":)"
      << json::serialize(json::value(map.summary().type)) << R"(,"note":)" << json::serialize(note)
      << R"(,"entries":[)";
  bool first = true;
  map.for_each([&](const json::object& entry) {
    out << (std::exchange(first, false) ? "" : ",") << json::serialize(entry);
    return out.good();
  });
  out << "]}";
}

void print_text(std::ostream& out, const PinnedMap& map) {
  print_map_dump(out, map.summary(), map.note(), [&](const TakeEntry& take) { map.for_each(take); });
}

ExitCode dump_one(const Session& session, const std::string& folder, const std::string& name) {
  const auto map = PinnedMap::open(folder, name);
  if (!map) return session.report(map.error().message);
  if (!*map) {
    return session.report("no map " + name + " in " + folder + " (`underpassctl map list` shows those there are)",
                          kNotFound);
  }
  if (session.json) {
    print_json(session.out, **map);
    session.out << '\n';
  } else {
    print_text(session.out, **map);
    if ((*map)->summary().entries.value_or(0) == 0) session.err << "no entries\n";
  }
  return kDone;
}

ExitCode dump_all(const Session& session, const std::string& folder) {
  const auto names = find_pinned_maps(folder);
  if (!names) return session.report(names.error().message);
  if (names->empty() && !session.json) session.err << nothing_pinned(folder) << '\n';
  if (session.json) session.out << '[';
  bool first = true;
  for (const std::string& name : *names) {
    const auto map = PinnedMap::open(folder, name);
    if (!map) return session.report(map.error().message);
    if (!*map || !session.out.good()) continue;  // unpinned meanwhile, or nobody reads on
    if (!std::exchange(first, false)) session.out << (session.json ? ',' : '\n');
    if (session.json) {
      print_json(session.out, **map);
    } else {
      print_text(session.out, **map);
    }
  }
  if (session.json) session.out << "]\n";
  return kDone;
}

}  // namespace

ExitCode list_maps(const Session& session) {
  const std::string folder = dataplane::pin_dir_of(session.bpffs);
  const auto names = find_pinned_maps(folder);
  if (!names) return session.report(names.error().message);
  std::vector<MapSummary> maps;
  for (const std::string& name : *names) {
    const auto map = PinnedMap::open(folder, name);
    if (!map) return session.report(map.error().message);
    if (*map) maps.push_back((*map)->summary());
  }
  if (session.json) {
    json::array rows;
    for (const MapSummary& map : maps) rows.emplace_back(to_json(map));
    session.print(rows);
  } else {
    session.print(maps_table(maps), nothing_pinned(folder));
  }
  return kDone;
}

ExitCode dump_maps(const Session& session, const std::string& name) {
  const std::string folder = dataplane::pin_dir_of(session.bpffs);
  return name == "all" ? dump_all(session, folder) : dump_one(session, folder, name);
}

}  // namespace underpass::cli
