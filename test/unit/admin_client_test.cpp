// SPDX-License-Identifier: Apache-2.0
// The client of the admin protocol, against the real server and against what only looks like one.
#include "agent/admin/client.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <boost/json/serialize.hpp>
#include <thread>

#include "agent/ipc/unix_listener.h"
#include "test/unit/admin_server_fixture.h"

using namespace underpass;
using Kind = admin::CallError::Kind;
namespace json = boost::json;

namespace {

constexpr std::chrono::seconds kPatience(20);
const json::object kRequest{{"command", "a"}};

// A server that accepts one client and sends it `text` whatever it asks; then it hangs up, unless it is to hold on.
class Impostor {
 public:
  explicit Impostor(std::string text, bool hold = false) {
    auto listener = ipc::UnixListener::bind(path()).value();
    fd_.reset(listener.release_fd());
    thread_ = std::thread([this, hold, text = std::move(text)] {
      pollfd wait{.fd = fd_.get(), .events = POLLIN, .revents = 0};
      if (::poll(&wait, 1, 20'000) != 1) return;
      client_.reset(::accept(fd_.get(), nullptr, nullptr));
      (void)!::write(client_.get(), text.data(), text.size());
      if (!hold) client_.reset();
    });
  }
  ~Impostor() { thread_.join(); }
  Impostor(const Impostor&) = delete;
  Impostor& operator=(const Impostor&) = delete;

  [[nodiscard]] std::string path() const { return folder_ / "admin.sock"; }

 private:
  test::TempFolder folder_;
  UniqueFd fd_;
  UniqueFd client_;
  std::thread thread_;
};

std::string text_of(const std::expected<json::value, admin::CallError>& answer) {
  return answer ? json::serialize(*answer) : "error: " + answer.error().message;
}

}  // namespace

TEST_CASE("admin client: gets results and the agent's own errors") {
  test::AdminServer server([](const json::object& request, const admin::Reply& reply) {
    const std::string_view command = request.at("command").as_string();
    if (command == "missing") return reply(admin::refuse(admin::ErrorCode::kNotFound, "Namespace x: not found"));
    if (command == "wrong") return reply(admin::refuse(admin::ErrorCode::kUsage, "namespace: not a name"));
    if (command == "broken") return reply(admin::refuse(admin::ErrorCode::kFailed, "cannot"));
    reply(json::array{1, "two", nullptr});
  });
  CHECK(text_of(admin::call(server.path(), {{"command", "x"}}, kPatience)) == R"([1,"two",null])");

  const auto kind_of = [&](const char* command) {
    return admin::call(server.path(), {{"command", command}}, kPatience).error().kind;
  };
  CHECK(kind_of("missing") == Kind::kNotFound);
  CHECK(kind_of("wrong") == Kind::kUsage);
  CHECK(kind_of("broken") == Kind::kFailed);
}

TEST_CASE("admin client: a large answer comes whole") {
  test::AdminServer server([](const json::object&, const admin::Reply& reply) {
    json::array rows;
    for (int i = 0; i < 200'000; ++i) rows.emplace_back("some connection, number " + std::to_string(i));
    reply(std::move(rows));
  });
  const auto answer = admin::call(server.path(), kRequest, kPatience);
  REQUIRE(answer);
  CHECK(answer->as_array().size() == 200'000);
}

TEST_CASE("admin client: nobody there") {
  test::TempFolder folder;
  const std::string path = folder / "admin.sock";
  SUBCASE("no socket") {
    const auto answer = admin::call(path, kRequest, kPatience);
    REQUIRE(!answer);
    CHECK(answer.error().kind == Kind::kUnreachable);
    CHECK(answer.error().message == "connect to " + path + ": No such file or directory");
  }
  SUBCASE("a dead agent's socket") {
    {
      REQUIRE(ipc::UnixListener::bind(path));
    }
    CHECK(admin::call(path, kRequest, kPatience).error().kind == Kind::kUnreachable);
  }
  SUBCASE("a path no socket can have") {
    CHECK(admin::call("/" + std::string(200, 'x'), kRequest, kPatience).error().kind == Kind::kUnreachable);
  }
}

TEST_CASE("admin client: what answers otherwise is no answer") {
  const auto error_of = [](const Impostor& impostor) {
    const auto answer = admin::call(impostor.path(), kRequest, kPatience);
    REQUIRE(!answer);
    CHECK(answer.error().kind == Kind::kNoAnswer);
    return answer.error().message.substr(impostor.path().size());
  };
  CHECK(error_of(Impostor("")) == ": the agent hung up without an answer");
  CHECK(error_of(Impostor("{\"result\":")) == ": the agent hung up without an answer");
  CHECK(error_of(Impostor("hello\n")).starts_with(": answer is not JSON"));
  CHECK(error_of(Impostor("[]\n")) == ": answer is not a JSON object");
  CHECK(error_of(Impostor("{}\n")) == R"(: answer has neither a "result" nor an "error")");
  CHECK(error_of(Impostor("{\"error\":{\"code\":1}}\n")) == R"(: answer has neither a "result" nor an "error")");
}

TEST_CASE("admin client: waits no longer than it is told") {
  SUBCASE("for an answer") {
    const Impostor silent("{\"resu", true);
    const auto answer = admin::call(silent.path(), kRequest, std::chrono::milliseconds(50));
    REQUIRE(!answer);
    CHECK(answer.error().kind == Kind::kNoAnswer);
    CHECK(answer.error().message == silent.path() + ": the agent did not answer in time");
  }
  SUBCASE("for a place in the backlog") {
    test::TempFolder folder;
    const std::string path = folder / "admin.sock";
    auto listener = ipc::UnixListener::bind(path);
    REQUIRE(listener);
    std::vector<UniqueFd> waiting;
    const sockaddr_un address = to_unix_address(path).value();
    do {
      waiting.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    } while (::connect(waiting.back().get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    const auto answer = admin::call(path, kRequest, std::chrono::milliseconds(50));
    REQUIRE(!answer);
    CHECK(answer.error().kind == Kind::kNoAnswer);
  }
}
