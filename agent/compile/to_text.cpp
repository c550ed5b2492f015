// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <string>

#include "agent/compile/compile.h"
#include "agent/compile/workers.h"

namespace underpass::compile {
namespace {

std::string_view to_text(up_mode mode) {
  switch (mode) {
    case UP_MODE_OFF:
      return "off";
    case UP_MODE_AUTO:
      return "auto";
    case UP_MODE_ON:
      return "on";
  }
  return "?";
}

std::string_view to_text(model::ShortCircuit mode) {
  switch (mode) {
    case model::ShortCircuit::kOff:
      return "off";
    case model::ShortCircuit::kAuto:
      return "auto";
    case model::ShortCircuit::kOn:
      return "on";
  }
  return "?";
}

std::string to_text_of_capture(std::uint32_t capture) {
  if (capture == 0) return "";
  std::string out = " capture";
  if ((capture & (UP_CAPTURE_OUTBOUND | UP_CAPTURE_INBOUND)) == 0)
    out = "";
  else if ((capture & UP_CAPTURE_OUTBOUND) == 0)
    out += "=inbound";
  if ((capture & UP_CAPTURE_TUNNEL) != 0) out += " tunnels";
  return out + ((capture & UP_CAPTURE_MUST) != 0 ? " must" : "");
}

std::string to_text(PortProtocol protocol) {
  switch (protocol) {
    case PortProtocol::kDetect:
      return "detect";
    case PortProtocol::kTcp:
      return "tcp";
    case PortProtocol::kHttp1:
      return "http";
    case PortProtocol::kHttp2:
      return "http2";
    case PortProtocol::kGrpc:
      return "grpc";
  }
  return "?";
}

std::string to_text(const HttpPolicySet& set) {
  std::string out;
  for (const auto& policy : set.policies) out += " " + policy.id.to_string();
  for (const auto& one : set.authentications) out += " authentication " + one.id.to_string();
  return out + (set.closed_by.empty() ? "" : " closed by " + set.closed_by);
}

std::string to_text(const PodStatus& status) {
  std::string out = "pod " + status.id.to_string() + " ";
  out += status.enrolled ? "enrolled" : status.refused ? "refused" : "not enrolled";
  out += " identity=" + status.identity + " ips=";
  for (const auto& ip : status.ips) out += (&ip == &status.ips.front() ? "" : ",") + ip.to_string();
  if (status.ips.empty()) out += "none";
  out += " netns=" + std::to_string(status.netns_cookie);
  out += " short-circuit=" + std::string(to_text(status.short_circuit)) + " (" + status.short_circuit_reason + ")";
  if (status.capture)
    out += std::string(status.tunnel_only    ? " capture=tunnel ("
                       : status.inbound_only ? " capture=inbound ("
                                             : " capture=always (") +
           status.capture_reason + ")";
  if (!status.decided_by.empty()) out += " decided-by=(" + status.decided_by + ")";
  if (!status.reason.empty()) out += ": " + status.reason;
  return out;
}

}  // namespace

std::string to_text(const Compiled& compiled) {
  std::string out;
  for (const auto& [cookie, row] : compiled.tables.pods) {
    out += "up_pods " + std::to_string(cookie) + " " + row.namespace_name + "/" + row.name;
    out += " mode=" + std::string(to_text(row.mode)) + " peers=" + (row.peers_mesh != 0 ? "mesh" : "namespace");
    out += " namespace_id=" + std::to_string(row.namespace_id) + to_text_of_capture(row.capture);
    out += std::string(row.excludes != 0 ? " excludes" : "") + "\n";
  }
  for (const auto& [ip, cookie] : compiled.tables.ips) {
    out += "up_ips " + ip.to_string() + " " + std::to_string(cookie) + "\n";
  }
  for (const auto& port : compiled.tables.excluded) {
    out += "up_excluded " + std::to_string(port.netns) + (port.inbound ? " inbound " : " outbound ");
    out += std::to_string(port.port) + "\n";
  }
  for (const auto& errand : compiled.tables.errands)
    out += "up_errands " + std::to_string(errand.netns) + " " + errand.ip.to_string() + " " +
           std::to_string(errand.port) + "\n";
  for (const auto& status : compiled.pods) out += to_text(status) + "\n";
  return out;
}

std::string to_text(const std::map<std::string, WorkerPlan>& plans) {
  const auto ms = [](std::chrono::milliseconds duration) { return std::to_string(duration.count()) + "ms"; };
  std::string out;
  for (const auto& [name, plan] : plans) {
    const auto& settings = plan.settings;
    out += "worker " + name + " threads=" + std::to_string(settings.threads);
    out += " connect=" + ms(settings.connect_timeout) + " idle=" + ms(settings.idle_timeout);
    out += " drain=" + ms(settings.drain_timeout) + "\n";
    for (const auto& ns : plan.namespaces) out += "  namespace " + ns + "\n";
    for (const auto& [netns, pod] : plan.pods) {
      out += "  pod " + std::to_string(netns) + " " + pod.id.to_string() + " identity=" + pod.identity;
      out += std::string(pod.v4 ? " ipv4" : "") + (pod.v6 ? " ipv6" : "") + (pod.inbound_only ? " inbound" : "");
      out += std::string(pod.tunnel_only ? " tunnels only" : pod.tunnels ? " tunnels" : "");
      for (const auto& [port, protocol] : pod.ports) out += " " + std::to_string(port) + "=" + to_text(protocol);
      out += (pod.policies ? " policies=" + std::to_string(*pod.policies) : "") + "\n";
    }
    for (std::size_t i = 0; i < plan.policy_sets.size(); ++i)
      out += "  policies " + std::to_string(i) + to_text(*plan.policy_sets[i]) + "\n";
    for (const auto& [id, provider] : plan.providers)
      out += "  provider " + id + " " + provider.settings.service.to_string() + ":" +
             std::to_string(provider.settings.port) + "\n";
    for (const auto& [number, identity] : plan.identities)
      out += "  identity " + std::to_string(number) + " " + identity + "\n";
  }
  return out;
}

}  // namespace underpass::compile
