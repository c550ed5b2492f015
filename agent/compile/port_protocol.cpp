// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/port_protocol.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

namespace underpass::compile {
namespace {

constexpr std::pair<std::string_view, PortProtocol> kNames[] = {
    {"http", PortProtocol::kHttp1}, {"http2", PortProtocol::kHttp2}, {"grpc", PortProtocol::kGrpc},
    {"https", PortProtocol::kTcp},  {"tls", PortProtocol::kTcp},     {"tcp", PortProtocol::kTcp},
    {"udp", PortProtocol::kTcp},    {"mongo", PortProtocol::kTcp},   {"mysql", PortProtocol::kTcp},
    {"redis", PortProtocol::kTcp},
};

// Of Kubernetes (KEP-3726); WebSocket begins as HTTP/1.1.
constexpr std::pair<std::string_view, PortProtocol> kStandard[] = {
    {"kubernetes.io/h2c", PortProtocol::kHttp2},
    {"kubernetes.io/ws", PortProtocol::kHttp1},
    {"kubernetes.io/wss", PortProtocol::kTcp},
};

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
  return out;
}

template <typename Table>
std::optional<PortProtocol> find(const Table& table, std::string_view wanted) {
  for (const auto& [name, protocol] : table)
    if (name == wanted) return protocol;
  return std::nullopt;
}

// Istio reads appProtocol with a suffix too (pkg/config/kube, ConvertProtocol).
PortProtocol protocol_of_name(std::string_view name) {
  if (name.starts_with("grpc-web")) return PortProtocol::kHttp2;
  return find(kNames, name.substr(0, name.find('-'))).value_or(PortProtocol::kDetect);
}

}  // namespace

PortProtocol protocol_of(std::string_view app_protocol, std::string_view port_name) {
  if (app_protocol.empty()) return protocol_of_name(lower(port_name));
  const auto wanted = lower(app_protocol);
  if (const auto standard = find(kStandard, wanted)) return *standard;
  return protocol_of_name(wanted);
}

}  // namespace underpass::compile
