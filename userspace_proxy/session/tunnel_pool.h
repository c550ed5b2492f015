// SPDX-License-Identifier: Apache-2.0
// A thread's tunnels to other nodes, and who waits for one.
#pragma once

#include <deque>
#include <list>
#include <string_view>
#include <unordered_map>

#include "userspace_proxy/session/tunnel_client.h"

namespace underpass::session {

struct TunnelGroup {
  TunnelKey key;
  std::list<TunnelClient> members;  // those that can take a stream first
  std::size_t dialling = 0;         // members that are not connected yet: one at the most
  struct Waiting {
    TunnelUser* user = nullptr;
    unsigned tries = 0;
  };
  std::deque<Waiting> waiting;
};

class TunnelPool {
 public:
  explicit TunnelPool(HttpHost& host) : host_(host) {}

  // Calls on_tunnel() or no_tunnel(), now or later. `tries`: tunnels that it has been through in vain.
  void open(TunnelUser& user, unsigned tries = 0);
  // Waits no longer.
  void forget(TunnelUser& user);

  void on_room(TunnelClient& tunnel);
  void on_dial_failed(TunnelClient& tunnel, Flag flag, std::string_view details);
  void on_ended(TunnelClient& tunnel);

  // Once a second.
  void check_time(net::Clock::time_point now);
  void forget_pod(NetnsCookie pod, bool reset);
  // Certificates or roots may be others: new streams are to have tunnels that were made with those in force.
  void renew();
  // At the end of a round.
  void free_ended() { ended_.clear(); }

 private:
  void start(TunnelGroup& group);
  void dial(TunnelGroup& group);

  HttpHost& host_;
  std::unordered_map<TunnelKey, TunnelGroup, TunnelKeyHash> groups_;  // nodes do not move
  std::list<TunnelClient> ended_;
};

}  // namespace underpass::session
