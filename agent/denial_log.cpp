// SPDX-License-Identifier: Apache-2.0
#include "agent/denial_log.h"

#include <arpa/inet.h>

namespace underpass {
namespace {

// As end_view(): by the netns where the kernel attests one, else by the address.
const compile::PodStatus* find_pod(const up_addr& addr, std::uint64_t netns, const admin::PodIndex& pods) {
  return netns != 0 ? pods.find(NetnsCookie{netns}) : pods.find(IpAddress(addr));
}

std::string line_of(const up_flow& flow, const compile::Denier& denier, const compile::PodStatus* client,
                    const compile::PodStatus* server) {
  const auto port = ntohs(flow.server_port);
  const auto known = [](const compile::PodStatus* pod) { return pod != nullptr && pod->enrolled; };
  return "denied policy=\"" + denier.policy + "\" rule=" + (denier.rule.empty() ? "-" : "\"" + denier.rule + "\"") +
         " source=" + (client != nullptr ? client->id.to_string() : IpAddress(flow.client).to_string()) +
         " identity=" + (flow.client_netns != 0 && known(client) ? client->identity : "-") + " destination=" +
         (server != nullptr ? server->id.to_string() + ":" + std::to_string(port)
                            : admin::endpoint_text(IpAddress(flow.server), port)) +
         " side=" + (flow.end == UP_CLIENT ? "client" : "server");
}

}  // namespace

void DenialLog::add(const up_flow& flow, const compile::Denier& denier, const admin::PodIndex& pods, Time now) {
  const auto* client = find_pod(flow.client, flow.client_netns, pods);
  const auto* server = find_pod(flow.server, flow.server_netns, pods);
  const auto name_of = [](const compile::PodStatus* pod) { return pod != nullptr ? pod->id.to_string() : ""; };
  Kind kind{denier.policy, denier.rule, name_of(client), name_of(server), flow.end};
  if (kinds_.size() >= max_kinds_ && !kinds_.contains(kind)) {
    ++others_;
    return;
  }
  auto& waiting = kinds_.try_emplace(std::move(kind), Waiting{.line = {}, .next = now}).first->second;
  waiting.line = line_of(flow, denier, client, server);
  ++waiting.count;
}

std::vector<std::string> DenialLog::take(Time now) {
  std::vector<std::string> out;
  std::erase_if(kinds_, [&](const auto& entry) { return now >= entry.second.next && entry.second.count == 0; });
  for (auto& [kind, waiting] : kinds_) {
    if (now < waiting.next) continue;
    out.push_back(waiting.line + " count=" + std::to_string(waiting.count));
    waiting.count = 0;
    waiting.next = now + kPause;
  }
  if (others_ != 0 && now >= next_others_) {
    out.push_back("denied others=" + std::to_string(others_));
    others_ = 0;
    next_others_ = now + kPause;
  }
  return out;
}

}  // namespace underpass
