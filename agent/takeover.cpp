// SPDX-License-Identifier: Apache-2.0
#include "agent/takeover.h"

#include <spdlog/spdlog.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <utility>

#include "agent/admin/client.h"
#include "agent/admin/protocol.h"
#include "agent/cluster.h"

namespace underpass {
namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kCall(2'000);
constexpr milliseconds kPause(100);
constexpr milliseconds kSyncPause(500);
constexpr std::chrono::seconds kRetiring(15);

class RunningTakeover : public Takeover {
 public:
  RunningTakeover(asio::io_context& io, TakeoverOptions options, Done done)
      : io_(io), options_(std::move(options)), done_(std::move(done)), timer_(io), connection_(io) {}

  void start() {
    if (!somebody_works()) return done_(ipc::Listeners());
    auto cluster = Cluster::open(
        io_, {.kubeconfig = options_.kubeconfig, .node_name = options_.node_name, .daemon_set = options_.daemon_set},
        [](const k8s::Contents&) {});
    if (!cluster) return done_(fail_in("--source kubernetes", cluster.error()));
    cluster_ = std::move(*cluster);
    cluster_->start();
    spdlog::info("takeover-waits instance={} reason=\"another agent works on this node\"", options_.instance);
    wait_for_sync();
  }

 private:
  [[nodiscard]] std::string path() const { return admin::socket_path(options_.run_dir); }

  [[nodiscard]] bool somebody_works() const {
    const auto answer = admin::call(path(), {{"command", "ready"}, {"instance", options_.instance}}, kCall);
    return answer || answer.error().kind != admin::CallError::Kind::kUnreachable;
  }

  void after(milliseconds pause, void (RunningTakeover::*next)()) {
    timer_.expires_after(pause);
    timer_.async_wait([this, next, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
      if (!error && alive.lock()) (this->*next)();
    });
  }

  void wait_for_sync() {
    // It ended meanwhile: there is nothing to wait for.
    if (!somebody_works()) return finish();
    if (const auto missing = cluster_->not_synced()) {
      if (*missing != logged_) spdlog::info("takeover-waits reason=\"{}\"", *missing);
      logged_ = *missing;
      return after(kSyncPause, &RunningTakeover::wait_for_sync);
    }
    until_ = Clock::now() + kRetiring;
    ask_to_retire();
  }

  void ask_to_retire() {
    auto answer = admin::call_for_descriptors(
        path(), admin::encode_retirement({.instance = options_.instance, .pid = ::getpid(), .listeners = true}), kCall);
    using Kind = admin::CallError::Kind;
    if (!answer && answer.error().kind == Kind::kUnreachable) return finish();
    if (!answer && answer.error().kind != Kind::kNoAnswer)
      return done_(fail_in("the agent that works on this node", Error{answer.error().message}));
    if (!answer)  // it ends, or hangs
      return Clock::now() > until_ ? give_up() : after(kPause, &RunningTakeover::ask_to_retire);
    listeners_ = admin::decode_listeners(answer->answer, std::move(answer->descriptors));
    wait_for_end(std::move(answer->connection));
  }

  // The end of the connection is the last that it lets go of.
  void wait_for_end(UniqueFd connection) {
    connection_.assign(connection.release());
    connection_.async_wait(asio::posix::stream_descriptor::wait_read,
                           [this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
                             if (!error && alive.lock()) finish();
                           });
    after(kRetiring, &RunningTakeover::give_up);
  }

  void give_up() { done_(fail("the agent that works on this node does not retire")); }

  void finish() {
    timer_.cancel();
    spdlog::info("takeover-done instance={} listeners={}", options_.instance, listeners_.size());
    cluster_.reset();
    done_(std::move(listeners_));
  }

  asio::io_context& io_;
  TakeoverOptions options_;
  Done done_;
  asio::steady_timer timer_;
  asio::posix::stream_descriptor connection_;
  std::unique_ptr<Cluster> cluster_;
  std::string logged_;
  Clock::time_point until_;
  ipc::Listeners listeners_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

class WatchedSuccessor : public Successor {
 public:
  WatchedSuccessor(asio::io_context& io, int fd, std::function<void()> ended) : descriptor_(io, fd) {
    descriptor_.async_wait(asio::posix::stream_descriptor::wait_read,
                           [ended = std::move(ended)](const boost::system::error_code& error) {
                             if (!error) ended();
                           });
  }

 private:
  asio::posix::stream_descriptor descriptor_;
};

}  // namespace

std::unique_ptr<Takeover> Takeover::begin(asio::io_context& io, TakeoverOptions options, Done done) {
  auto out = std::make_unique<RunningTakeover>(io, std::move(options), std::move(done));
  out->start();
  return out;
}

std::unique_ptr<Successor> Successor::watch(asio::io_context& io, pid_t pid, std::function<void()> ended) {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  return fd < 0 ? nullptr : std::make_unique<WatchedSuccessor>(io, fd, std::move(ended));
}

}  // namespace underpass
