// SPDX-License-Identifier: Apache-2.0
// A whole worker on a thread of its own, between real TCP sockets on loopback, with an agent and one pod.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/json/parse.hpp>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "test/unit/proxy_agent.h"

namespace underpass::test {

// A worker, its agent, and a pod with one listener.
class ProxyWorld {
 public:
  struct Options {
    ProxySettings settings{.threads = 1};
    int accept_limit = 1'000'000;
    bool dials = true;
  };

  ProxyWorld() : ProxyWorld(Options{}) {}
  explicit ProxyWorld(Options options)
      : socket_path_((folder / "control").string()), listener_(listen_on_loopback()), work_(io_.get_executor()) {
    std::array<int, 2> log{};
    require(::pipe2(log.data(), O_CLOEXEC) == 0, "pipe");
    log_reader_.reset(log[0]);
    log_writer_.reset(log[1]);
    std::array<int, 2> control{};
    require(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control.data()) == 0, "socketpair");
    agent = std::make_unique<FakeAgent>(UniqueFd(control[0]));
    agent->answers = options.dials;

    control::WorkerOptions worker_options{.listener = listen_for_agents(),
                                          .agent = UniqueFd(control[1]),
                                          .agent_uid = ::geteuid(),
                                          .access_log_fd = log_writer_.get(),
                                          .log_fd = -1,
                                          .accept_limit = options.accept_limit};
    worker_ = std::make_unique<control::Worker>(io_, std::move(worker_options), peers, [this] { drained = true; });
    worker_->start();
    thread_ = std::thread([this] { io_.run(); });
    table = {.revision = 1,
             .settings = options.settings,
             .pods = {{.netns = kPod, .id = {"shop", "db-0"}, .identity = "spiffe://td/ns/shop/sa/db"}},
             .identities = {{2, "spiffe://td/ns/shop/sa/web"}}};
    agent->send_config(table);
    agent->wait_for<worker::Configured>();
    agent->send(worker::Listeners{.netns = kPod, .listeners = {{.direction = UP_INBOUND, .v6 = false}}},
                {listener_.get()});
  }
  ~ProxyWorld() {
    agent->close();
    io_.stop();
    thread_.join();
    worker_.reset();
  }
  ProxyWorld(const ProxyWorld&) = delete;
  ProxyWorld& operator=(const ProxyWorld&) = delete;

  // A connection to the worker's listener, as a pod's is led there.
  [[nodiscard]] UniqueFd connect() const { return connect_to(place_of(listener_.get())); }
  [[nodiscard]] Place4 listener() const { return place_of(listener_.get()); }

  // A later agent, through the control socket.
  [[nodiscard]] std::unique_ptr<FakeAgent> come_as_agent() const {
    return std::make_unique<FakeAgent>(connect_to_control(socket_path_));
  }

  template <typename Work>
  void in_worker(Work work) {
    std::promise<void> done;
    boost::asio::post(io_, [&] {
      work(*worker_);
      done.set_value();
    });
    done.get_future().wait();
  }

  // The next line of the access log.
  boost::json::object next_line() {
    while (!text_.contains('\n')) {
      if (!readable(log_reader_.get(), kLong)) throw std::runtime_error("no line in the access log");
      char chunk[4096];
      const ssize_t got = ::read(log_reader_.get(), chunk, sizeof(chunk));
      require(got > 0, "read the access log");
      text_.append(chunk, static_cast<std::size_t>(got));
    }
    const auto end = text_.find('\n');
    auto line = boost::json::parse(text_.substr(0, end)).as_object();
    text_.erase(0, end + 1);
    return line;
  }
  std::string next_flags() { return next_line().at("flags").as_string().c_str(); }

  TempFolder folder;
  FakePeers peers;
  std::unique_ptr<FakeAgent> agent;
  RoutingTable table;
  std::atomic<bool> drained = false;

 private:
  [[nodiscard]] UniqueFd listen_for_agents() const {
    UniqueFd fd = bind_control(socket_path_);
    require(::listen(fd.get(), 4) == 0, "listen");
    return fd;
  }

  std::string socket_path_;
  UniqueFd listener_;
  UniqueFd log_reader_;
  UniqueFd log_writer_;
  std::string text_;
  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::unique_ptr<control::Worker> worker_;
  std::thread thread_;
};

}  // namespace underpass::test
