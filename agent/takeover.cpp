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
  RunningTakeover(asio::io_context& io, TakeoverOptions options, std::function<void(Result<void>)> done)
      : io_(io), options_(std::move(options)), done_(std::move(done)), timer_(io) {}

  void start() {
    if (!somebody_works()) return done_({});
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
    const auto answer = admin::call(
        path(),
        {{"command", "retire"}, {"instance", options_.instance}, {"pid", static_cast<std::int64_t>(::getpid())}},
        kCall);
    using Kind = admin::CallError::Kind;
    if (!answer && answer.error().kind != Kind::kUnreachable && answer.error().kind != Kind::kNoAnswer)
      return done_(fail_in("the agent that works on this node", Error{answer.error().message}));
    until_ = Clock::now() + kRetiring;
    wait_for_retirement();
  }

  void wait_for_retirement() {
    if (!somebody_works()) return finish();
    if (Clock::now() > until_) return done_(fail("the agent that works on this node does not retire"));
    after(kPause, &RunningTakeover::wait_for_retirement);
  }

  void finish() {
    spdlog::info("takeover-done instance={}", options_.instance);
    cluster_.reset();
    done_({});
  }

  asio::io_context& io_;
  TakeoverOptions options_;
  std::function<void(Result<void>)> done_;
  asio::steady_timer timer_;
  std::unique_ptr<Cluster> cluster_;
  std::string logged_;
  Clock::time_point until_;
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

std::unique_ptr<Takeover> Takeover::begin(asio::io_context& io, TakeoverOptions options,
                                          std::function<void(Result<void>)> done) {
  auto out = std::make_unique<RunningTakeover>(io, std::move(options), std::move(done));
  out->start();
  return out;
}

std::unique_ptr<Successor> Successor::watch(asio::io_context& io, pid_t pid, std::function<void()> ended) {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  return fd < 0 ? nullptr : std::make_unique<WatchedSuccessor>(io, fd, std::move(ended));
}

}  // namespace underpass
