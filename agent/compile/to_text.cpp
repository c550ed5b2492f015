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

std::string to_text(const PodStatus& status) {
  std::string out = "pod " + status.id.to_string() + " ";
  out += status.enrolled ? "enrolled" : status.refused ? "refused" : "not enrolled";
  out += " identity=" + status.identity + " ips=";
  for (const auto& ip : status.ips) out += (&ip == &status.ips.front() ? "" : ",") + ip.to_string();
  if (status.ips.empty()) out += "none";
  out += " netns=" + std::to_string(status.netns_cookie);
  out += " short-circuit=" + std::string(to_text(status.short_circuit)) + " (" + status.short_circuit_reason + ")";
  if (status.capture) out += " capture=always (" + status.capture_reason + ")";
  if (!status.reason.empty()) out += ": " + status.reason;
  return out;
}

}  // namespace

std::string to_text(const Compiled& compiled) {
  std::string out;
  for (const auto& [cookie, row] : compiled.tables.pods) {
    out += "up_pods " + std::to_string(cookie) + " " + row.namespace_name + "/" + row.name;
    out += " mode=" + std::string(to_text(row.mode)) + " peers=" + (row.peers_mesh != 0 ? "mesh" : "namespace");
    out += " namespace_id=" + std::to_string(row.namespace_id) + (row.capture != 0 ? " capture" : "");
    out += std::string(row.excludes != 0 ? " excludes" : "") + "\n";
  }
  for (const auto& [ip, cookie] : compiled.tables.ips) {
    out += "up_ips " + ip.to_string() + " " + std::to_string(cookie) + "\n";
  }
  for (const auto& port : compiled.tables.excluded) {
    out += "up_excluded " + std::to_string(port.netns) + (port.inbound ? " inbound " : " outbound ");
    out += std::to_string(port.port) + "\n";
  }
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
      out += std::string(pod.v4 ? " ipv4" : "") + (pod.v6 ? " ipv6" : "") + "\n";
    }
    for (const auto& [number, identity] : plan.identities)
      out += "  identity " + std::to_string(number) + " " + identity + "\n";
  }
  return out;
}

}  // namespace underpass::compile
