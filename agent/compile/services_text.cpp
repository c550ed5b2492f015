// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "agent/compile/services.h"

namespace underpass::compile {
namespace {

std::string address(const IpAddress& ip, std::uint16_t port) {
  const auto text = ip.is_v4() ? ip.to_string() : "[" + ip.to_string() + "]";
  return text + ":" + std::to_string(port);
}

std::string slash(model::Protocol protocol) { return protocol == model::Protocol::kTcp ? "/TCP" : "/UDP"; }

}  // namespace

std::string to_text(const Frontend& frontend) { return address(frontend.ip, frontend.port) + slash(frontend.protocol); }

std::string to_text(const PortTables& tables) {
  std::string out;
  for (const auto& [key, table] : tables) {
    out += "service " + key.service.to_string() + " " + std::to_string(key.port) + slash(key.protocol);
    out += std::string(key.v6 ? " IPv6" : " IPv4") + (key.external ? " external" : "") +
           (table.maglev ? " maglev" : " random");
    if (table.affinity_seconds != 0) out += " affinity=" + std::to_string(table.affinity_seconds) + "s";
    out += table.backends.empty() ? " refused: no backend\n" : "\n";
    for (const auto& frontend : table.frontends) out += "  frontend " + to_text(frontend) + "\n";
    for (const auto& backend : table.backends) {
      out += "  backend " + address(backend.ip, backend.port) + " weight=" + std::to_string(backend.weight) + "\n";
    }
  }
  return out;
}

}  // namespace underpass::compile
