// SPDX-License-Identifier: Apache-2.0
// The HTTP/2 codecs and programs that others wrote: curl, nghttp and h2load ask ours, ours asks nghttpd.
#include <doctest/doctest.h>
#include <poll.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "test/support/files.h"
#include "test/support/process.h"
#include "test/support/temp_folder.h"
#include "test/unit/http2_listeners.h"
#include "test/unit/http2_loop.h"

using namespace underpass;
using namespace underpass::test;
using Lines = std::vector<std::string>;

namespace {

// nghttpd on a port that nobody else has.
struct Nghttpd {
  explicit Nghttpd(const TempFolder& folder) {
    for (int attempt = 0; attempt < 5 && !socket; ++attempt) {
      const auto port = free_port();
      process.emplace(Command{.argv = {"nghttpd", "--no-tls", "-a", "127.0.0.1", "--htdocs", folder.path().string(),
                                       "--echo-upload", "--trailer", "x-end: 1", std::to_string(port)}});
      (void)eventually(seconds(10), [&] { return (socket = connect_on_loopback(port)) || !process->running(); });
    }
    if (!socket) throw std::runtime_error("nghttpd does not listen: " + process->err());
  }
  std::optional<Process> process;
  UniqueFd socket;
};

// Carries until `is_done()`.
template <typename Done>
bool carry_until(int fd, http::Codec& codec, Done&& is_done) {
  const auto end = Clock::now() + seconds(20);
  while (!is_done()) {
    if (!carry(fd, codec) || Clock::now() > end) return is_done();
    pollfd wait{fd, static_cast<short>(POLLIN | (codec.output().empty() ? 0 : POLLOUT)), 0};
    ::poll(&wait, 1, 1000);
  }
  return true;
}

}  // namespace

TEST_CASE("http2 programs: curl") {
  const Http2Server server;
  const std::string form = "%{http_version} %{response_code} %{size_download} %{num_connects} ";
  const auto curl = [&](std::vector<std::string> more) {
    std::vector<std::string> argv{"curl", "-sS", "--http2-prior-knowledge", "-w", form};
    argv.insert(argv.end(), more.begin(), more.end());
    return run_ok({.argv = argv});
  };
  const TempFolder folder;
  const auto none = (folder.path() / "none").string();
  CHECK(curl({server.url("/5")}) == "xxxxx2 200 5 1 ");
  // One for each run: curl 7.88 fails at the second request of a connection, of any server's.
  CHECK(curl({"-o", none, server.url("/20000000")}) == "2 200 20000000 1 ");
  CHECK(curl({server.url("/slow/7")}) == "xxxxxxx2 200 7 1 ");
  CHECK(curl({server.url("/0")}) == "2 200 0 1 ");
  CHECK(curl({"-I", "-o", none, server.url("/9")}) == "2 200 0 1 ");
  CHECK(curl({"-d", "some text", server.url("/")}) == "some text2 200 9 1 ");
  std::string body(8'000'000, '\0');
  for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 7 + i / 251);
  folder.write("body", body);
  CHECK(curl({"-T", (folder.path() / "body").string(), "-o", none, server.url("/")}) == "2 200 8000000 1 ");
  CHECK(read_file(folder.path() / "none") == body);
  CHECK(curl({"-D", "-", "-o", none, "-d", "xyz", server.url("/")}).contains("x-length: 3"));
}

TEST_CASE("http2 programs: nghttp, its priorities, padding, trailers and small windows") {
  const Http2Server server;
  const auto nghttp = [&](std::vector<std::string> more) {
    std::vector<std::string> argv{"nghttp"};
    argv.insert(argv.end(), more.begin(), more.end());
    return run_ok({.argv = argv});
  };
  const TempFolder folder;
  folder.write("body", std::string(70'000, 'b'));
  CHECK(nghttp({server.url("/5")}) == "xxxxx");
  CHECK(nghttp({"-p", "100", "-b", "64", "-m", "20", server.url("/1000")}) == std::string(20'000, 'x'));
  CHECK(nghttp({"-w", "4", "-W", "16", server.url("/300000")}) == std::string(300'000, 'x'));
  CHECK(nghttp({"--no-dep", "--expect-continue", "-H", ":method: POST", "-d", (folder.path() / "body").string(),
                "--trailer", "x-a: b", server.url("/")}) == std::string(70'000, 'b'));
  CHECK(nghttp({"-nv", server.url("/slow/5")}).contains(":status: 103"));
}

TEST_CASE("http2 programs: the upgrade from HTTP/1.1") {
  const Http2Server server;
  CHECK(run_ok({.argv = {"curl", "-sS", "--http2", "-w", " %{http_version} %{response_code}", server.url("/5")}}) ==
        "xxxxx 2 200");
  CHECK(run_ok({.argv = {"nghttp", "-u", server.url("/300000")}}) == std::string(300'000, 'x'));
  CHECK(run_ok({.argv = {"nghttp", "-u", "-m", "3", server.url("/5")}}) == std::string(15, 'x'));
}

TEST_CASE("http2 programs: h2load, ten thousand requests") {
  const Http2Server server;
  const auto out = run_ok({.argv = {"h2load", "-n", "10000", "-c", "4", "-m", "100", server.url("/100")}});
  CHECK(out.contains("10000 total, 10000 started, 10000 done, 10000 succeeded, 0 failed, 0 errored, 0 timeout"));
  const auto large = run_ok({.argv = {"h2load", "-n", "200", "-c", "2", "-m", "20", server.url("/1000000")}});
  CHECK(large.contains("200 succeeded, 0 failed"));
}

TEST_CASE("http2 programs: our client and nghttpd") {
  const TempFolder folder;
  const std::string text = "what is in the file";
  folder.write("small", text);
  folder.write("large", std::string(3'000'000, 'y'));
  Nghttpd server(folder);
  ClientListener heard;
  const auto client = http2::make_client_codec({}, heard);
  heard.codec = client.get();
  std::size_t whole = 0;
  heard.when_whole = [&](StreamId) { ++whole; };

  std::vector<StreamId> streams;
  for (int i = 0; i < 50; ++i) streams.push_back(client->send_request(get(i % 2 == 0 ? "/small" : "/large")));
  const auto missing = client->send_request(get("/missing"));
  const auto head = client->send_request(get("/small", "HEAD"));
  auto post = get("/echo", "POST");
  post.has_body = true;
  const auto echo = client->send_request(post);
  client->send_data(echo, std::string(50'000, 'z'));
  client->send_end(echo, nullptr);
  REQUIRE(carry_until(server.socket.get(), *client, [&] { return whole == 53; }));
  for (int i = 0; i < 50; ++i) CHECK(heard.bodies[streams[i]] == (i % 2 == 0 ? text : std::string(3'000'000, 'y')));
  CHECK(heard.bodies[echo] == std::string(50'000, 'z'));
  CHECK(heard.bodies[head].empty());
  const auto has = [&](const std::string& line) {
    return std::ranges::any_of(heard.lines, [&](const auto& one) { return one.starts_with(line); });
  };
  CHECK(has("response " + std::to_string(missing) + " 404"));
  CHECK(has("response " + std::to_string(head) + " 200 length=19"));
  CHECK(has("end 1 [x-end=1]"));
  CHECK(client->open_streams() == 0);
  client->shut_down();
  CHECK(carry_until(server.socket.get(), *client, [&] { return client->is_over(); }));
  CHECK(heard.failure.empty());
}

TEST_CASE("http2 programs: our client and our server over a socket, a large body both ways") {
  const Http2Server server;
  const auto socket = connect_on_loopback(server.port());
  REQUIRE(static_cast<bool>(socket));
  ClientListener heard;
  const auto client = http2::make_client_codec({}, heard);
  heard.codec = client.get();
  auto post = get("/", "POST");
  post.has_body = true;
  const auto stream = client->send_request(post);
  std::string body;
  body.resize(30'000'000, 'b');
  std::size_t at = 0;
  const auto write = [&](StreamId) {
    for (; at < body.size() && client->buffered(stream) <= 65'536; at += 50'000)
      client->send_data(stream, std::string_view(body).substr(at, 50'000));
    if (at >= body.size()) client->send_end(stream, nullptr);
  };
  heard.when_writable = write;
  bool done = false;
  heard.when_whole = [&](StreamId) { done = true; };
  write(stream);
  REQUIRE(carry_until(socket.get(), *client, [&] { return done; }));
  CHECK(heard.bodies[stream] == body);
  CHECK(heard.lines.back() == "end 1 [x-length=30000000]");
}
