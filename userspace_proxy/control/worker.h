// SPDX-License-Identifier: Apache-2.0
// The worker: takes orders from whichever agent connected last, runs the traffic threads, and goes on with what it has
// when there is no agent. All of it is in the main thread; what traffic threads say is posted to it.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "userspace_proxy/control/agent_link.h"
#include "userspace_proxy/control/dial_desk.h"
#include "userspace_proxy/control/request_packets.h"
#include "userspace_proxy/log/access_log.h"
#include "userspace_proxy/log/log_sink.h"
#include "userspace_proxy/session/traffic.h"

namespace underpass::control {

struct WorkerOptions {
  UniqueFd listener;                    // unix, SEQPACKET, listening: where later agents come
  UniqueFd agent;                       // the first one
  uid_t agent_uid = 0;                  // who may be one, besides root
  int access_log_fd = 1;                // replaced when the agent says Logs
  int log_fd = 2;                       // ... and so is this
  int accept_limit = 704;               // see session::TrafficOptions
  std::shared_ptr<log::LogSink> log{};  // null: nobody counts its losses
};

class Worker final : private session::TrafficEvents {
 public:
  // `on_drained`: there is nothing left to do.
  Worker(boost::asio::io_context& io, WorkerOptions options, session::Peers& peers, std::function<void()> on_drained);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void start();
  // Accepts nothing more; connections end by themselves, or by the drain's timeout.
  void drain();

 private:
  using Sockets = std::map<worker::Listener, UniqueFd>;

  void on_want(unsigned thread, NetnsCookie pod, bool v6, std::uint64_t count) override;
  void on_starved(unsigned thread, NetnsCookie pod, bool v6) override;
  void on_drained(unsigned thread) override;

  void await_agents();
  void accept_agents();
  void greet(UniqueFd socket);
  void on_gone();

  void on_message(Received received);
  void garbage(const std::string& why);
  void take(const worker::Config& config, Received& received);
  Result<void> use(RoutingTable table);
  void take(const worker::Listeners& listeners, Received& received);
  void take(const worker::Dials& dials, Received& received);
  void take(const worker::Forget& forget, Received& received);
  void take(const worker::Drain& drain, Received& received);
  void take(const worker::Logs& logs, Received& received);
  void take(const worker::FollowRequests& follow, Received& received);
  template <typename Other>
  void take(const Other& other, Received& received);

  void watch_memory();
  void follow_requests(bool on);
  void schedule_report();
  void collect_report();
  void send_report(const session::Traffic::DialCounts& dials);
  void tell(ToldRequests told);
  [[nodiscard]] bool expects_agent() const;
  void ask_for_spare_dials(unsigned thread, unsigned asked, NetnsCookie pod, bool v6);
  template <typename Work>
  void post_to_all(Work work);
  void check_drained();
  void finish();

  boost::asio::io_context& io_;
  WorkerOptions options_;
  session::Peers& peers_;
  std::function<void()> on_all_drained_;
  log::AccessLog access_log_;

  boost::asio::posix::stream_descriptor listener_;
  boost::asio::steady_timer report_timer_;
  boost::asio::steady_timer memory_timer_;
  boost::asio::steady_timer patience_;  // with an agent that has gone
  std::atomic<bool> memory_short_ = false;
  std::shared_ptr<AgentLink> agent_;
  session::RoutesPtr routes_;  // null: none came yet
  tls::IdentityMaker identities_;
  std::map<NetnsCookie, Sockets> pods_;  // the listeners, for the next agent
  DialDesk desk_;
  std::vector<std::unique_ptr<session::Traffic>> threads_;
  bool follows_requests_ = false;
  std::set<unsigned> drained_;
  bool draining_ = false;
};

}  // namespace underpass::control
