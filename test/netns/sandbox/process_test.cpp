// SPDX-License-Identifier: Apache-2.0
// The worker in its sandbox: the real program as the agent starts it, and the data path under the filter of system
// calls. Needs root.
#include <doctest/doctest.h>
#include <sys/wait.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "test/unit/proxy_agent.h"
#include "userspace_proxy/sandbox/sandbox.h"

using namespace underpass;
using test::eventually;
using test::FakeAgent;
using test::kLong;
using test::kPod;

namespace {

std::string text_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// A child with a pipe for its access log and a socket to its agent. Killed at the end if it still runs.
class Child {
 public:
  // `run` is called in the child, with the worker's end of the control socket and of the access log; it returns the
  // exit code.
  template <typename Run>
  explicit Child(Run run) {
    std::array<int, 2> control{};
    test::require(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control.data()) == 0, "socketpair");
    std::array<int, 2> log{};
    test::require(::pipe2(log.data(), O_CLOEXEC) == 0, "pipe");
    UniqueFd theirs(control[1]);
    UniqueFd log_writer(log[1]);
    log_reader_.reset(log[0]);
    pid_ = ::fork();
    test::require(pid_ >= 0, "fork");
    if (pid_ == 0) ::_exit(run(theirs.get(), log_writer.get()));
    agent = std::make_unique<FakeAgent>(UniqueFd(control[0]));
  }
  ~Child() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] std::string proc(const std::string& file) const { return "/proc/" + std::to_string(pid_) + "/" + file; }
  // Its exit code; -1 when it was killed.
  int wait() {
    int status = 0;
    const bool ended = eventually(kLong, [&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; });
    if (!ended) throw std::runtime_error("the worker does not end");
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string log() {
    test::readable(log_reader_.get(), kLong);
    std::array<char, 8192> chunk{};
    const ssize_t got = ::read(log_reader_.get(), chunk.data(), chunk.size());
    return {chunk.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
  }

  std::unique_ptr<FakeAgent> agent;

 private:
  pid_t pid_ = -1;
  UniqueFd log_reader_;
};

// The real program, as the agent starts it.
Child start_program(const test::TempFolder& folder) {
  const auto listener = test::bind_control((folder / "control").string());
  return Child([&](int control, int log) {
    // Away from the numbers that they are going to take.
    const int high_control = ::fcntl(control, F_DUPFD, 100);
    const int high_listener = ::fcntl(listener.get(), F_DUPFD, 100);
    const int high_log = ::fcntl(log, F_DUPFD, 100);
    ::dup2(high_log, 1);
    ::dup2(high_listener, worker::kControlListenerFd);
    ::dup2(high_control, worker::kFirstAgentFd);
    for (const int fd : {high_control, high_listener, high_log}) ::close(fd);
    ::execl(UNDERPASS_PROXY, "underpass-proxy", nullptr);
    return 127;
  });
}

RoutingTable table_for(unsigned threads) {
  return {.revision = 1,
          .settings = {.threads = threads},
          .pods = {{.netns = kPod, .id = {"shop", "db-0"}, .identity = "spiffe://td/ns/shop/sa/db"}},
          .identities = {}};
}

}  // namespace

TEST_CASE("proxy process: the program gives up what it has, works, and drains at SIGTERM") {
  const test::TempFolder folder;
  auto child = start_program(folder);
  CHECK(child.agent->wait_for<worker::Hello>().revision == 0);
  child.agent->wait_for<worker::Ready>();
  const auto status = text_of(child.proc("status"));
  for (const char* line : {"Uid:\t65534\t65534\t65534\t65534", "Gid:\t65534\t65534\t65534\t65534", "Groups:\t \n",
                           "CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
                           "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"}) {
    CAPTURE(status);
    CAPTURE(line);
    CHECK(status.contains(line));
  }
  CHECK(std::filesystem::is_empty(child.proc("root")));
  CHECK(text_of(child.proc("mounts")).starts_with("none / tmpfs ro,nosuid,nodev,noexec"));
  for (const char* ns : {"net", "mnt", "ipc", "uts", "cgroup"})
    CHECK(std::filesystem::read_symlink(child.proc("ns/") + ns) !=
          std::filesystem::read_symlink("/proc/self/ns/" + std::string(ns)));

  // Threads start in the sandbox, and take what comes: here, who is known to nobody.
  child.agent->send_config(table_for(2));
  CHECK(child.agent->wait_for<worker::Configured>().cause.empty());
  const auto listener = test::listen_on_loopback();
  child.agent->send(worker::Listeners{.netns = kPod, .listeners = {{.direction = UP_INBOUND, .v6 = false}}},
                    {listener.get()});
  const auto client = test::connect_to(test::place_of(listener.get()));
  CHECK(test::end_of(client) == ECONNRESET);
  CHECK(child.log().contains(R"("flags":"NR")"));
  child.agent->wait_for_report([](const auto& report) { return report.accepted == 1; });

  const auto memory = text_of(child.proc("status"));
  CHECK(std::stoul(memory.substr(memory.find("VmRSS:") + 6)) < 12UL * 1024);  // KiB

  ::kill(child.pid(), SIGINT);
  ::kill(child.pid(), SIGHUP);
  ::kill(child.pid(), SIGTERM);
  CHECK(child.wait() == 0);
}

TEST_CASE("proxy process: without its descriptors the program says so") {
  Child child([](int, int log) {
    ::dup2(log, 2);
    for (int fd = 3; fd < 200; ++fd) ::close(fd);
    ::execl(UNDERPASS_PROXY, "underpass-proxy", nullptr);
    return 127;
  });
  CHECK(child.wait() == 2);  // and everything is written
  CHECK(child.log().starts_with(
      "underpass-proxy: descriptor 3 is not a bound unix socket of type SEQPACKET: underpassd starts this program"));
}

TEST_CASE("proxy process: connections are carried in the sandbox") {
  const auto server = test::listen_on_loopback();
  const auto target = test::place_of(server.get());
  const test::TempFolder folder;
  const auto control_listener = test::bind_control((folder / "control").string());
  test::require(::listen(control_listener.get(), 4) == 0, "listen");
  Child child([&](int control, int log) {
    boost::asio::io_context io(1);
    if (!sandbox::enter_sandbox({})) return 3;
    test::FakePeers peers;
    peers.lead_to(target);
    control::Worker worker(io,
                           {.listener = UniqueFd(::fcntl(control_listener.get(), F_DUPFD_CLOEXEC, 0)),
                            .agent = UniqueFd(::fcntl(control, F_DUPFD_CLOEXEC, 0)),
                            .access_log_fd = log},
                           peers, [&] { io.stop(); });
    worker.start();
    io.run();
    return 0;
  });
  child.agent->send_config(table_for(1));
  child.agent->wait_for<worker::Configured>();
  const auto listener = test::listen_on_loopback();
  child.agent->send(worker::Listeners{.netns = kPod, .listeners = {{.direction = UP_INBOUND, .v6 = false}}},
                    {listener.get()});
  for (int i = 0; i < 50; ++i) {
    auto client = test::connect_to(test::place_of(listener.get()));
    auto upstream = test::accept_one(server);
    const std::string payload(200'000, static_cast<char>('a' + i % 26));
    std::jthread sends([&] {
      test::send_text(client, payload);
      test::shut(client);
    });
    CHECK(test::receive_exactly(upstream, payload.size()) == payload);
    CHECK(test::end_of(upstream) == 0);
    if (i % 2 == 0) {
      test::reset(upstream);
      CHECK(test::end_of(client) == ECONNRESET);
    } else {
      upstream.reset();
      CHECK(test::end_of(client) == 0);
    }
  }
  // A later agent gets the listener, and the log goes where it says.
  auto later = std::make_unique<FakeAgent>(test::connect_to_control((folder / "control").string()));
  std::vector<UniqueFd> fds;
  CHECK(later->wait_for<worker::Listeners>(&fds).netns == kPod);
  CHECK(test::place_of(fds.at(0).get()).port == test::place_of(listener.get()).port);
  const UniqueFd access = folder.open_to_write("access");
  const UniqueFd log = folder.open_to_write("log");
  later->send(worker::Logs{}, {access.get(), log.get()});
  later->send(worker::Drain{});
  later->wait_for_report([](const auto& report) { return report.accepted == 50 && report.connections == 0; });
  CHECK(child.wait() == 0);
}
