// SPDX-License-Identifier: Apache-2.0
// The agent's end of the plugin's questions, asked by the plugin's own end and by clients that are nobody's.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <chrono>
#include <cstring>
#include <future>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "agent/cni/plugin_ask.h"
#include "agent/cni/server.h"
#include "test/support/eventually.h"
#include "test/support/io_thread.h"
#include "test/support/temp_folder.h"
#include "underpass/packet_socket.h"

namespace underpass::cni {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::IoThread;
using test::TempFolder;

const Request kRequest{.command = Command::kAdd,
                       .container_id = "c1",
                       .interface = "eth0",
                       .pod = {"shop", "web"},
                       .uid = "u-1",
                       .ips = {*IpAddress::parse("10.0.0.7")}};

// A server that answers what the test says, or keeps the questions.
class Listening {
 public:
  explicit Listening(ServerLimits limits = {}, std::optional<Answer> at_once = Answer{.ok = true, .reason = {}})
      : Listening(std::make_shared<TempFolder>(), {}, limits, std::move(at_once)) {}
  // On the ground of one that has handed its socket over.
  Listening(const Listening& other, UniqueFd handed)
      : Listening(other.folder_, std::move(handed), {}, Answer{.ok = true, .reason = {}}) {}
  ~Listening() { stop(); }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

  UniqueFd hand_over() {
    return io_.run([this] { return server_->hand_over(); });
  }
  void stop() {
    io_.run([this] {
      server_.reset();
      return true;
    });
  }

  [[nodiscard]] std::string path() const { return (*folder_ / "cni.sock").string(); }
  [[nodiscard]] std::size_t kept() {
    return io_.run([this] { return kept_.size(); });
  }
  void answer_kept(const Answer& answer) {
    io_.run([&] {
      for (auto& reply : std::exchange(kept_, {})) reply(answer);
      return true;
    });
  }
  void drop_kept() {
    io_.run([this] {
      kept_.clear();
      return true;
    });
  }
  std::vector<Question> asked() {
    return io_.run([this] { return std::exchange(asked_, {}); });
  }

 private:
  Listening(std::shared_ptr<TempFolder> folder, UniqueFd handed, ServerLimits limits, std::optional<Answer> at_once)
      : folder_(std::move(folder)), at_once_(std::move(at_once)) {
    server_ = io_.run([&] {
      auto made = Server::listen(
          io_.io, path(),
          [this](Question question, Server::Reply reply) { take(std::move(question), std::move(reply)); }, limits,
          std::move(handed));
      REQUIRE_MESSAGE(made, made.error().message);
      return std::move(*made);
    });
  }

  void take(Question question, Server::Reply reply) {
    asked_.push_back(std::move(question));
    if (at_once_)
      reply(*at_once_);
    else
      kept_.push_back(std::move(reply));
  }

  std::shared_ptr<TempFolder> folder_;
  std::optional<Answer> at_once_;
  std::vector<Question> asked_;
  std::vector<Server::Reply> kept_;
  IoThread io_;
  std::unique_ptr<Server> server_;
};

UniqueFd own_netns() { return UniqueFd(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)); }

Result<Answer> ask(const Listening& server, const Request& request = kRequest, std::chrono::milliseconds wait = 10s) {
  return ask_agent(server.path(), request, own_netns().get(), {.to_take = wait, .to_answer = wait});
}

UniqueFd connect_raw(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  test::require(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0, "connect");
  return fd;
}

// What the server says on this connection before it closes it; empty where it just closes.
std::string last_word(int fd) {
  for (;;) {
    pollfd waited{.fd = fd, .events = POLLIN, .revents = 0};
    REQUIRE(::poll(&waited, 1, 10'000) == 1);
    const auto packet = receive_packet(fd);
    if (!packet || !*packet) return "";
    if ((*packet)->text != kTaken) return (*packet)->text;
  }
}

TEST_CASE("cni server: a question arrives with its network namespace, and the answer goes back") {
  Listening server;
  const auto answer = ask(server);
  REQUIRE_MESSAGE(answer, answer.error().message);
  CHECK(*answer == Answer{.ok = true, .reason = {}});
  const auto asked = server.asked();
  REQUIRE(asked.size() == 1);
  CHECK(asked[0].request == kRequest);
  struct stat here{}, there{};
  const auto netns = own_netns();
  REQUIRE(::fstat(netns.get(), &here) == 0);
  REQUIRE(::fstat(asked[0].netns.get(), &there) == 0);
  CHECK(here.st_ino == there.st_ino);
  struct stat socket{};
  REQUIRE(::stat(server.path().c_str(), &socket) == 0);
  CHECK((socket.st_mode & ALLPERMS) == 0600);
}

TEST_CASE("cni server: no with a reason, and an answer that comes later") {
  Listening refusing({}, Answer{.ok = false, .reason = "policy is not written yet"});
  const auto no = ask(refusing);
  REQUIRE(no);
  CHECK(*no == Answer{.ok = false, .reason = "policy is not written yet"});

  Listening later({}, std::nullopt);
  auto asking = std::async(std::launch::async, [&] { return ask(later); });
  REQUIRE(eventually(10s, [&] { return later.kept() == 1; }));
  CHECK(asking.wait_for(0s) == std::future_status::timeout);
  later.answer_kept({.ok = true, .reason = {}});
  CHECK(asking.get());
}

TEST_CASE("cni server: a question that nobody answers is as if there were no agent") {
  Listening server({}, std::nullopt);
  auto dropped = std::async(std::launch::async, [&] { return ask(server); });
  REQUIRE(eventually(10s, [&] { return server.kept() == 1; }));
  server.drop_kept();
  CHECK(dropped.get().error().message == server.path() + ": it refuses the question: the agent dropped the question");

  auto ended = std::async(std::launch::async, [&] { return ask(server); });
  REQUIRE(eventually(10s, [&] { return server.kept() == 1; }));
  server.stop();
  CHECK(ended.get().error().message == server.path() + ": it refuses the question: the agent ends");
  CHECK(ask(server).error().message == server.path() + ": connect: No such file or directory");
  server.answer_kept({.ok = true, .reason = {}});  // to nobody

  const auto start = test::Clock::now();
  Listening hanging({}, std::nullopt);
  CHECK(ask(hanging, kRequest, 300ms).error().message == hanging.path() + ": no answer within 300 ms: it hangs");
  CHECK(test::Clock::now() - start < 5s);
}

TEST_CASE("cni server: who asks nothing or waits too long is let go, and leaves room for others") {
  Listening silent({.askers = 2, .question = 100ms, .answer = 150s});
  const auto one = connect_raw(silent.path());
  CHECK(last_word(one.get()) == R"({"refused":"no question came"})");

  Listening slow({.askers = 2, .question = 10s, .answer = 100ms}, std::nullopt);
  CHECK(ask(slow).error().message == slow.path() + ": it refuses the question: the agent has no answer");
}

TEST_CASE("cni server: only so many may ask at once; an asker that goes makes room") {
  Listening server({.askers = 2, .question = 30s, .answer = 150s}, std::nullopt);
  auto one = connect_raw(server.path());
  auto two = connect_raw(server.path());
  REQUIRE(send_packet(
      two.get(),
      encode_request(
          {.command = Command::kDel, .container_id = "c", .interface = "e", .pod = {"n", "p"}, .uid = "", .ips = {}})));
  REQUIRE(eventually(10s, [&] { return server.kept() == 1; }));
  CHECK(ask(server).error().message == server.path() + ": it refuses the question: it has 2 questions already");

  one.reset();  // before its question
  two.reset();  // after it
  std::vector<UniqueFd> next;
  CHECK(eventually(10s, [&] {
    next.clear();
    next.push_back(connect_raw(server.path()));
    pollfd waited{.fd = next.front().get(), .events = POLLIN, .revents = 0};
    return ::poll(&waited, 1, 50) == 0;  // not turned away
  }));
}

TEST_CASE("cni server: garbage is refused with its cause") {
  Listening server;
  const auto said_to = [&](const std::string& text, std::vector<int> fds) {
    const auto fd = connect_raw(server.path());
    REQUIRE(send_packet(fd.get(), text, fds));
    return last_word(fd.get());
  };
  const auto netns = own_netns();
  const UniqueFd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const auto add = encode_request(kRequest);
  CHECK(said_to("garbage", {}).starts_with(R"({"refused":"question: not JSON)"));
  CHECK(said_to("{}", {netns.get()}) == R"({"refused":"question: protocol: is missing"})");
  CHECK(said_to(add, {}) == R"({"refused":"question: its descriptor is no network namespace"})");
  CHECK(said_to(add, {file.get()}) == R"({"refused":"question: its descriptor is no network namespace"})");
  CHECK(said_to(add, {netns.get(), netns.get()}) == R"({"refused":"question: more than one descriptor"})");
  CHECK(server.asked().empty());

  std::mt19937 dice(3);
  for (int round = 0; round < 2000; ++round) {
    auto text = add;
    for (int bites = 0; bites < 3; ++bites) text[dice() % text.size()] = static_cast<char>(dice());
    const auto word = said_to(text, {netns.get()});
    REQUIRE(word.starts_with("{\""));
  }
  CHECK(ask(server));
}

TEST_CASE("cni server: who waits while the socket is handed over asks the next agent, and so does who comes then") {
  Listening first({}, std::nullopt);
  auto waiting = std::async(std::launch::async, [&] { return ask(first); });
  REQUIRE(eventually(10s, [&] { return first.kept() == 1; }));
  UniqueFd handed = first.hand_over();
  REQUIRE(handed);
  auto coming = std::async(std::launch::async, [&] { return ask(first); });
  first.stop();
  Listening second(first, std::move(handed));
  CHECK(waiting.get().value() == Answer{.ok = true, .reason = {}});
  CHECK(coming.get().value() == Answer{.ok = true, .reason = {}});
  CHECK(second.asked().size() == 2);
  CHECK(first.asked().size() == 1);
  // Where nobody follows, that is said.
  const auto path = second.path();
  static_cast<void>(second.hand_over());
  second.stop();
  CHECK(ask(second).error().message == path + ": connect: Connection refused");
}

TEST_CASE("cni server: a dead agent's socket is replaced, a living one's and other files are respected") {
  const TempFolder folder;
  const auto path = (folder / "cni.sock").string();
  IoThread io;
  const auto listen = [&] {
    return io.run([&] {
      return Server::listen(io.io, path,
                            [](Question, const Server::Reply& reply) { reply({.ok = true, .reason = {}}); });
    });
  };
  auto first = listen();
  REQUIRE(first);
  CHECK(listen().error().message ==
        "CNI socket: " + path + ": another agent answers there: stop it first, or choose another --run-dir");

  std::filesystem::create_hard_link(path, folder / "kept");  // as a killed agent leaves it
  io.run([&] {
    first->reset();
    return true;
  });
  std::filesystem::rename(folder / "kept", path);
  auto second = listen();
  REQUIRE_MESSAGE(second, second.error().message);
  CHECK(ask_agent(path, kRequest, own_netns().get(), {.to_take = 10s, .to_answer = 10s}));
  io.run([&] {
    second->reset();
    return true;
  });

  folder.write("cni.sock", "mine");
  CHECK(listen().error().message ==
        "CNI socket: " + path + ": exists and is not a socket: move it away, or choose another --run-dir");
}

}  // namespace
}  // namespace underpass::cni
