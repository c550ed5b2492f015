// SPDX-License-Identifier: Apache-2.0
// underpass-proxy: flags, what the agent left open, the sandbox, signals. Everything else is control/worker.h.
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <ctime>
#include <functional>
#include <iostream>
#include <memory>
#include <string>

#include "underpass/worker_protocol.h"
#include "userspace_proxy/control/worker.h"
#include "userspace_proxy/log/log_sink.h"
#include "userspace_proxy/sandbox/sandbox.h"

namespace {

using underpass::Result;
using underpass::UniqueFd;
using underpass::worker::kControlListenerFd;
using underpass::worker::kFirstAgentFd;

constexpr int kStartFailure = 1;
constexpr int kUsage = 2;
constexpr int kBacklog = 16;
// Descriptors that connections may not take: a packet of them from the agent, its connections, and some for ourselves.
constexpr int kReserve = static_cast<int>(underpass::worker::kMaxDescriptors) + 70;

void describe(CLI::App& app, std::string& log_level) {
  app.description(
      "underpass-proxy - a worker of the Underpass service mesh: it carries connections that need more than an "
      "address\n"
      "and an allow or deny. underpassd starts it, with descriptors that it needs; it is not started by hand.");
  app.set_version_flag("--version", std::string("underpass-proxy ") + UNDERPASS_VERSION);
  app.add_option("--log-level", log_level, "error, warn, info or debug.")
      ->capture_default_str()
      ->check(CLI::IsMember({"error", "warn", "info", "debug"}));
  app.footer(
      "Descriptors: 1 access log, 2 log, 3 a bound unix socket of type SEQPACKET, 4 a connected one to the agent.\n"
      "Signals: SIGTERM drains, a second one ends it at once.\n"
      "Exit codes: 0 drained, 1 could not start, 2 usage.");
}

Result<UniqueFd> take_over(int fd, const char* what) {
  int type = 0;
  socklen_t size = sizeof(type);
  sockaddr_un address{};
  socklen_t address_size = sizeof(address);
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &address_size) != 0 || type != SOCK_SEQPACKET ||
      address.sun_family != AF_UNIX)
    return underpass::fail("descriptor " + std::to_string(fd) + " is not " + what + ": underpassd starts this program");
  return UniqueFd(fd);
}

// What reads files does it now: afterwards there are none.
std::shared_ptr<underpass::log::LogSink> open_log(const std::string& level) {
  ::tzset();
  auto sink = std::make_shared<underpass::log::LogSink>(STDERR_FILENO);
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("underpass-proxy", sink));
  spdlog::set_level(spdlog::level::from_str(level));
  return sink;
}

int accept_limit() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return kReserve;
  constexpr rlim_t kMost = 1 << 30;
  return std::max(static_cast<int>(std::min(files.rlim_cur, kMost)) - kReserve, kFirstAgentFd + 1);
}

int serve(underpass::control::WorkerOptions options) {
  boost::asio::io_context io(1);
  boost::asio::signal_set signals(io, SIGTERM);
  if (auto done = underpass::sandbox::enter_sandbox({}); !done) {
    spdlog::error("start-failed {}", done.error().message);
    return kStartFailure;
  }
  options.accept_limit = accept_limit();
  spdlog::info("worker-ready version={} accept-limit={}", UNDERPASS_VERSION, options.accept_limit);

  underpass::session::SocketOptionPeers peers;
  underpass::control::Worker worker(io, std::move(options), peers, [&] { io.stop(); });
  worker.start();
  bool draining = false;
  std::function<void()> await_signal = [&] {
    signals.async_wait([&](const boost::system::error_code& error, int) {
      if (error) return;
      if (draining) return io.stop();
      draining = true;
      worker.drain();
      await_signal();
    });
  };
  await_signal();
  io.run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string log_level = "info";
  CLI::App app;
  describe(app, log_level);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  underpass::control::WorkerOptions options{.agent_uid = ::geteuid()};
  auto listener = take_over(kControlListenerFd, "a bound unix socket of type SEQPACKET");
  auto agent = take_over(kFirstAgentFd, "a connected unix socket of type SEQPACKET");
  for (const auto* taken : {&listener, &agent}) {
    if (*taken) continue;
    std::cerr << "underpass-proxy: " + taken->error().message + "\nRun with --help for more information.\n";
    return kUsage;
  }
  options.listener = std::move(*listener);
  options.agent = std::move(*agent);
  options.log = open_log(log_level);
  for (const int ignored : {SIGHUP, SIGPIPE, SIGINT}) (void)std::signal(ignored, SIG_IGN);
  // Before the sandbox: whoever asks for the listener's credentials sees root's, as the agent's own.
  if (::listen(options.listener.get(), kBacklog) != 0) {
    spdlog::error("start-failed {}", underpass::fail_errno("listen").error().message);
    return kStartFailure;
  }
  return serve(std::move(options));
}
