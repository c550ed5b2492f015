// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/service_tables.h"

#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "agent/cli/cells.h"
#include "agent/cli/human.h"
#include "agent/cli/json_text.h"
#include "agent/cli/text.h"

namespace underpass::cli {
namespace {

namespace json = boost::json;

// "3: 10.0.0.7:80,10.0.0.8:80,…"
std::string backends_of(const json::value& service) {
  constexpr std::size_t kShown = 2;
  const json::array& backends = list_at(service, {"backends"});
  std::string out = std::to_string(backends.size());
  for (std::size_t i = 0; i < backends.size() && i < kShown; ++i)
    out += (i == 0 ? ": " : ",") + endpoint_of(backends[i]);
  return backends.size() > kShown ? out + ",..." : out;
}

std::uint64_t number_at(const json::value& value, std::initializer_list<std::string_view> path) {
  const json::value* found = find_at(value, path);
  json::error_code error;
  const auto number = found != nullptr ? found->to_number<std::uint64_t>(error) : 0;
  return error ? 0 : number;
}

std::string port_of(const json::value& service) {
  const std::string port = text_at(service, {"port"});
  const std::string protocol = text_at(service, {"protocol"});
  return port.empty() || protocol.empty() ? port + protocol : port + "/" + protocol;
}

// "850ms", "3m12s"
std::string duration_of(const json::value& flow) {
  const json::value* found = find_at(flow, {"durationMs"});
  if (found == nullptr || !found->is_number()) return "";
  if (const auto* exact = found->if_double(); exact != nullptr && *exact < 1000) {
    std::array<char, 32> text{};
    const auto end = std::to_chars(text.data(), text.data() + text.size(), *exact, std::chars_format::fixed, 1).ptr;
    return std::string(text.data(), end) + "ms";
  }
  json::error_code inexact;
  const auto ms =
      found->is_double() ? static_cast<std::uint64_t>(found->get_double()) : found->to_number<std::uint64_t>(inexact);
  return ms < 1000 ? std::to_string(ms) + "ms" : human_age(std::chrono::seconds(ms / 1000));
}

// "GET shop.example/a?b 403 RBAC"; empty of a connection.
std::string request_of(const json::value& flow) {
  if (text_at(flow, {"kind"}) != "request") return "";
  std::string out = text_at(flow, {"method"}) + " " + text_at(flow, {"authority"}) + text_at(flow, {"path"});
  if (const auto code = text_at(flow, {"code"}); !code.empty()) out += " " + code;
  if (const auto status = text_at(flow, {"grpcStatus"}); !status.empty()) out += " grpc=" + status;
  if (const auto flags = text_at(flow, {"flags"}); flags != "-") out += " " + flags;
  return out;
}

struct FlowColumn {
  const char* header;
  std::size_t width;
  bool right = false;
};

// As wide as what usually stands there.
constexpr std::array<FlowColumn, 15> kFlowColumns{{
    {"TIME", 24},
    {"EVENT", 7},
    {"PROTO", 5},
    {"FROM", 20},
    {"SOURCE", 21},
    {"TO", 20},
    {"DESTINATION", 21},
    {"SERVICE", 20},
    {"WAY", 13},
    {"SENT", 9, true},
    {"RECEIVED", 9, true},
    {"DURATION", 8, true},
    {"FALLBACK", 8},
    {"POLICY", 8},
    {"REQUEST", 7},
}};

std::string line_of(std::span<const std::string> cells) {
  std::string out;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const std::string cell = cells[i].empty() ? "-" : to_printable(cells[i]);
    const std::size_t used = width_of(cell);
    const std::string padding(used < kFlowColumns[i].width ? kFlowColumns[i].width - used : 0, ' ');
    out += (i == 0 ? "" : "  ") + (kFlowColumns[i].right ? padding + cell : cell + padding);
  }
  out.erase(out.find_last_not_of(' ') + 1);
  return out + "\n";
}

}  // namespace

Table services_table(const json::value& services) {
  Table table({{"NAMESPACE"},
               {"NAME"},
               {"PORT"},
               {"FAMILY"},
               {"FRONTENDS"},
               {"BACKENDS"},
               {"LB"},
               {"AFFINITY"},
               {"STATE"},
               {"WHY"}});
  for (const json::value& row : list_at(services, {})) {
    const std::uint64_t affinity = number_at(row, {"affinitySeconds"});
    const bool refused = text_at(row, {"state"}) == "refused";
    table.add({text_at(row, {"namespace"}), text_at(row, {"name"}), port_of(row), text_at(row, {"family"}),
               text_at(row, {"frontends"}), refused ? "" : backends_of(row), text_at(row, {"loadBalancing"}),
               affinity != 0 ? human_age(std::chrono::seconds(affinity)) : "", text_at(row, {"state"}),
               text_at(row, {"cause"})});
  }
  return table;
}

std::string explain_text(const json::value& explanation) {
  const json::value* decided = find_at(explanation, {"decidedBy"});
  std::string object;
  if (decided != nullptr && decided->is_object()) {
    object = text_at(*decided, {"kind"}) + " " + text_at(*decided, {"namespace"}) + "/" + text_at(*decided, {"name"});
    const std::string rule = text_at(*decided, {"rule"});
    if (!rule.empty()) object += " " + rule;
  }
  Properties out;
  out.add("VERDICT", text_at(explanation, {"verdict"}));
  out.add("WAY", text_at(explanation, {"way"}));
  out.add("REASON", text_at(explanation, {"reason"}));
  out.add("DECIDED BY", object);
  out.add("SERVICE", text_at(explanation, {"service"}));
  out.add("DIALLED", text_at(explanation, {"dialled"}));
  out.add("BACKENDS", text_at(explanation, {"backends"}));
  return out.to_text();
}

std::string flows_header() {
  std::array<std::string, kFlowColumns.size()> cells;
  for (std::size_t i = 0; i < cells.size(); ++i) cells[i] = kFlowColumns[i].header;
  return line_of(cells);
}

std::string flow_line(const json::value& flow) {
  static const json::value kNothing;
  const json::value* source = find_at(flow, {"source"});
  const json::value* destination = find_at(flow, {"destination"});
  if (source == nullptr) source = &kNothing;
  if (destination == nullptr) destination = &kNothing;
  // Of a refused one there is no server: what was dialled stands for it.
  std::string to = endpoint_of(*destination);
  if (to.empty()) to = text_at(flow, {"dialled"});
  std::vector<std::string> cells{text_at(flow, {"time"}),
                                 text_at(flow, {"event"}),
                                 text_at(flow, {"protocol"}),
                                 pod_of(*source),
                                 endpoint_of(*source),
                                 pod_of(*destination),
                                 to,
                                 text_at(*destination, {"service"}),
                                 text_at(flow, {"way"}),
                                 bytes_at(flow, {"bytesSent"}),
                                 bytes_at(flow, {"bytesReceived"}),
                                 duration_of(flow),
                                 text_at(flow, {"fallbackReason"}),
                                 text_at(flow, {"policy"})};
  if (const std::string request = request_of(flow); !request.empty()) cells.push_back(request);
  return line_of(cells);
}

}  // namespace underpass::cli
