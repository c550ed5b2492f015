// SPDX-License-Identifier: Apache-2.0
// The admin socket, with clients of every kind of manners.
#include "agent/admin/server.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json/serialize.hpp>
#include <latch>
#include <thread>
#include <vector>

#include "agent/admin/client.h"
#include "agent/ipc/unix_listener.h"
#include "test/unit/admin_server_fixture.h"

using namespace underpass;
using test::AdminServer;
using test::RawClient;
namespace json = boost::json;

namespace {

constexpr std::chrono::seconds kPatience(20);

// Answers its own request.
const admin::Handler kEcho = [](const json::object& request, const admin::Reply& reply) { reply(request); };

// Keeps replies until it is told to give them.
struct Later {
  std::vector<admin::Reply> replies;  // touched on the server's thread only
  std::latch asked{1};

  admin::Handler handler() {
    return [this](const json::object&, admin::Reply reply) {
      replies.push_back(std::move(reply));
      asked.count_down();
    };
  }
};

mode_t mode_of(const std::string& path) {
  struct stat found{};
  return ::lstat(path.c_str(), &found) == 0 ? found.st_mode : 0;
}

std::string error_of(const Result<std::unique_ptr<admin::Server>>& server) {
  return server ? "" : server.error().message;
}

}  // namespace

TEST_CASE("admin server: several requests on one connection are answered in order") {
  AdminServer server(kEcho);
  RawClient client(server.path());
  CHECK(client.ask(R"({"command":"a"})") == R"({"result":{"command":"a"}})");
  client.send("{\"command\":\"b\"}\n\n  \n{\"command\":\"c\"}\r\n");
  CHECK(client.read_line() == R"({"result":{"command":"b"}})");
  CHECK(client.read_line() == R"({"result":{"command":"c"}})");
}

TEST_CASE("admin server: a request may come byte by byte") {
  AdminServer server(kEcho);
  RawClient client(server.path());
  for (const char c : std::string("{\"command\":\"slow\"}\n")) client.send({&c, 1});
  CHECK(client.read_line() == R"({"result":{"command":"slow"}})");
}

TEST_CASE("admin server: what is no request is refused, and the connection goes on") {
  AdminServer server(kEcho);
  RawClient client(server.path());
  for (const char* garbage : {"nonsense", "[]", "{}", R"({"command":1})", R"({"command":""})", "{\"command\":\"a\"",
                              "\x01\x02\xff", R"({"command":"a"} trailing)"}) {
    CAPTURE(garbage);
    const auto answer = client.ask(garbage);
    REQUIRE(answer);
    CHECK(answer->starts_with(R"({"error":{"code":"usage","message":"request )"));
  }
  CHECK(client.ask(R"({"command":"a"})") == R"({"result":{"command":"a"}})");
}

TEST_CASE("admin server: deeply nested JSON is refused, not followed") {
  AdminServer server(kEcho);
  RawClient client(server.path());
  const auto answer = client.ask(R"({"command":"a","x":)" + std::string(20'000, '['));
  REQUIRE(answer);
  CHECK(answer->starts_with(R"({"error":{"code":"usage")"));
}

TEST_CASE("admin server: a request of exactly the limit is served, a longer one ends the connection") {
  AdminServer server(kEcho, {.request_bytes = 200});
  const auto request = [](std::size_t size) {
    const std::string frame = R"({"command":""})";
    return R"({"command":")" + std::string(size - frame.size(), 'x') + R"("})";
  };
  RawClient fitting(server.path());
  CHECK(fitting.ask(request(199)).value().starts_with(R"({"result")"));

  RawClient longer(server.path());
  CHECK(longer.ask(request(200)) == R"({"error":{"code":"usage","message":"request is longer than 200 bytes"}})");
  CHECK(longer.read_line() == std::nullopt);

  RawClient endless(server.path());
  endless.send(std::string(5000, 'x'));
  CHECK(endless.read_line().value().starts_with(R"({"error":{"code":"usage")"));
  CHECK(endless.read_line() == std::nullopt);
}

TEST_CASE("admin server: a client that has shut its writing side down gets its answers") {
  SUBCASE("with a line feed") {
    AdminServer server(kEcho);
    RawClient client(server.path());
    client.send("{\"command\":\"a\"}\n");
    client.shut_writing();
    CHECK(client.read_line() == R"({"result":{"command":"a"}})");
    CHECK(client.read_line() == std::nullopt);
  }
  SUBCASE("without one") {
    AdminServer server(kEcho);
    RawClient client(server.path());
    client.send(R"({"command":"a"})");
    client.shut_writing();
    CHECK(client.read_line() == R"({"result":{"command":"a"}})");
    CHECK(client.read_line() == std::nullopt);
  }
  SUBCASE("while the command still runs") {
    Later later;
    AdminServer server(later.handler());
    RawClient client(server.path());
    client.send("{\"command\":\"a\"}\n");
    client.shut_writing();
    later.asked.wait();
    server.thread.run([&] { later.replies.at(0)(json::value("done")); });
    CHECK(client.read_line() == R"({"result":"done"})");
    server.thread.run([&] { later.replies.clear(); });
  }
}

TEST_CASE("admin server: a slow command does not keep other clients waiting") {
  Later later;
  AdminServer server(admin::dispatch({{"slow", later.handler()}, {"echo", kEcho}}));
  RawClient slow(server.path());
  slow.send("{\"command\":\"slow\"}\n");
  later.asked.wait();
  RawClient quick(server.path());
  CHECK(quick.ask(R"({"command":"echo"})") == R"({"result":{"command":"echo"}})");
  server.thread.run([&] {
    const admin::Reply reply = std::move(later.replies.at(0));
    reply(json::value(1));
    reply(json::value(2));  // only the first counts
    later.replies.clear();
  });
  CHECK(slow.read_line() == R"({"result":1})");
  CHECK(slow.ask(R"({"command":"echo"})") == R"({"result":{"command":"echo"}})");
}

TEST_CASE("admin server: a command that takes longer than the idle time is not idle") {
  Later later;
  AdminServer server(later.handler(), {.idle = std::chrono::milliseconds(50)});
  RawClient client(server.path());
  client.send("{\"command\":\"slow\"}\n");
  later.asked.wait();
  // A second client's idle time passes meanwhile.
  RawClient other(server.path());
  CHECK(other.is_hung_up());
  server.thread.run([&] {
    later.replies.at(0)(json::value("done"));
    later.replies.clear();
  });
  CHECK(client.read_line() == R"({"result":"done"})");
}

TEST_CASE("admin server: a handler that forgets to answer is answered for") {
  AdminServer server([](const json::object&, const admin::Reply&) {});
  RawClient client(server.path());
  CHECK(client.ask(R"({"command":"a"})") ==
        R"({"error":{"code":"failed","message":"the agent dropped the command without an answer"}})");
}

TEST_CASE("admin server: a late answer to a client that left, or from a server that stopped, does nothing") {
  Later later;
  AdminServer server(later.handler());
  RawClient leaving(server.path());
  leaving.send("{\"command\":\"a\"}\n");
  later.asked.wait();
  leaving.close();
  server.thread.run([&] { later.replies.at(0)(json::value("too late")); });

  RawClient staying(server.path());
  staying.send("{\"command\":\"b\"}\n");
  while (server.thread.run([&] { return later.replies.size(); }) < 2) std::this_thread::yield();
  server.stop();
  CHECK(staying.read_line() == std::nullopt);
  server.thread.run([&] {
    later.replies.at(1)(json::value("too late"));
    later.replies.clear();
  });
}

TEST_CASE("admin server: idle clients and those that dawdle over a request are closed") {
  AdminServer server(kEcho, {.idle = std::chrono::milliseconds(50)});
  RawClient silent(server.path());
  CHECK(silent.read_line() == std::nullopt);
  RawClient dawdling(server.path());
  dawdling.send(R"({"comm)");
  CHECK(dawdling.read_line() == std::nullopt);
}

TEST_CASE("admin server: a client that never reads its answer is closed, and nobody else waits for it") {
  const admin::Handler large = [](const json::object&, const admin::Reply& reply) {
    reply(json::value(std::string(32UL << 20, 'x')));
  };
  AdminServer server(admin::dispatch({{"large", large}, {"echo", kEcho}}), {.write = std::chrono::milliseconds(200)});
  RawClient stubborn(server.path());
  stubborn.send("{\"command\":\"large\"}\n");
  RawClient other(server.path());
  CHECK(other.ask(R"({"command":"echo"})") == R"({"result":{"command":"echo"}})");
  CHECK(stubborn.is_hung_up());
}

TEST_CASE("admin server: one client too many is told so") {
  AdminServer server(kEcho, {.connections = 2});
  RawClient first(server.path());
  RawClient second(server.path());
  CHECK(second.ask(R"({"command":"a"})"));
  RawClient third(server.path());
  CHECK(third.read_line() == R"({"error":{"code":"failed","message":"too many clients (2): try again"}})");
  CHECK(third.read_line() == std::nullopt);
  first.close();
  // The place is free as soon as the server has noticed.
  const auto end = std::chrono::steady_clock::now() + kPatience;
  bool served = false;
  while (!served && std::chrono::steady_clock::now() < end) {
    RawClient next(server.path());
    try {
      served = next.ask(R"({"command":"a"})") == R"({"result":{"command":"a"}})";
    } catch (const std::runtime_error&) {  // turned away before the request was sent
    }
  }
  CHECK(served);
}

TEST_CASE("admin server: the socket is the owner's alone, and goes with the server") {
  AdminServer server(kEcho);
  CHECK(mode_of(server.path()) == (S_IFSOCK | 0600));
  server.stop();
  CHECK(mode_of(server.path()) == 0);
}

TEST_CASE("admin server: the folder is made where it is missing") {
  test::TempFolder folder;
  test::IoThread thread;
  auto server = thread.run([&] { return admin::Server::listen(thread.io, folder / "deep/run/admin.sock", kEcho); });
  CHECK(error_of(server) == "");
  thread.run([&] { server = fail("gone"); });
}

TEST_CASE("admin server: a socket that a dead agent left is replaced") {
  test::TempFolder folder;
  test::IoThread thread;
  const std::string path = folder / "admin.sock";
  {
    auto dead = ipc::UnixListener::bind(path);
    REQUIRE(dead);
  }  // closed, never removed
  REQUIRE(S_ISSOCK(mode_of(path)));
  auto server = thread.run([&] { return admin::Server::listen(thread.io, path, kEcho); });
  CHECK(error_of(server) == "");
  CHECK(RawClient(path).ask(R"({"command":"a"})") == R"({"result":{"command":"a"}})");
  thread.run([&] { server = fail("gone"); });
}

TEST_CASE("admin server: a path that is taken is left alone, with what to do about it") {
  test::TempFolder folder;
  test::IoThread thread;
  const std::string path = folder / "admin.sock";
  const auto try_listen = [&] {
    return thread.run([&] { return error_of(admin::Server::listen(thread.io, path, kEcho)); });
  };

  SUBCASE("by a live agent") {
    AdminServer other(kEcho);
    const std::string taken = other.path();
    const std::string error = thread.run([&] { return error_of(admin::Server::listen(thread.io, taken, kEcho)); });
    CHECK(error ==
          "admin socket: " + taken + ": another agent answers there: stop it first, or choose another --run-dir");
    CHECK(RawClient(taken).ask(R"({"command":"a"})") == R"({"result":{"command":"a"}})");
  }
  SUBCASE("by a live agent that is too busy to accept") {
    auto busy = ipc::UnixListener::bind(path);
    REQUIRE(busy);
    std::vector<UniqueFd> waiting;
    const sockaddr_un address = to_unix_address(path).value();
    do {
      waiting.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    } while (::connect(waiting.back().get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    REQUIRE(errno == EAGAIN);
    CHECK(try_listen().ends_with("another agent answers there: stop it first, or choose another --run-dir"));
  }
  SUBCASE("by something that is no socket") {
    folder.write("admin.sock", "precious");
    CHECK(try_listen().ends_with("exists and is not a socket: move it away, or choose another --run-dir"));
    CHECK(S_ISREG(mode_of(path)));
  }
  SUBCASE("by an agent that is just starting") {
    const UniqueFd lock(::open(folder.path().c_str(), O_RDONLY | O_DIRECTORY));
    REQUIRE(::flock(lock.get(), LOCK_EX) == 0);
    CHECK(try_listen().ends_with("another agent is starting there"));
  }
}

TEST_CASE("admin server: of many that start at once over a stale socket, one serves") {
  test::TempFolder folder;
  const std::string path = folder / "admin.sock";
  {
    REQUIRE(ipc::UnixListener::bind(path));
  }
  constexpr int kStarters = 8;
  std::latch start(kStarters);
  std::vector<Result<ipc::UnixListener>> listeners;
  for (int i = 0; i < kStarters; ++i) listeners.emplace_back(fail("not tried"));
  std::vector<std::thread> threads;
  for (auto& listener : listeners) {
    threads.emplace_back([&] {
      start.arrive_and_wait();
      listener = ipc::UnixListener::bind(path);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(std::ranges::count_if(listeners, [](const auto& listener) { return listener.has_value(); }) == 1);
}

TEST_CASE("admin server: what has taken the path since is not removed with the server") {
  AdminServer server(kEcho);
  REQUIRE(::unlink(server.path().c_str()) == 0);
  server.folder->write("admin.sock", "another's");
  server.stop();
  CHECK(S_ISREG(mode_of(server.path())));
}

TEST_CASE("admin server: a path that is too long is refused") {
  test::IoThread thread;
  const std::string path = "/tmp/" + std::string(120, 'x');
  CHECK(thread.run([&] { return error_of(admin::Server::listen(thread.io, path, kEcho)); })
            .ends_with("too long for a unix socket (at most 107 bytes): choose a shorter --run-dir"));
}

TEST_CASE("admin dispatch: an unknown command is refused with those there are") {
  AdminServer server(admin::dispatch({{"pods", kEcho}, {"status", kEcho}}));
  RawClient client(server.path());
  CHECK(client.ask(R"({"command":"nods"})").value().contains("\"no such command: nods (there are: pods, status)\""));
}

TEST_CASE("admin server: a socket that is handed over refuses nobody, and stays the next one's") {
  test::TempFolder folder;
  test::IoThread thread;
  const std::string path = folder / "admin.sock";
  const auto listen = [&](UniqueFd handed) {
    return thread.run([&] { return admin::Server::listen(thread.io, path, kEcho, {}, std::move(handed)); });
  };
  auto first = listen({});
  REQUIRE_MESSAGE(first, error_of(first));
  RawClient before(path);
  CHECK(before.ask(R"({"command":"a"})") == R"({"result":{"command":"a"}})");

  UniqueFd handed = thread.run([&] { return (*first)->hand_over(); });
  REQUIRE(handed);
  CHECK(before.ask(R"({"command":"b"})") == R"({"result":{"command":"b"}})");
  RawClient between(path);  // waits in the backlog
  between.send("{\"command\":\"c\"}\n");
  thread.run([&] { first = fail("gone"); });
  CHECK(before.read_line() == std::nullopt);
  REQUIRE(S_ISSOCK(mode_of(path)));

  auto second = listen(std::move(handed));
  REQUIRE_MESSAGE(second, error_of(second));
  CHECK(between.read_line() == R"({"result":{"command":"c"}})");
  CHECK(RawClient(path).ask(R"({"command":"d"})") == R"({"result":{"command":"d"}})");
  CHECK(mode_of(path) == (S_IFSOCK | S_IRUSR | S_IWUSR));
  thread.run([&] { second = fail("gone"); });
  CHECK(mode_of(path) == 0);
}

TEST_CASE("admin server: what is handed over and is not its socket is closed, and another made") {
  test::TempFolder folder;
  test::IoThread thread;
  const std::string path = folder / "admin.sock";
  const auto serves = [&](UniqueFd handed) {
    const int was = handed.get();
    const auto inode = [&] {
      struct stat found{};
      return ::fstat(was, &found) == 0 ? found.st_ino : 0;
    };
    const auto before = inode();
    auto server = thread.run([&] { return admin::Server::listen(thread.io, path, kEcho, {}, std::move(handed)); });
    REQUIRE_MESSAGE(server, error_of(server));
    CHECK(inode() != before);
    CHECK(RawClient(path).ask(R"({"command":"a"})") == R"({"result":{"command":"a"}})");
    thread.run([&] { server = fail("gone"); });
  };
  const auto made_at = [](const std::string& at, ipc::SocketType type = ipc::SocketType::kStream) {
    return UniqueFd(ipc::UnixListener::bind(at, type).value().release_fd());
  };
  serves(made_at(folder / "elsewhere.sock"));
  serves(made_at(path, ipc::SocketType::kPackets));
  serves(UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  serves(UniqueFd(::eventfd(0, EFD_CLOEXEC)));
  auto removed = made_at(path);
  REQUIRE(::unlink(path.c_str()) == 0);
  serves(std::move(removed));
}

TEST_CASE("admin server: a path that somebody else has taken is not handed over") {
  test::TempFolder folder;
  test::IoThread thread;
  const std::string path = folder / "admin.sock";
  auto server = thread.run([&] { return admin::Server::listen(thread.io, path, kEcho); });
  REQUIRE(::unlink(path.c_str()) == 0);
  CHECK_FALSE(thread.run([&] { return (*server)->hand_over(); }));
  thread.run([&] { server = fail("gone"); });
}

TEST_CASE("admin server: descriptors beside an answer") {
  AdminServer server([&](const json::object& request, const admin::Reply& reply) {
    std::vector<UniqueFd> fds;
    for (std::int64_t i = 0; i < request.at("count").as_int64(); ++i)
      fds.emplace_back(::eventfd(static_cast<unsigned>(i + 7), EFD_CLOEXEC));
    reply(request, std::move(fds));
  });
  for (const std::int64_t count : {0, 1, 4}) {
    const json::object request{{"command", "x"}, {"count", count}};
    auto answer = admin::call_for_descriptors(server.path(), request, kPatience);
    REQUIRE(answer);
    CHECK(answer->answer == json::value(request));
    REQUIRE(answer->descriptors.size() == static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < answer->descriptors.size(); ++i) {
      eventfd_t value = 0;
      REQUIRE(::eventfd_read(answer->descriptors[i].get(), &value) == 0);
      CHECK(value == i + 7);
      CHECK((::fcntl(answer->descriptors[i].get(), F_GETFD) & FD_CLOEXEC) != 0);
    }
    // Who does not ask for them is not left with them.
    CHECK(admin::call(server.path(), request, kPatience));
  }
}
