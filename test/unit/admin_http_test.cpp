// SPDX-License-Identifier: Apache-2.0
// The HTTP ports, over real TCP on loopback.
#include "agent/admin/http.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <string>

#include "test/unit/admin_server_fixture.h"

using namespace underpass;
using admin::HostPort;

namespace {

class HttpFixture {
 public:
  explicit HttpFixture(admin::Pages pages, const char* host = "127.0.0.1", admin::HttpLimits limits = {}) {
    auto server = thread.run([&] { return admin::HttpServer::listen(thread.io, {host, 0}, std::move(pages), limits); });
    if (!server) throw std::runtime_error(server.error().message);
    server_ = std::move(*server);
    local = server_->local();
  }
  ~HttpFixture() {
    thread.run([this] { server_.reset(); });
  }
  HttpFixture(const HttpFixture&) = delete;
  HttpFixture& operator=(const HttpFixture&) = delete;

  test::IoThread thread;
  HostPort local;

 private:
  std::unique_ptr<admin::HttpServer> server_;
};

UniqueFd connect_to(const HostPort& at) {
  const bool v6 = at.host.contains(':');
  UniqueFd fd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{.tv_sec = test::kDeadline.count(), .tv_usec = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  sockaddr_in6 six{};
  sockaddr_in four{};
  six.sin6_family = AF_INET6;
  four.sin_family = AF_INET;
  six.sin6_port = four.sin_port = htons(at.port);
  ::inet_pton(AF_INET6, at.host.c_str(), &six.sin6_addr);
  ::inet_pton(AF_INET, at.host.c_str(), &four.sin_addr);
  const auto* address = v6 ? reinterpret_cast<const sockaddr*>(&six) : reinterpret_cast<const sockaddr*>(&four);
  test::require(::connect(fd.get(), address, v6 ? sizeof(six) : sizeof(four)) == 0, "connect");
  return fd;
}

void send_text(const UniqueFd& fd, std::string_view text) {
  test::require(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL) >= 0, "send");
}

// Until `end` has been seen, or the connection's end.
std::string read_until(const UniqueFd& fd, std::string_view end = "") {
  std::string text;
  char chunk[4096];
  while (end.empty() || !text.contains(end)) {
    const ssize_t got = ::recv(fd.get(), chunk, sizeof(chunk), 0);
    if (got == 0 || (got < 0 && errno == ECONNRESET)) break;
    test::require(got > 0, "recv");
    text.append(chunk, static_cast<std::size_t>(got));
  }
  return text;
}

std::string ask(const HostPort& at, std::string_view request) {
  const UniqueFd fd = connect_to(at);
  send_text(fd, request);
  return read_until(fd);
}

std::string get(const HostPort& at, const std::string& target, const std::string& method = "GET") {
  return ask(at, method + " " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
}

admin::Pages two_pages() {
  admin::Pages pages;
  pages.emplace("/a", [] { return admin::Page{.body = "hello\n"}; });
  pages.emplace("/throws", []() -> admin::Page { throw std::runtime_error("no luck"); });
  return pages;
}

}  // namespace

TEST_CASE("http: HOST:PORT as flags give it") {
  CHECK(admin::parse_host_port("0.0.0.0:15020").value() == HostPort{"0.0.0.0", 15020});
  CHECK(admin::parse_host_port("[::]:0").value() == HostPort{"::", 0});
  CHECK(admin::parse_host_port("[fd00::1]:65535").value() == HostPort{"fd00::1", 65535});
  CHECK(admin::parse_host_port("localhost:1").value() == HostPort{"127.0.0.1", 1});
  CHECK(HostPort{"fd00::1", 80}.to_string() == "[fd00::1]:80");
  CHECK(HostPort{"10.0.0.1", 80}.to_string() == "10.0.0.1:80");

  const auto error_of = [](std::string_view text) {
    const auto parsed = admin::parse_host_port(text);
    return parsed ? "" : parsed.error().message;
  };
  constexpr const char* kHint = " (write HOST:PORT, as in 0.0.0.0:15020 or [::]:15020)";
  CHECK(error_of("") == std::string("\"\": has no port") + kHint);
  CHECK(error_of("15020") == std::string("\"15020\": has no port") + kHint);
  CHECK(error_of(":15020") == std::string("\":15020\": has no host") + kHint);
  CHECK(error_of("::1:15020") == std::string("\"::1:15020\": an IPv6 address stands in brackets") + kHint);
  CHECK(error_of("[10.0.0.1]:1") == std::string("\"[10.0.0.1]:1\": brackets are for IPv6 addresses") + kHint);
  CHECK(error_of("example:1") == std::string("\"example:1\": host is not an IP address") + kHint);
  for (const char* port : {"", "x", "-1", "65536", "80x", " 80", "+80"}) {
    CAPTURE(port);
    CHECK(error_of(std::string("0.0.0.0:") + port).contains("port is not a number from 0 to 65535"));
  }
}

TEST_CASE("http: a page, its head, and what is no page") {
  const HttpFixture server(two_pages());
  CHECK(server.local.port != 0);
  CHECK(get(server.local, "/a") ==
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: 6\r\n\r\n"
        "hello\n");
  CHECK(get(server.local, "/a?x=1").ends_with("hello\n"));
  CHECK(get(server.local, "/a", "HEAD") ==
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: 6\r\n\r\n");
  CHECK(get(server.local, "/b").starts_with("HTTP/1.1 404 Not Found\r\n"));
  CHECK(get(server.local, "/").starts_with("HTTP/1.1 404 Not Found\r\n"));
  const std::string refused = get(server.local, "/a", "DELETE");
  CHECK(refused.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"));
  CHECK(refused.contains("Allow: GET, HEAD\r\n"));
  CHECK(get(server.local, "/throws").starts_with("HTTP/1.1 500 Internal Server Error\r\n"));
}

TEST_CASE("http: IPv6") {
  const HttpFixture server(two_pages(), "::1");
  CHECK(server.local.host == "::1");
  CHECK(get(server.local, "/a").ends_with("hello\n"));
}

TEST_CASE("http: a connection serves several requests, pipelined ones too") {
  const HttpFixture server(two_pages());
  const UniqueFd fd = connect_to(server.local);
  send_text(fd,
            "GET /a HTTP/1.1\r\nHost: x\r\n\r\nHEAD /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::string text = read_until(fd, "no such page\n");
  CHECK(text.contains("\r\n\r\nhello\nHTTP/1.1 200 OK\r\n"));
  CHECK(text.contains("\r\n\r\nHTTP/1.1 404 Not Found\r\n"));
}

TEST_CASE("http: HTTP/1.0 gets its answer and the end of the connection") {
  const HttpFixture server(two_pages());
  const std::string text = ask(server.local, "GET /a HTTP/1.0\r\n\r\n");
  CHECK(text.starts_with("HTTP/1.0 200 OK\r\n"));
  CHECK(text.ends_with("hello\n"));
}

TEST_CASE("http: garbage, large headers and bodies are refused") {
  const HttpFixture server(two_pages());
  CHECK(ask(server.local, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 Bad Request\r\n"));
  CHECK(ask(server.local, std::string("\x16\x03\x01\x02\x00\x01", 6) + std::string(60, 'x'))
            .starts_with("HTTP/1.1 400 "));
  CHECK(ask(server.local, "GET /a HTTP/1.1\r\nX: " + std::string(9000, 'x') + "\r\n\r\n").starts_with("HTTP/1.1 431 "));
  CHECK(ask(server.local, "GET /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").starts_with("HTTP/1.1 413 "));
  CHECK(get(server.local, "/a").ends_with("hello\n"));
}

TEST_CASE("http: a client that says nothing, or reads nothing, is closed") {
  admin::Pages pages = two_pages();
  pages.emplace("/large", [] { return admin::Page{.body = std::string(64UL << 20, 'x')}; });
  const HttpFixture server(std::move(pages), "127.0.0.1",
                           {.idle = std::chrono::milliseconds(100), .write = std::chrono::milliseconds(100)});
  CHECK(read_until(connect_to(server.local)).empty());
  const UniqueFd slow = connect_to(server.local);
  send_text(slow, "GET /a HTT");
  CHECK(read_until(slow).empty());

  const UniqueFd deaf = connect_to(server.local);
  send_text(deaf, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
  pollfd wait{.fd = deaf.get(), .events = 0, .revents = 0};
  // The server's end is closed with unsent data: a reset, or its FIN once the rest is through.
  wait.events = POLLRDHUP;
  CHECK(::poll(&wait, 1, static_cast<int>(test::kDeadline.count()) * 1000) == 1);
}

TEST_CASE("http: when all connections are taken, the quietest makes room") {
  const HttpFixture server(two_pages(), "127.0.0.1", {.connections = 3});
  const UniqueFd first = connect_to(server.local);
  const UniqueFd quiet = connect_to(server.local);
  const UniqueFd third = connect_to(server.local);
  const auto is_served = [](const UniqueFd& fd) {
    send_text(fd, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    return read_until(fd, "hello\n").ends_with("hello\n");
  };
  REQUIRE(is_served(third));
  REQUIRE(is_served(first));
  CHECK(get(server.local, "/a").ends_with("hello\n"));
  CHECK(read_until(quiet).empty());
  CHECK(is_served(first));
  CHECK(is_served(third));
  for (int i = 0; i < 20; ++i) CHECK(get(server.local, "/a").ends_with("hello\n"));
}

TEST_CASE("http: metrics in Prometheus' text format") {
  const HttpFixture server(admin::metrics_pages([] {
    prometheus::ClientMetric one;
    one.label = {{"way", "short-\"circuit\""}};
    one.counter.value = 12345678901;
    return std::vector<prometheus::MetricFamily>{
        {"underpass_connections_total", "Connections.", prometheus::MetricType::Counter, {one}}};
  }));
  const std::string text = get(server.local, "/metrics");
  CHECK(text.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  CHECK(
      text.ends_with("# HELP underpass_connections_total Connections.\n"
                     "# TYPE underpass_connections_total counter\n"
                     "underpass_connections_total{way=\"short-\\\"circuit\\\"\"} 12345678901\n"));
}

TEST_CASE("http: readiness says why not") {
  std::atomic<bool> ready = false;
  const HttpFixture server(
      admin::ready_pages([&] { return ready ? std::nullopt : std::optional<std::string>("detached"); }));
  const std::string text = get(server.local, "/healthz/ready");
  CHECK(text.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
  CHECK(text.ends_with("\r\n\r\ndetached\n"));
  ready = true;
  CHECK(get(server.local, "/healthz/ready").ends_with("\r\n\r\nready\n"));
}

TEST_CASE("http: who is not ready is alive") {
  const HttpFixture server(admin::ready_pages([] { return std::optional<std::string>("detached"); }));
  const std::string text = get(server.local, "/healthz/live");
  CHECK(text.starts_with("HTTP/1.1 200 OK\r\n"));
  CHECK(text.ends_with("\r\n\r\nalive\n"));
}

TEST_CASE("http: a port that is taken is an error that names it") {
  const HttpFixture server(two_pages());
  test::IoThread thread;
  const auto second = thread.run([&] { return admin::HttpServer::listen(thread.io, server.local, two_pages()); });
  REQUIRE(!second);
  CHECK(second.error().message == "listen on " + server.local.to_string() + ": Address already in use");
}

TEST_CASE("http: a port that is handed over refuses nobody, and one that is not asked for is closed") {
  test::IoThread thread;
  const auto page = [](std::string body) {
    admin::Pages pages;
    pages.emplace("/", [body] { return admin::Page{.body = body}; });
    return pages;
  };
  const auto listen = [&](const HostPort& at, const std::string& body, UniqueFd handed) {
    auto made = thread.run([&] { return admin::HttpServer::listen(thread.io, at, page(body), {}, std::move(handed)); });
    REQUIRE_MESSAGE(made, made.error().message);
    return std::move(*made);
  };
  const std::string get = "GET / HTTP/1.0\r\n\r\n";
  auto first = listen({"127.0.0.1", 0}, "first", {});
  const HostPort at = first->local();
  UniqueFd handed = thread.run([&] { return first->hand_over(); });
  const UniqueFd between = connect_to(at);  // waits in the backlog
  send_text(between, get);
  thread.run([&] { first.reset(); });

  auto second = listen(at, "second", std::move(handed));
  CHECK(second->local() == at);
  CHECK(read_until(between).ends_with("second"));
  CHECK(ask(at, get).ends_with("second"));

  // Any port: this one as well.
  handed = thread.run([&] { return second->hand_over(); });
  thread.run([&] { second.reset(); });
  auto third = listen({"127.0.0.1", 0}, "third", std::move(handed));
  CHECK(third->local() == at);
  // Another address, or no listener at all.
  handed = thread.run([&] { return third->hand_over(); });
  thread.run([&] { third.reset(); });
  auto fourth = listen({"127.0.0.2", at.port}, "fourth", std::move(handed));
  CHECK(ask({"127.0.0.2", at.port}, get).ends_with("fourth"));
  auto fifth = listen(at, "fifth", UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  CHECK(ask(at, get).ends_with("fifth"));
  auto sixth = listen({"127.0.0.3", at.port}, "sixth", UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  CHECK(ask({"127.0.0.3", at.port}, get).ends_with("sixth"));
  thread.run([&] {
    fourth.reset();
    fifth.reset();
    sixth.reset();
  });
}
