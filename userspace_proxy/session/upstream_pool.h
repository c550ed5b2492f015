// SPDX-License-Identifier: Apache-2.0
// A thread's connections to servers, and the requests that wait for one.
#pragma once

#include <deque>
#include <list>
#include <unordered_map>

#include "userspace_proxy/session/upstream.h"

namespace underpass::session {

struct UpstreamGroup {
  UpstreamKey key;
  std::list<Upstream> members;  // those that can take a request first
  std::size_t dialling = 0;     // members that are not connected yet
  std::deque<UpstreamUser*> waiting;
};

class UpstreamPool {
 public:
  explicit UpstreamPool(HttpHost& host) : host_(host) {}

  // Starts it on a connection that can take it, or lets it wait for one that is dialled.
  void find(const UpstreamKey& key, UpstreamUser& user);
  // A server that is connected: the next one that looks for such a one has it.
  void adopt(const UpstreamKey& key, std::unique_ptr<net::Transport> server);
  // Waits no longer.
  void forget(UpstreamUser& user);

  // It can take a request.
  void on_room(Upstream& upstream);
  // It came to nothing: who waits tries another one, or not.
  void on_dial_failed(Upstream& upstream, telemetry::RequestFlag flag, std::string_view details);
  // Nobody is left behind who waited for it: another one is dialled, unless it went before it was asked anything, since
  // then the next would go as well.
  void on_ended(Upstream& upstream, telemetry::RequestFlag flag, std::string_view details);

  // Once a second.
  void check_time(net::Clock::time_point now);
  // What was dialled in this network namespace; `reset`: at once.
  void forget_pod(NetnsCookie pod, bool reset);
  // Certificates or roots may be others.
  void renew();
  // They are wanted until the clients have gone.
  void leave_all();
  // At the end of a round.
  void free_ended() { ended_.clear(); }

  [[nodiscard]] std::size_t size() const;

 private:
  static void start(UpstreamUser& user, Upstream& upstream);
  // That those who wait need another dial.
  [[nodiscard]] static bool lacks_dial(const UpstreamGroup& group);
  void dial(UpstreamGroup& group);

  HttpHost& host_;
  std::unordered_map<UpstreamKey, UpstreamGroup, UpstreamKeyHash> groups_;  // nodes do not move
  std::list<Upstream> ended_;
};

}  // namespace underpass::session
