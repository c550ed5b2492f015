// SPDX-License-Identifier: Apache-2.0
// Single requests over real connections: what an answer comes to, which connection it takes, and with what credentials.
#include <doctest/doctest.h>

#include <optional>
#include <string>

#include "agent/k8s/api/api_client.h"
#include "test/unit/k8s_api_server.h"

namespace underpass::k8s {
namespace {

using std::chrono::milliseconds;
using test::http_answer;
using test::run_until;
using test::ScriptedServer;
using test::TempFolder;

constexpr ApiTimeouts kShort{.connect = milliseconds(300),
                             .handshake = milliseconds(300),
                             .response = milliseconds(300),
                             .request = milliseconds(300)};

struct Talk {
  explicit Talk(ScriptedServer::Script script, const std::string& user = "", ApiTimeouts timeouts = {})
      : server(io, std::move(script)) {
    auto opened = ApiClient::open(
        io, {.kubeconfig = server.kubeconfig(folder, user), .user_agent = "test/1 (node-1)", .timeouts = timeouts});
    REQUIRE_MESSAGE(opened, opened.error().message);
    client = std::move(*opened);
  }

  // "200 reason" or what is wrong, without the server's address.
  std::string ask(const std::string& method = "GET", const std::string& path = "/x",
                  const boost::json::value& body = nullptr) {
    std::optional<Result<ApiAnswer>> answer;
    client->request(method, path, body, [&](Result<ApiAnswer> got) { answer = std::move(got); });
    CHECK_FALSE(answer);  // never from within the call
    REQUIRE(run_until(io, [&] { return answer.has_value(); }));
    if (*answer) return std::to_string((*answer)->status) + " " + (*answer)->reason;
    auto text = answer->error().message;
    const auto at = text.find(client->server());
    if (at != std::string::npos) text.replace(at, client->server().size(), "SERVER");
    return text;
  }

  TempFolder folder;
  boost::asio::io_context io;
  ScriptedServer server;
  std::unique_ptr<ApiClient> client;
};

TEST_CASE("client: what an answer comes to") {
  const struct {
    std::string answer;
    std::string expected;
  } rows[] = {
      {http_answer("200 OK", "{}"), "200 "},
      {http_answer("409 Conflict", R"({"kind":"Status","reason":"AlreadyExists"})"), "409 AlreadyExists"},
      {http_answer("204 No Content", ""), "204 "},
      {http_answer("502 Bad Gateway", "<html>", "text/html"),
       "SERVER: GET /x: 502 Bad Gateway: not an API server's answer (\"text/html\"): \"<html>\""},
      {http_answer("302 Found", "", "text/html", "Location: https://elsewhere/\r\n"),
       "SERVER: GET /x: 302 Found: redirects to \"https://elsewhere/\", which is not followed"},
      {"close HTTP/1.0 200 OK\r\n\r\n{}", "GET /x: SERVER: answers HTTP/1.0: not an API server"},
      {"close ", "GET /x: SERVER: the connection was closed in the middle of an answer"},
      {"close HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
       "GET /x: SERVER: the connection was closed in the middle of an answer"},
      {"garbage\r\n\r\n", "GET /x: SERVER: not an HTTP answer: bad version"},
      {"", "GET /x: SERVER: receive: no answer in time"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.answer);
    Talk talk([&](const std::string&) { return row.answer; }, "", kShort);
    CHECK(talk.ask() == row.expected);
  }
}

TEST_CASE("client: an answer that is longer than any we ask for is refused") {
  Talk talk([](const std::string&) { return http_answer("200 OK", std::string(std::size_t{9} << 20, ' ')); });
  CHECK(talk.ask() == "GET /x: SERVER: the answer is longer than 8388608 bytes");
}

TEST_CASE("client: one connection after another, and one that the server closed meanwhile") {
  int left = 2;
  Talk talk([&](const std::string&) { return (--left == 0 ? "close " : "") + http_answer("200 OK", "{}"); });
  CHECK(talk.ask() == "200 ");
  CHECK(talk.ask() == "200 ");
  CHECK(talk.server.connections() == 1);
  CHECK(talk.ask("POST", "/y", {{"a", 1}}) == "200 ");
  CHECK(talk.server.connections() == 2);
}

TEST_CASE("client: what is sent") {
  Talk talk([](const std::string&) { return http_answer("200 OK", "{}"); }, "token: secret");
  CHECK(talk.ask("PATCH", "/api?x=1", {{"a", 1}}) == "200 ");
  const auto& head = talk.server.heads().front();
  CHECK(head.starts_with("PATCH /api?x=1 HTTP/1.1\r\n"));
  CHECK(head.contains("\r\nAuthorization: Bearer secret\r\n"));
  CHECK(head.contains("\r\nUser-Agent: test/1 (node-1)\r\n"));
  CHECK(head.contains("\r\nContent-Type: application/merge-patch+json\r\n"));
  CHECK(head.contains("\r\nAccept-Encoding: gzip\r\n"));
}

TEST_CASE("client: a token that was refused is read again, once") {
  std::string good = "new";
  const auto script = [&](const std::string& head) {
    return head.contains("Bearer " + good + "\r\n") ? http_answer("200 OK", "{}")
                                                    : http_answer("401 Unauthorized", R"({"reason":"Unauthorized"})");
  };
  const TempFolder tokens;
  tokens.write("token", "old");
  Talk talk(script, "tokenFile: " + (tokens / "token").string());
  const auto stamp = std::filesystem::last_write_time(tokens / "token");
  {
    const UniqueFd fd(::open((tokens / "token").c_str(), O_WRONLY | O_CLOEXEC));
    test::write_all(fd.get(), "new");
    std::filesystem::last_write_time(tokens / "token", stamp);
  }
  CHECK(talk.ask() == "200 ");
  good = "other";
  CHECK(talk.ask() == "401 Unauthorized");
  CHECK(talk.server.connections() == 1);
}

TEST_CASE("client: nobody listens, and the client goes") {
  Talk talk([](const std::string&) { return std::string(); });
  bool called = false;
  talk.client->request("GET", "/x", nullptr, [&](const Result<ApiAnswer>&) { called = true; });
  REQUIRE(run_until(talk.io, [&] { return !talk.server.heads().empty(); }));
  talk.client.reset();
  talk.io.restart();
  talk.io.poll();
  CHECK_FALSE(called);

  const TempFolder folder;
  boost::asio::io_context io;
  std::string config;
  {
    const ScriptedServer gone(io, nullptr);
    config = gone.kubeconfig(folder);
  }
  const auto client = ApiClient::open(io, {.kubeconfig = config, .user_agent = "test"});
  REQUIRE(client);
  std::string problem;
  (*client)->request("GET", "/x", nullptr, [&](const Result<ApiAnswer>& got) { problem = got.error().message; });
  REQUIRE(run_until(io, [&] { return !problem.empty(); }));
  CHECK(problem.ends_with("Connection refused"));
}

}  // namespace
}  // namespace underpass::k8s
