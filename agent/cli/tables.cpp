// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/tables.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <map>

#include "agent/cli/cells.h"
#include "agent/cli/human.h"
#include "agent/cli/json_text.h"

namespace underpass::cli {
namespace {

namespace json = boost::json;
using Align = Table::Align;

std::string age_of(const std::string& since, admin::WallTime now) {
  const auto start = admin::parse_rfc3339(since);
  return start ? human_age(std::chrono::duration_cast<std::chrono::seconds>(now - *start)) : "";
}

// "node, since 2026-…", "namespaces a,b, since 2026-…"; empty: nothing is detached.
std::string detached_text(const json::value& status) {
  const json::value* detached = find_at(status, {"detached"});
  if (detached == nullptr || !detached->is_object()) return "";
  const bool node = text_at(*detached, {"node"}) == "yes";
  const bool label = text_at(*detached, {"nodeLabel"}) == "yes";
  const std::string since = text_at(*detached, {"since"});
  return (label  ? "node, by its label underpass.dev/mesh"
          : node ? "node"
                 : "namespaces " + text_at(*detached, {"namespaces"})) +
         (since.empty() ? "" : ", since " + since);
}

// "12 exact, 1 guarded"
std::string capability_counts(const json::array& capabilities) {
  std::map<std::string, int> counts;
  for (const json::value& capability : capabilities) ++counts[text_at(capability, {"result"})];
  std::string out;
  for (const auto& [result, count] : counts) out += (out.empty() ? "" : ", ") + std::to_string(count) + " " + result;
  return out;
}

using Fields = std::vector<std::pair<std::string, std::string>>;

// Leaves of a JSON value with their paths: {"end": {"client": {"port": 80}}} is "end.client.port" "80".
void flatten(const json::value& value, const std::string& path, Fields& out) {
  const auto below = [&](std::string_view name) {
    return path.empty() ? std::string(name) : path + "." + std::string(name);
  };
  if (const json::object* object = value.if_object(); object != nullptr && !object->empty()) {
    for (const auto& [name, member] : *object) flatten(member, below(name), out);
  } else if (const json::array* list = value.if_array();
             list != nullptr && std::ranges::any_of(*list, [](const json::value& v) { return v.is_structured(); })) {
    for (std::size_t i = 0; i < list->size(); ++i) flatten((*list)[i], path + "[" + std::to_string(i) + "]", out);
  } else {
    const bool empty = object != nullptr || (value.is_array() && value.get_array().empty());
    out.emplace_back(path, empty ? "" : text_of(&value));
  }
}

Fields fields_of(const json::value& value, const std::string& name_of_scalar) {
  Fields fields;
  flatten(value, value.is_object() ? "" : name_of_scalar, fields);
  return fields;
}

std::string upper(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  return text;
}

struct Row {
  Fields key;
  Fields value;
};

bool same_names(const Fields& a, const Fields& b) {
  return std::ranges::equal(a, b, {}, &Fields::value_type::first, &Fields::value_type::first);
}

Table make_table(const Row& first) {
  std::vector<Table::Column> columns;
  for (const auto& [name, text] : first.key) columns.push_back({upper(name)});
  for (const auto& [name, text] : first.value) columns.push_back({upper(name)});
  return Table(std::move(columns));
}

void add_row(Table& table, Row row) {
  std::vector<std::string> cells;
  for (auto& [name, text] : row.key) cells.push_back(std::move(text));
  for (auto& [name, text] : row.value) cells.push_back(std::move(text));
  table.add(std::move(cells));
}

std::string as_block(const Row& row) {
  Properties key;
  Properties value;
  for (const auto& [name, text] : row.key) key.add(upper(name), text);
  for (const auto& [name, text] : row.value) value.add(name, text);
  return "\n" + key.to_text() + value.to_text(2);
}

// The entries of one map. While all have the same columns and fit, they are kept for a table; at the first that does
// not, all are written as blocks.
class MapPrinter {
 public:
  explicit MapPrinter(std::ostream& out) : out_(out) {}

  bool add(const json::object& entry) {
    Row row{.key = fields_of(entry.at("key"), "key"), .value = fields_of(entry.at("value"), "value")};
    if (!blocks_ && !fits(row)) {
      blocks_ = true;
      for (const Row& kept : rows_) out_ << as_block(kept);
      rows_.clear();
    }
    if (blocks_) {
      out_ << as_block(row);
    } else {
      rows_.push_back(std::move(row));
    }
    return out_.good();
  }

  void finish() {
    if (rows_.empty()) return;
    Table table = make_table(rows_.front());
    for (Row& row : rows_) add_row(table, std::move(row));
    out_ << '\n' << table.to_text();
  }

 private:
  [[nodiscard]] bool fits(const Row& row) const {
    if (!rows_.empty()) return same_names(row.key, rows_.front().key) && same_names(row.value, rows_.front().value);
    constexpr std::size_t kWidestTable = 160;
    Table table = make_table(row);
    add_row(table, row);
    return table.width() <= kWidestTable;
  }

  std::ostream& out_;
  std::vector<Row> rows_;
  bool blocks_ = false;
};

// "proxied (hbone)" where a tunnel is part of it.
std::string way_of(const json::value& connection) {
  const std::string tunnel = text_at(connection, {"tunnel"});
  const bool none = tunnel.empty() || tunnel == "none" || tunnel == "-";
  return text_at(connection, {"way"}) + (none ? "" : " (" + tunnel + ")");
}

}  // namespace

std::string status_text(const json::value& status) {
  Properties out;
  out.add("NODE", text_at(status, {"node"}));
  out.add("VERSION", text_at(status, {"version"}));
  out.add("STATE", text_at(status, {"state"}));
  for (const json::value& reason : list_at(status, {"reasons"})) out.add("REASON", text_of(&reason));
  out.add("STALE SINCE", text_at(status, {"staleSince"}));
  out.add("DETACHED", detached_text(status));
  out.add("PODS",
          text_at(status, {"pods", "enrolled"}) + " enrolled, " + text_at(status, {"pods", "refused"}) + " refused");
  const std::string used = bytes_at(status, {"memory", "used"});
  out.add("MEMORY", used.empty() ? "" : used + " of " + bytes_at(status, {"memory", "limit"}));
  out.add("DENY ERRNO", text_at(status, {"denyErrno"}));
  out.add("METRICS", text_at(status, {"listen", "metrics"}));
  out.add("READY", text_at(status, {"listen", "ready"}));
  out.add("CAPABILITIES", capability_counts(list_at(status, {"capabilities"})));
  return out.to_text();
}

Table capabilities_table(const json::value& capabilities) {
  Table table({{"NAME"}, {"RESULT"}, {"REASON"}});
  for (const json::value& row : list_at(capabilities, {})) {
    table.add({text_at(row, {"name"}), text_at(row, {"result"}), text_at(row, {"reason"})});
  }
  return table;
}

Table pods_table(const json::value& pods) {
  Table table({{"NAMESPACE"},
               {"NAME"},
               {"IPS"},
               {"ENROLLED"},
               {"CAPTURE"},
               {"SHORT-CIRCUIT"},
               {"WHY"},
               {"IDENTITY"},
               {"NETNS"}});
  for (const json::value& pod : list_at(pods, {})) {
    const bool enrolled = text_at(pod, {"enrolled"}) == "yes";
    table.add({text_at(pod, {"namespace"}), text_at(pod, {"name"}), text_at(pod, {"ips"}), text_at(pod, {"enrolled"}),
               text_at(pod, {"capture"}), text_at(pod, {"shortCircuit"}),
               text_at(pod, {enrolled ? "shortCircuitReason" : "reason"}), text_at(pod, {"identity"}),
               text_at(pod, {"netnsCookie"})});
  }
  return table;
}

Table connections_table(const json::value& connections, admin::WallTime now) {
  Table table({{"ID"},
               {"FROM"},
               {"SOURCE"},
               {"TO"},
               {"DESTINATION"},
               {"SERVICE"},
               {"WAY"},
               {"STATE"},
               {"SENT", Align::kRight},
               {"RECEIVED", Align::kRight},
               {"SHORT-CIRCUITED", Align::kRight},
               {"FALLBACK"},
               {"AGE", Align::kRight}});
  static const json::value kNothing;
  for (const json::value& row : list_at(connections, {})) {
    const json::value* source = find_at(row, {"source"});
    const json::value* destination = find_at(row, {"destination"});
    if (source == nullptr) source = &kNothing;
    if (destination == nullptr) destination = &kNothing;
    table.add({text_at(row, {"id"}), pod_of(*source), endpoint_of(*source), pod_of(*destination),
               endpoint_of(*destination), text_at(*destination, {"service"}), way_of(row), text_at(row, {"state"}),
               bytes_at(row, {"bytesSent"}), bytes_at(row, {"bytesReceived"}), bytes_at(row, {"bytesShortCircuited"}),
               text_at(row, {"fallbackReason"}), age_of(text_at(row, {"startedAt"}), now)});
  }
  return table;
}

Table cut_table(const json::value& cut) {
  Table table({{"ID"}, {"CONNECTION"}});
  for (const json::value& row : list_at(cut, {})) table.add({text_at(row, {"id"}), text_at(row, {"description"})});
  return table;
}

Table maps_table(std::span<const MapSummary> maps) {
  Table table({{"NAME"},
               {"TYPE"},
               {"ENTRIES", Align::kRight},
               {"CAPACITY", Align::kRight},
               {"KEY", Align::kRight},
               {"VALUE", Align::kRight}});
  for (const MapSummary& map : maps) {
    table.add({map.name, map.type, map.entries ? std::to_string(*map.entries) : "",
               map.capacity != 0 ? std::to_string(map.capacity) : "", human_bytes(map.key_size),
               human_bytes(map.value_size)});
  }
  return table;
}

void print_map_dump(std::ostream& out, const MapSummary& map, const std::string& note, const EntrySource& entries) {
  out << map.name << ": " << map.type;
  if (map.entries) {
    out << ", " << *map.entries << (*map.entries == 1 ? " entry" : " entries");
    if (map.capacity != 0) out << " of " << map.capacity;
  }
  out << '\n';
  if (!note.empty()) out << "note: " << note << '\n';
  MapPrinter printer(out);
  entries([&](const json::object& entry) { return printer.add(entry); });
  printer.finish();
}

}  // namespace underpass::cli
