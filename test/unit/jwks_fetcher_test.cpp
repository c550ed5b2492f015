// SPDX-License-Identifier: Apache-2.0
// Key sets over real connections: fetched, rotated, kept through every kind of failure and through a restart.
#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

#include "agent/jwks/address_guard.h"
#include "agent/jwks/fetcher.h"
#include "test/unit/k8s_api_server.h"

namespace underpass::jwks {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::http_answer;
using test::run_until;
using test::ScriptedServer;
using test::TempFolder;

std::string set_of(const std::string& kid) { return R"({"keys":[{"kty":"RSA","kid":")" + kid + "\"}]}"; }

FetcherOptions quick() {
  FetcherOptions options;
  options.may_dial = [](const std::string&, const IpAddress&) { return Result<void>{}; };
  options.refresh = milliseconds(20);
  options.backoff = {.first = milliseconds(5), .most = milliseconds(20), .most_asked_for = milliseconds(40)};
  return options;
}

// A server, whose answers a test changes, and a fetcher that asks it.
struct Issuer {
  explicit Issuer(FetcherOptions options = quick())
      : server(io, [this](const std::string& head) { return reply(head); }), given(std::move(options)) {
    restart();
  }

  void restart() {
    fetcher.reset();
    fetcher = std::make_unique<Fetcher>(io, given, [this] { ++changes; });
  }
  [[nodiscard]] std::string uri(const std::string& path = "/keys") const {
    return "http://127.0.0.1:" + std::to_string(server.port()) + path;
  }
  std::string reply(const std::string& head) {
    const auto path = head.substr(4, head.find(' ', 4) - 4);
    const auto special = paths.find(path);
    return special == paths.end() ? answer : special->second;
  }
  void want(const std::vector<std::string>& uris, milliseconds timeout = seconds(5)) {
    std::set<Wanted> wanted;
    for (const auto& each : uris) wanted.insert({.uri = each, .timeout = timeout});
    fetcher->set_wanted(wanted);
  }
  template <typename Predicate>
  bool eventually(Predicate&& predicate) {
    return run_until(io, std::forward<Predicate>(predicate));
  }
  [[nodiscard]] std::string held(const std::string& path = "/keys") const {
    const auto found = fetcher->sets().find(uri(path));
    return found == fetcher->sets().end() ? "" : found->second;
  }
  [[nodiscard]] std::string problem() const {
    const auto status = fetcher->status();
    return status.empty() ? "" : status.front().problem;
  }

  boost::asio::io_context io;
  std::string answer = http_answer("200 OK", set_of("a"));
  std::map<std::string, std::string> paths;  // that are answered otherwise
  ScriptedServer server;
  FetcherOptions given;
  int changes = 0;
  std::unique_ptr<Fetcher> fetcher;
};

TEST_CASE("jwks: a set is fetched, told once, and fetched again") {
  Issuer issuer;
  issuer.want({issuer.uri("/keys?p=1")});
  CHECK(issuer.fetcher->sets().empty());
  CHECK(issuer.changes == 0);  // never from within the call
  REQUIRE(issuer.eventually([&] { return issuer.changes == 1; }));
  CHECK(issuer.held("/keys?p=1") == set_of("a"));
  REQUIRE(issuer.eventually([&] { return issuer.fetcher->counts().succeeded >= 3; }));
  CHECK(issuer.changes == 1);
  CHECK(issuer.server.heads().front().starts_with("GET /keys?p=1 HTTP/1.1\r\n"));
  CHECK_FALSE(issuer.server.heads().front().contains("Authorization"));
  issuer.answer = http_answer("200 OK", set_of("b"));
  REQUIRE(issuer.eventually([&] { return issuer.changes == 2; }));
  CHECK(issuer.held("/keys?p=1") == set_of("b"));
}

TEST_CASE("jwks: no failure empties what is there") {
  const auto html = http_answer("200 OK", "<html>Please log in</html>", "text/html");
  const auto longer = R"({"keys":[{"a":")" + std::string(1 << 20, 'a') + "\"}]}";
  const struct {
    std::string answer;
    std::string problem;
  } rows[] = {
      {http_answer("500 Internal Server Error", "oops"), "500 Internal Server Error"},
      {http_answer("404 Not Found", set_of("b")), "404 Not Found"},
      {http_answer("204 No Content", ""), "204 No Content"},
      {http_answer("302 Found", "", "text/html", "Location: http://169.254.169.254/\r\n"),
       "302 Found, which is not followed"},
      {html, "not JSON: syntax error"},
      {http_answer("200 OK", R"({"keys":[]})"), "a key set without keys"},
      {http_answer("200 OK", R"({"keys":"none"})"), "no key set: \"keys\" is missing, or not a list"},
      {http_answer("200 OK", ""), "not JSON: incomplete JSON"},
      {http_answer("200 OK", longer), "SERVER: the answer is longer than 1048576 bytes"},
      {"close HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"keys\":[",
       "SERVER: the connection was closed in the middle of an answer"},
      {"close SSH-2.0-OpenSSH\r\n\r\n", "SERVER: not an HTTP answer: bad version"},
      {"close ", "SERVER: the connection was closed in the middle of an answer"},
      {"", "no key set within 200 ms"},
  };
  Issuer issuer;
  issuer.want({issuer.uri()}, milliseconds(200));
  REQUIRE(issuer.eventually([&] { return issuer.changes == 1; }));
  const auto server = issuer.uri("");
  for (const auto& [answer, problem] : rows) {
    CAPTURE(answer.substr(0, 40));
    issuer.answer = answer;
    const auto before = issuer.fetcher->counts().failed;
    // The second failure has surely got this answer.
    REQUIRE(issuer.eventually([&] { return issuer.fetcher->counts().failed >= before + 2; }));
    auto said = issuer.problem();
    if (said.starts_with(server)) said.replace(0, server.size(), "SERVER");
    CHECK(said == problem);
    CHECK(issuer.held() == set_of("a"));
    CHECK(issuer.fetcher->status().front().since.time_since_epoch().count() != 0);
  }
  CHECK(issuer.changes == 1);
  issuer.answer = http_answer("200 OK", set_of("b"));
  REQUIRE(issuer.eventually([&] { return issuer.held() == set_of("b"); }));
  CHECK(issuer.problem().empty());
}

TEST_CASE("jwks: servers that speak as old ones do") {
  Issuer issuer;
  issuer.answer = "close HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + set_of("old");
  issuer.want({issuer.uri()});
  REQUIRE(issuer.eventually([&] { return issuer.changes == 1; }));
  CHECK(issuer.held() == set_of("old"));
}

TEST_CASE("jwks: a server that trickles is given up at the end of its time") {
  Issuer issuer;
  issuer.answer = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{\"keys\":[";
  issuer.want({issuer.uri()}, milliseconds(100));
  const auto begin = test::Clock::now();
  REQUIRE(issuer.eventually([&] { return issuer.fetcher->counts().failed == 1; }));
  CHECK(test::Clock::now() - begin >= milliseconds(100));
  CHECK(issuer.fetcher->sets().empty());
}

TEST_CASE("jwks: what is not wanted any more is forgotten, and what is on its way too") {
  Issuer issuer;
  issuer.paths["/slow"] = "";
  issuer.want({issuer.uri(), issuer.uri("/slow")}, seconds(60));  // longer than the test waits
  REQUIRE(issuer.eventually([&] { return issuer.changes == 1 && issuer.server.open_connections() >= 1; }));
  issuer.want({});
  CHECK(issuer.fetcher->sets().empty());
  CHECK(issuer.fetcher->status().empty());
  REQUIRE(issuer.eventually([&] { return issuer.server.open_connections() == 0 && issuer.changes == 2; }));
  CHECK(issuer.fetcher->counts().failed == 0);
}

TEST_CASE("jwks: so many at once, and so many in all") {
  auto options = quick();
  options.at_once = 2;
  options.most = 4;
  Issuer issuer(options);
  std::vector<std::string> uris;
  for (int i = 0; i < 4; ++i) {
    issuer.paths["/slow" + std::to_string(i)] = "";
    uris.push_back(issuer.uri("/slow" + std::to_string(i)));
  }
  uris.push_back(issuer.uri("/zzz"));
  issuer.want(uris, milliseconds(100));
  REQUIRE(issuer.eventually([&] { return issuer.server.open_connections() == 2; }));
  int most = 0;
  REQUIRE(issuer.eventually([&] {
    most = std::max(most, issuer.server.open_connections());
    return issuer.fetcher->counts().failed >= 4;
  }));
  CHECK(most == 2);
  CHECK(issuer.fetcher->status().back().problem == "more than 4 key sets are asked for");
  uris.erase(uris.begin());
  issuer.want(uris, milliseconds(100));
  REQUIRE(issuer.eventually([&] { return issuer.held("/zzz") == set_of("a"); }));
}

TEST_CASE("jwks: all sets together are bounded") {
  auto options = quick();
  options.most_bytes = set_of("a").size() + 10;
  Issuer issuer(options);
  issuer.want({issuer.uri("/1")});
  REQUIRE(issuer.eventually([&] { return issuer.changes == 1; }));
  issuer.want({issuer.uri("/1"), issuer.uri("/2")});
  REQUIRE(issuer.eventually([&] { return issuer.fetcher->counts().failed >= 1; }));
  CHECK(issuer.held("/1") == set_of("a"));
  CHECK(issuer.fetcher->sets().size() == 1);
  CHECK(issuer.fetcher->status().back().problem.starts_with("all key sets together are longer than"));
}

TEST_CASE("jwks: the next agent has what the last one fetched") {
  const TempFolder folder;
  auto options = quick();
  options.file = sets_path(folder.path().string());
  Issuer issuer(options);
  issuer.want({issuer.uri(), issuer.uri("/other")});
  REQUIRE(issuer.eventually([&] { return issuer.fetcher->sets().size() == 2; }));

  issuer.answer = http_answer("503 Service Unavailable", "");
  issuer.restart();
  CHECK(issuer.fetcher->sets().empty());  // nobody wants any yet
  const auto told = issuer.changes;
  issuer.want({issuer.uri()});
  CHECK(issuer.held() == set_of("a"));
  REQUIRE(issuer.eventually([&] { return issuer.changes == told + 1; }));
  REQUIRE(issuer.eventually([&] { return issuer.fetcher->counts().failed >= 1; }));
  CHECK(issuer.held() == set_of("a"));
  issuer.want({issuer.uri(), issuer.uri("/other"), issuer.uri("/never")});
  CHECK(issuer.held("/other") == set_of("a"));
  CHECK(issuer.held("/never").empty());
}

TEST_CASE("jwks: a file that is not understood is not believed, and written anew") {
  const struct {
    std::string text;
    std::string problem;
  } rows[] = {
      {"{", "not JSON: incomplete JSON"},
      {R"({"version":2,"sets":{}})", "version: 2: must be from 1 to 1"},
      {R"({"version":1})", "sets: is missing"},
      {R"({"version":1,"sets":{"http://a/":1}})", "sets.http://a/: not a text"},
      {R"({"version":1,"sets":{"http://a/":"{}"}})", "sets.http://a/: no key set: \"keys\" is missing, or not a list"},
  };
  for (const auto& [text, problem] : rows) {
    CAPTURE(text);
    const TempFolder folder;
    folder.write("jwks.json", text);
    auto options = quick();
    options.file = sets_path(folder.path().string());
    Issuer issuer(options);
    CHECK(issuer.fetcher->file_problem() == options.file + ": " + problem);
    issuer.want({issuer.uri()});
    REQUIRE(issuer.eventually([&] { return issuer.changes == 1; }));
    CHECK(issuer.fetcher->file_problem().empty());
    CHECK(load_sets(options.file)->at(issuer.uri()) == set_of("a"));
  }
}

TEST_CASE("jwks: the guard is asked about the address that is dialled, whatever the name was") {
  auto options = quick();
  options.may_dial = nullptr;  // as the agent has it
  Issuer issuer(options);
  const auto port = std::to_string(issuer.server.port());
  issuer.want({"http://127.0.0.1:" + port + "/", "http://localhost:" + port + "/",
               "http://[::ffff:127.0.0.1]:" + port + "/", "http://127.1:" + port + "/", "http://[::1]:" + port + "/"});
  REQUIRE(issuer.eventually([&] { return issuer.fetcher->counts().failed >= 8; }));
  CHECK(issuer.server.connections() == 0);
  CHECK(issuer.fetcher->counts().succeeded == 0);
  for (const auto& status : issuer.fetcher->status()) {
    CAPTURE(status.uri);
    const bool spelling = status.uri.contains("//127.1:");
    CHECK(status.problem.contains(spelling ? "not an IP address" : "is loopback, which is not asked for keys"));
    CHECK(status.is_plain == !spelling);
  }
}

TEST_CASE("jwks: a name of several addresses is dialled where it may be") {
  auto options = quick();
  std::vector<std::string> asked;
  options.may_dial = [&](const std::string& host, const IpAddress& address) -> Result<void> {
    asked.push_back(host + " " + address.to_string());
    if (!address.is_v4()) return fail("not this one");
    return {};
  };
  Issuer issuer(options);
  issuer.want({"http://localhost:" + std::to_string(issuer.server.port()) + "/"});
  REQUIRE(issuer.eventually([&] { return issuer.changes == 1; }));
  CHECK(asked.back() == "localhost 127.0.0.1");
}

}  // namespace
}  // namespace underpass::jwks
