// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/cutting.h"

#include <arpa/inet.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "agent/dataplane/netns.h"
#include "agent/dataplane/sock_destroy.h"
#include "agent/dataplane/sock_list.h"
#include "underpass/unique_fd.h"

namespace underpass::dataplane {
namespace {

using compile::Identity;

// Those that will be asked for, found together when the first one is: to find one, all are looked into.
class Namespaces {
 public:
  explicit Namespaces(std::set<NetnsCookie> expected) : expected_(std::move(expected)) {}

  // Null: it is gone, or of nobody (0).
  const UniqueFd* find(NetnsCookie netns) {
    if (netns == 0) return nullptr;
    if (!found_.contains(netns) && !missing_.contains(netns)) {
      expected_.insert(netns);
      look();
    }
    const auto place = found_.find(netns);
    return place == found_.end() ? nullptr : &place->second;
  }

 private:
  void look() {
    found_.merge(find_netns(expected_));
    std::ranges::copy_if(expected_, std::inserter(missing_, missing_.end()),
                         [&](NetnsCookie netns) { return !found_.contains(netns); });
    expected_.clear();
  }

  std::set<NetnsCookie> expected_, missing_;
  std::map<NetnsCookie, UniqueFd> found_;
};

// The end that did it first, so that the other one gets a RST as it would from TCP. Some kernels send none for a socket
// that its application has closed, and one in TIME_WAIT cannot; then the other end is ended here.
Result<void> reset_in(Namespaces& namespaces, const up_conn& record) {
  const unsigned first = record.broken_end & 1;
  for (const unsigned end : {first, 1 - first}) {
    const auto* place = namespaces.find(record.end[end].netns_cookie);
    if (place == nullptr) continue;
    if (auto done = destroy_socket(place->get(), record.end[end], record.end[1 - end]); !done) return done;
  }
  return {};
}

// Of the pod in this network namespace; nobody where there is none.
Identity identity_of(const CutInput& input, NetnsCookie netns) {
  const auto pod = input.tables.pods.find(netns);
  const auto account = pod == input.tables.pods.end() ? std::nullopt : input.numbers.account_of(pod->second.identity);
  return account ? Identity{Identity::Kind::kAccount, *account} : Identity{};
}

enum class Standing { kDenied, kAllowed, kBypassed };

Standing judge(const CutInput& input, const Identity& client_identity, const up_end& client, const up_end& server) {
  const auto pod = input.tables.pods.find(server.netns_cookie);
  if (pod == input.tables.pods.end() || pod->second.policy == 0) return Standing::kAllowed;
  const auto* set = input.policies.find(pod->second.policy);
  if (set == nullptr) return Standing::kDenied;
  const auto verdict = compile::decide(*set, {.client = client_identity,
                                              .client_ip = IpAddress(client.addr),
                                              .server_ip = IpAddress(server.addr),
                                              .server_port = ntohs(server.port)});
  if (!verdict.allowed) return Standing::kDenied;
  const bool bypassed =
      verdict.decided_by >= 0 &&
      set->clauses.at(static_cast<std::size_t>(verdict.decided_by)).effect == compile::Effect::kBypass;
  return bypassed ? Standing::kBypassed : Standing::kAllowed;
}

bool is_decided_by_worker(const CutInput& input, NetnsCookie server) {
  const auto pod = input.tables.pods.find(server);
  return pod != input.tables.pods.end() && (pod->second.capture & UP_CAPTURE_MUST) != 0;
}

bool have_one_worker(const CutInput& input, const up_conn& record) {
  const auto client = input.workers.worker(record.end[UP_CLIENT].netns_cookie);
  const auto server = input.workers.worker(record.end[UP_SERVER].netns_cookie);
  return client && server && client->number == server->number;
}

// Of a pod whose worker decides: has it gone past that?
bool is_past_worker(const CutInput& input, const up_conn& record, Standing standing) {
  const up_end& client = record.end[UP_CLIENT];
  const up_end& server = record.end[UP_SERVER];
  if (standing == Standing::kBypassed || server.worker != 0 || !is_decided_by_worker(input, server.netns_cookie))
    return false;
  const auto since = input.decided_since.find(server.netns_cookie);
  // What came later the programs have looked at: the worker's own, and of who is not attested, the node's processes.
  if (since != input.decided_since.end() && record.established_ns <= since->second) return true;
  if (client.worker != 0) return !have_one_worker(input, record);
  return client.cookie != 0 ||
         judge(input, {.kind = Identity::Kind::kHost, .account = {}}, client, server) != Standing::kBypassed;
}

bool is_allowed(const CutInput& input, const up_conn& record) {
  const up_end& client = record.end[UP_CLIENT];
  const up_end& server = record.end[UP_SERVER];
  if (client.netns_cookie == server.netns_cookie) return true;
  // What comes through a tunnel its worker judges.
  if (server.worker == UP_TUNNELS || client.worker == UP_TUNNELS) return true;
  // One that was barred may not have been seen yet.
  if (record.broken == UP_WHY_DENIED) return false;
  const auto standing =
      judge(input, client.cookie != 0 ? identity_of(input, client.netns_cookie) : Identity{}, client, server);
  return standing != Standing::kDenied && !is_past_worker(input, record, standing);
}

// Nothing is known of a worker's part in it.
bool is_allowed_unrecorded(const CutInput& input, const up_end& client, const up_end& server) {
  const auto standing = judge(input, identity_of(input, client.netns_cookie), client, server);
  return standing == Standing::kBypassed ||
         (standing == Standing::kAllowed && !is_decided_by_worker(input, server.netns_cookie));
}

void cut(Namespaces& namespaces, const up_conn& record, Cut& out) {
  if (const auto done = reset_in(namespaces, record); done)
    out.connections.push_back(describe(record));
  else
    out.errors.push_back({"cut " + describe(record) + ": " + done.error().message});
}

// What stands in the network namespaces of pods, each listed once.
class Sockets {
 public:
  Sockets(Namespaces& namespaces, Cut& out) : namespaces_(namespaces), out_(out) {}

  const std::vector<TcpSocket>& of(NetnsCookie netns) {
    const auto [list, fresh] = lists_.try_emplace(netns);
    const auto* place = fresh ? namespaces_.find(netns) : nullptr;
    if (place == nullptr) return list->second;
    auto listed = list_tcp_sockets(place->get());
    if (listed)
      list->second = std::move(*listed);
    else
      out_.errors.push_back(listed.error());
    return list->second;
  }

 private:
  Namespaces& namespaces_;
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

// Every connection that has a record.
void cut_recorded(const CutInput& input, Namespaces& namespaces, Cut& out) {
  for (const auto& connection : input.maps.connections()) {
    if (is_allowed(input, connection.record)) continue;
    // It may have been copied while it was being written.
    const auto again = input.maps.connection(connection.id);
    if (again && !is_allowed(input, again->record)) cut(namespaces, again->record, out);
  }
}

// Those to these pods that have none.
void cut_unrecorded(const CutInput& input, const std::set<NetnsCookie>& pods, Namespaces& namespaces, Cut& out) {
  // In this order: of a connection that comes meanwhile, whose server's end is listed, there is the record, and the
  // client's end is listed too.
  Sockets servers(namespaces, out), clients(namespaces, out);
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
          is_allowed_unrecorded(input, client, record.end[UP_SERVER]))
        continue;
      cut(namespaces, record, out);
    }
  }
}

}  // namespace

Result<void> reset_connection(const up_conn& record) {
  Namespaces namespaces({record.end[UP_CLIENT].netns_cookie, record.end[UP_SERVER].netns_cookie});
  return reset_in(namespaces, record);
}

Cut cut_denied(const CutInput& input, const std::set<NetnsCookie>& pods) {
  std::set<NetnsCookie> enrolled;
  for (const auto& [netns, pod] : input.tables.pods) enrolled.insert(netns);
  Namespaces namespaces(std::move(enrolled));
  Cut out;
  cut_recorded(input, namespaces, out);
  if (!pods.empty()) cut_unrecorded(input, pods, namespaces, out);
  return out;
}

}  // namespace underpass::dataplane
