// SPDX-License-Identifier: Apache-2.0
// What the HTTP connections of a thread have of it.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>

#include "userspace_proxy/net/transport.h"
#include "userspace_proxy/session/buffer_pool.h"
#include "userspace_proxy/session/dial_user.h"
#include "userspace_proxy/session/peers.h"
#include "userspace_proxy/session/record.h"
#include "userspace_proxy/session/routes.h"
#include "userspace_proxy/telemetry/request_record.h"
#include "userspace_proxy/telemetry/trace.h"

namespace underpass::session {

class Exchange;
class HttpConnection;
class HttpEnd;
class Upstream;
class TunnelClient;
class TunnelPool;
class TunnelServer;
class UpstreamPool;

// A client that is to go has so long to ask once more and be told, before it is closed at: what it asked at this moment
// would be lost.
inline constexpr auto kLeaveQuiet = std::chrono::seconds(2);

class Timed;
using Times = std::multimap<net::Clock::time_point, Timed*>;

// Who wants to be called at a time.
class Timed {
 public:
  virtual ~Timed() = default;
  virtual void on_time() = 0;

  std::optional<Times::iterator> due;  // the host's mark
};

class HttpHost {
 public:
  virtual net::Loop& loop() = 0;
  virtual BufferPool& buffers() = 0;
  virtual Peers& peers() = 0;
  virtual UpstreamPool& upstreams() = 0;
  virtual TunnelPool& tunnels() = 0;
  [[nodiscard]] virtual const RoutesPtr& routes() const = 0;
  [[nodiscard]] virtual bool is_draining() const = 0;

  // Calls dial() or no_dial(), now or later.
  virtual void find_dial(DialUser& user) = 0;
  virtual void forget_dial(DialUser& user) = 0;

  // Once; a later call takes the place of an earlier one. The user must forget_time() before it ends.
  virtual void wake_at(Timed& user, net::Clock::time_point time) = 0;
  virtual void forget_time(Timed& user) = 0;

  // Its settle() is called before this round ends.
  virtual void touch(HttpEnd& end) = 0;

  // False: there are as many requests as there may be.
  virtual bool admit_request() = 0;
  // Of one that was admitted or refused: exactly once each.
  virtual void on_request_ended(const telemetry::RequestRecord& record) = 0;
  virtual void forget_request() = 0;  // of one that was admitted

  virtual telemetry::Dice& dice() = 0;
  virtual std::unique_ptr<Exchange> make_exchange() = 0;
  // It may be in use further up the stack: is used again in the next round at the earliest.
  virtual void give_back(std::unique_ptr<Exchange> exchange) = 0;

  // It turned out to be HTTP.
  virtual void on_decided(HttpConnection& connection) = 0;
  // It turned out to be no HTTP: it is free to be relayed.
  virtual void on_not_http(HttpConnection& connection, std::unique_ptr<net::Transport> client) = 0;
  // Closed. It is freed when the round ends.
  virtual void on_ended(HttpConnection& connection) = 0;
  virtual void on_ended(TunnelClient& tunnel) = 0;
  virtual void on_ended(TunnelServer& tunnel) = 0;

  // Somebody's connection came through the tunnel `id`.
  virtual void on_tunnelled(std::unique_ptr<net::Transport> stream, NetnsCookie pod, std::uint64_t id,
                            Record record) = 0;

 protected:
  ~HttpHost() = default;
};

// One end of an exchange: a socket, its codec, and that something is to be done for it.
class HttpEnd {
 public:
  virtual ~HttpEnd() = default;
  // Moves what can be moved, and looks whether it is over.
  virtual void settle() = 0;

  bool is_touched = false;  // the host's mark
};

}  // namespace underpass::session
