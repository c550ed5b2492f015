// SPDX-License-Identifier: Apache-2.0
// One traffic thread: its share of the pods' listeners and dial sockets, and its connections. Everything but post(),
// counters() and the constructor is for its own thread: others post() what they want. No locks on the way of a byte.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "underpass/worker_protocol.h"
#include "userspace_proxy/log/access_log.h"
#include "userspace_proxy/session/connection.h"
#include "userspace_proxy/session/counters.h"
#include "userspace_proxy/session/dial_stock.h"
#include "userspace_proxy/session/http_traffic.h"
#include "userspace_proxy/telemetry/request_sink.h"

namespace underpass::session {

// What traffic threads say to whoever runs them. Called in the thread of the one that says it.
class TrafficEvents {
 public:
  // More dial sockets, please.
  virtual void on_want(unsigned thread, NetnsCookie pod, bool v6, std::uint64_t count) = 0;
  // Connections wait for dial sockets while there is no agent: perhaps another thread has some.
  virtual void on_starved(unsigned thread, NetnsCookie pod, bool v6) = 0;
  // Was told to drain, and the last connection has ended.
  virtual void on_drained(unsigned thread) = 0;

 protected:
  ~TrafficEvents() = default;
};

struct TrafficOptions {
  unsigned thread = 0;                              // its number
  unsigned threads = 1;                             // that there are
  const std::atomic<bool>* memory_short = nullptr;  // no new requests while it is set
  int accept_limit = 0;  // a descriptor of this number is the last that is accepted: what is above it is the reserve
};

class Traffic final : private ConnectionOwner, private HttpOwner {
 public:
  using DialCounts = std::map<NetnsCookie, std::pair<std::uint64_t, std::uint64_t>>;  // IPv4, IPv6
  using Work = std::move_only_function<void(Traffic&)>;

  static Result<std::unique_ptr<Traffic>> start(TrafficOptions options, RoutesPtr routes, Peers& peers,
                                                log::AccessLog& access_log, TrafficEvents& events);
  // Ends the thread, and with it, at once, what connections are left.
  ~Traffic();

  void post(Work work);
  [[nodiscard]] const Counters& counters() const { return counters_; }

  // --- in its own thread ---
  void use(RoutesPtr routes);
  // In the place of the one that the pod has of this kind, if there is one.
  void add_listener(NetnsCookie pod, worker::Listener which, UniqueFd fd);
  void add_dials(NetnsCookie pod, bool v6, std::vector<UniqueFd> sockets);
  std::vector<UniqueFd> give_dials(NetnsCookie pod, bool v6);
  // Nobody has any: what waits for one is reset.
  void no_dials(NetnsCookie pod, bool v6);
  void forget(NetnsCookie pod, bool reset);
  void drain();
  void set_agent_there(bool there);
  [[nodiscard]] DialCounts dial_counts() const;
  [[nodiscard]] telemetry::RequestSink& requests() { return requests_; }

 private:
  struct Listening final : net::Watcher {
    Listening(Traffic& of, NetnsCookie whose, worker::Listener kind, UniqueFd socket)
        : traffic(of), pod(whose), which(kind), fd(std::move(socket)) {}
    void on_events(std::uint32_t) override { traffic.accept_from(*this); }
    Traffic& traffic;
    NetnsCookie pod;
    worker::Listener which;
    UniqueFd fd;
  };
  struct Family {
    DialStock stock;
    std::deque<DialUser*> waiting;  // for a dial socket, first come first served
    bool used = false;              // more will want to dial than those that wait
  };
  struct Pod {
    std::list<Listening> listeners;
    std::array<Family, 2> families;  // IPv4, IPv6
    // It is not ours any more; until then for the connections that it has.
    net::Clock::time_point leaves_by = net::Clock::time_point::max();

    [[nodiscard]] bool leaves() const { return leaves_by != net::Clock::time_point::max(); }
  };

  Traffic(TrafficOptions options, std::unique_ptr<net::Loop> loop, RoutesPtr routes, Peers& peers,
          log::AccessLog& access_log, TrafficEvents& events);
  void on_connected(Connection& connection) override;
  void on_ended(Connection& connection) override;
  void find_dial(DialUser& user) override;
  void forget_dial(DialUser& user) override;
  void on_not_http(HttpConnection& connection, std::unique_ptr<net::Transport> client) override;
  void on_tunnelled(std::unique_ptr<net::Transport> stream, NetnsCookie pod, std::uint64_t id, Record record) override;
  void on_request_ended(const telemetry::RequestRecord& record) override;
  void on_connection_ended(const HttpConnection& connection) override;

  void run();
  [[nodiscard]] net::Clock::time_point next_round() const;
  void end_late_dials();
  void sweep();

  bool accept_from(Listening& listening);
  void accept_last(Pod& pod);
  void take_in(const Listening& listening, UniqueFd fd);
  Connection& add(std::unique_ptr<net::Transport> client, NetnsCookie pod, std::uint64_t id, Record record,
                  net::Clock::time_point began);
  void relay(std::unique_ptr<net::Transport> client, NetnsCookie pod, std::uint64_t id, Record record,
             net::Clock::time_point began);
  void find_server(Connection& connection);
  [[nodiscard]] bool may_relay(const Connection& connection);
  [[nodiscard]] bool may_be_http(const Connection& connection) const;
  template <typename Ended>
  void log_connection(const Ended& connection, std::uint64_t sent, std::uint64_t received);
  void ask_for_dials(NetnsCookie id, Family& family, bool v6);
  void ask_for_last_dials(NetnsCookie id, Pod& pod);
  void on_accept_failed(const Listening& listening, int error);
  void end_waiting(Family& family, Flag flag, const char* details);
  void listen_on(Listening& listening);
  void pause(int error);
  void resume_if_possible();
  void unlisten(const Listening& listening);
  void drop_listeners(Pod& pod);
  void erase_left();  // pods whose last connection must have ended
  void expect_line();
  void write_lines(bool all);
  void check_drained();

  const TrafficOptions options_;
  const std::unique_ptr<net::Loop> loop_;
  RoutesPtr routes_;
  Peers& peers_;
  log::AccessLog& access_log_;
  TrafficEvents& events_;

  BufferPool buffers_;
  std::unordered_map<NetnsCookie, Pod> pods_;
  Connections starting_;  // until connected; in the order of their deadlines
  Connections open_;
  Connections ended_;  // of this round
  HttpTraffic http_;
  Counters counters_;

  std::string lines_;  // of the access log, until lines_due_
  telemetry::RequestSink requests_{lines_};
  bool lines_wait_ = false;  // in the access log itself, which could not write them all
  net::Clock::time_point lines_due_;
  net::Clock::time_point next_sweep_;
  bool paused_ = false;
  bool agent_there_ = true;
  bool draining_ = false;
  net::Clock::time_point drain_until_ = net::Clock::time_point::max();
  bool drained_ = false;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace underpass::session
