// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/cutting.h"

#include <arpa/inet.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "agent/dataplane/netns.h"
#include "agent/dataplane/sock_destroy.h"
#include "agent/dataplane/sock_list.h"
#include "underpass/unique_fd.h"

namespace underpass::dataplane {
namespace {

using compile::Identity;

Result<void> destroy_end(const up_conn& record, unsigned end) {
  const up_end& local = record.end[end];
  auto netns = find_netns(local.netns_cookie);
  if (!netns) return {};
  return destroy_socket(netns->get(), local, record.end[1 - end]);
}

// Of the pod in this network namespace; nobody where there is none.
Identity identity_of(const CutInput& input, NetnsCookie netns) {
  const auto pod = input.tables.pods.find(netns);
  const auto account = pod == input.tables.pods.end() ? std::nullopt : input.numbers.account_of(pod->second.identity);
  return account ? Identity{Identity::Kind::kAccount, *account} : Identity{};
}

bool is_allowed(const CutInput& input, const Identity& client_identity, const up_end& client, const up_end& server) {
  const auto pod = input.tables.pods.find(server.netns_cookie);
  if (pod == input.tables.pods.end() || pod->second.policy == 0) return true;
  const auto* set = input.policies.find(pod->second.policy);
  return set != nullptr && compile::decide(*set, {.client = client_identity,
                                                  .client_ip = IpAddress(client.addr),
                                                  .server_ip = IpAddress(server.addr),
                                                  .server_port = ntohs(server.port)})
                               .allowed;
}

bool is_allowed(const CutInput& input, const up_conn& record) {
  const up_end& client = record.end[UP_CLIENT];
  const up_end& server = record.end[UP_SERVER];
  if (client.netns_cookie == server.netns_cookie) return true;
  // One that was barred may not have been seen yet.
  if (record.broken == UP_WHY_DENIED) return false;
  return is_allowed(input, client.cookie != 0 ? identity_of(input, client.netns_cookie) : Identity{}, client, server);
}

void report(const up_conn& record, Result<void> done, Cut& out) {
  if (done)
    out.connections.push_back(describe(record));
  else
    out.errors.push_back({"cut " + describe(record) + ": " + done.error().message});
}

using Places = std::map<NetnsCookie, UniqueFd>;

// What stands in the network namespaces of pods, each listed once.
class Sockets {
 public:
  Sockets(const Places& places, Cut& out) : places_(places), out_(out) {}

  const std::vector<TcpSocket>& of(NetnsCookie netns) {
    const auto [list, fresh] = lists_.try_emplace(netns);
    const auto place = places_.find(netns);
    if (!fresh || place == places_.end()) return list->second;
    auto listed = list_tcp_sockets(place->second.get());
    if (listed)
      list->second = std::move(*listed);
    else
      out_.errors.push_back(listed.error());
    return list->second;
  }

 private:
  const Places& places_;
  Cut& out_;
  std::map<NetnsCookie, std::vector<TcpSocket>> lists_;
};

bool is_at(const up_end& a, const up_end& b) { return IpAddress(a.addr) == IpAddress(b.addr) && a.port == b.port; }

// The other end of what this socket of a server is an end of.
up_end client_of(const CutInput& input, Sockets& sockets, const TcpSocket& server) {
  up_end client = server.remote;
  const auto owner = input.tables.ips.find(IpAddress(client.addr));
  if (owner == input.tables.ips.end()) return client;
  for (const auto& socket : sockets.of(owner->second)) {
    // One that is still dialling may be about to be told by a forger that it is connected.
    if (socket.local.state == UP_TCP_SYN_SENT || !is_at(socket.local, server.remote) ||
        !is_at(socket.remote, server.local))
      continue;
    client = socket.local;
    client.netns_cookie = owner->second;
    return client;
  }
  return client;
}

std::set<SocketCookie> recorded_sockets(Maps& maps) {
  std::set<SocketCookie> out;
  for (const auto& connection : maps.connections())
    for (const auto& end : connection.record.end) out.insert(end.cookie);
  return out;
}

}  // namespace

// The end that did it first, so that the other one gets a RST as it would from TCP. Some kernels send none for a socket
// that its application has closed, and one in TIME_WAIT cannot; then the other end is ended here.
Result<void> reset_connection(const up_conn& record) {
  const unsigned end = record.broken_end & 1;
  for (const unsigned each : {end, 1 - end})
    if (auto done = destroy_end(record, each); !done) return std::unexpected(done.error());
  return {};
}

Cut cut_recorded(const CutInput& input) {
  Cut out;
  for (const auto& connection : input.maps.connections()) {
    if (is_allowed(input, connection.record)) continue;
    // It may have been copied while it was being written.
    const auto again = input.maps.connection(connection.id);
    if (again && !is_allowed(input, again->record)) report(again->record, reset_connection(again->record), out);
  }
  return out;
}

Cut cut_unrecorded(const CutInput& input, const std::set<NetnsCookie>& pods) {
  Cut out;
  if (pods.empty()) return out;
  // In this order: of a connection that comes meanwhile, whose server's end is listed, there is the record, and the
  // client's end is listed too.
  std::set<NetnsCookie> all;
  for (const auto& [netns, pod] : input.tables.pods) all.insert(netns);
  const auto places = find_netns(all);
  Sockets servers(places, out), clients(places, out);
  for (const auto netns : pods) servers.of(netns);
  const auto recorded = recorded_sockets(input.maps);
  for (const auto netns : pods) {
    std::set<__be16> listening;
    for (const auto& socket : servers.of(netns))
      if (socket.local.state == UP_TCP_LISTEN) listening.insert(socket.local.port);
    for (const auto& socket : servers.of(netns)) {
      if (socket.local.state == UP_TCP_LISTEN || !listening.contains(socket.local.port)) continue;
      if (recorded.contains(socket.local.cookie)) continue;
      up_conn record{};
      record.broken_end = UP_SERVER;
      record.end[UP_SERVER] = socket.local;
      record.end[UP_SERVER].netns_cookie = netns;
      record.end[UP_CLIENT] = client_of(input, clients, socket);
      const auto& client = record.end[UP_CLIENT];
      if (client.netns_cookie == netns || IpAddress(client.addr).is_loopback() ||
          is_allowed(input, identity_of(input, client.netns_cookie), client, record.end[UP_SERVER]))
        continue;
      report(record, reset_connection(record), out);
    }
  }
  return out;
}

}  // namespace underpass::dataplane
