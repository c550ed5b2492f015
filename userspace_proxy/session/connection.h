// SPDX-License-Identifier: Apache-2.0
// One connection that a worker carries, from accept() to its line in the access log: it waits for a socket to dial
// with, or for a tunnel, connects, relays, and ends once, for one reason. It lives in its thread's lists and is touched
// by that thread only.
#pragma once

#include <list>
#include <string>
#include <string_view>

#include "userspace_proxy/net/loop.h"
#include "userspace_proxy/session/dial_user.h"
#include "userspace_proxy/session/outcome.h"
#include "userspace_proxy/session/peers.h"
#include "userspace_proxy/session/record.h"
#include "userspace_proxy/session/relay.h"
#include "userspace_proxy/session/tunnel_user.h"

namespace underpass::session {

class Connection;
using Connections = std::list<Connection>;

// What a connection has of its thread.
struct Surroundings {
  net::Loop& loop;
  BufferPool& buffers;
  Peers& peers;
};

// Is told what becomes of connections.
class ConnectionOwner {
 public:
  virtual void on_connected(Connection& connection) = 0;
  // Its sockets are closed. It must live until the end of the round: events of it may be on their way.
  virtual void on_ended(Connection& connection) = 0;

 protected:
  ~ConnectionOwner() = default;
};

class Connection final : public DialUser, public TunnelUser {
 public:
  enum class Stage { kWaitsForDial, kConnecting, kRelaying, kEnded };

  // `id` as the kernel calls it. Does nothing yet: see watch_client(), dial(), on_tunnel(), go_on().
  Connection(Surroundings around, ConnectionOwner& owner, std::unique_ptr<net::Transport> client, NetnsCookie pod,
             std::uint64_t id, Record record);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // From now on a client that goes is noticed.
  void watch_client();
  // Connects `socket`, of the right network namespace and family, to where the client wanted to go.
  void dial(UniqueFd socket) override;
  void no_dial(Flag flag, const char* details) override { end(flag, details); }
  void on_tunnel(std::unique_ptr<net::Transport> stream) override;
  void no_tunnel(Flag flag, std::string_view details) override { end(flag, std::string(details)); }
  // ... and not for a socket to dial with.
  [[nodiscard]] bool waits_for_tunnel() const { return !record_.inbound && record_.tunnel != UP_TUNNEL_NONE; }
  // With a server that is connected already.
  void go_on(std::unique_ptr<net::Transport> server);
  // Both ends, for another who goes on with them; then this is over, and nobody is told.
  struct Ends {
    std::unique_ptr<net::Transport> client, server;
  };
  Ends release();
  // Closes both ends, by RST unless the flag is kNone. Later calls do nothing.
  void end(Flag flag, std::string details = {});

  [[nodiscard]] Stage stage() const { return stage_; }
  [[nodiscard]] NetnsCookie pod() const override { return pod_; }
  [[nodiscard]] const Record& record() const { return record_; }
  [[nodiscard]] Record&& take_record() { return std::move(record_); }
  [[nodiscard]] const Record& tunnelled() const override { return record_; }
  [[nodiscard]] std::uint64_t carried() const override { return id_; }
  [[nodiscard]] const Relay& relay() const { return relay_; }
  [[nodiscard]] Flag flag() const { return flag_; }
  [[nodiscard]] std::string_view details() const { return details_; }
  [[nodiscard]] bool dials_v6() const override;

  net::Clock::time_point began;                                        // when it was accepted
  net::Clock::time_point deadline;                                     // to be connected
  net::Clock::time_point last_byte;                                    // when one last moved
  net::Clock::time_point must_end_by = net::Clock::time_point::max();  // a drain's end
  // Where it is in its thread's lists: among those that are connected, or that are about to be.
  Connections::iterator place;
  bool is_open = false;
  bool is_decided = false;  // that it is not HTTP

 private:
  struct End final : net::Watcher {
    explicit End(Connection& of) : connection(of) {}
    void on_events(std::uint32_t events) override { connection.on_events(*this, events); }
    Connection& connection;
    bool watches_out = false;
  };

  void on_events(End& end, std::uint32_t events);
  void on_connect(std::uint32_t events);
  void watch_server();
  void move();
  void rewatch(End& end, Relay::Side& side);
  void fail(bool of_client, int error);

  Surroundings around_;
  ConnectionOwner& owner_;
  NetnsCookie pod_;
  std::uint64_t id_;
  Record record_;
  Relay relay_;
  End client_{*this};
  End server_{*this};
  Stage stage_ = Stage::kWaitsForDial;
  Flag flag_ = Flag::kNone;
  std::string details_;
};

}  // namespace underpass::session
