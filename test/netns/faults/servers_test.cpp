// SPDX-License-Identifier: Apache-2.0
// Servers that fail: what their client is told, by which flag it is counted, and that no half of an answer looks whole.
#include <doctest/doctest.h>

#include <atomic>
#include <filesystem>

#include "test/netns/faults/accounts.h"
#include "test/netns/http/programs.h"
#include "test/netns/http/script_server.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

const std::string kGet = "GET / HTTP/1.1\r\nHost: shop\r\n\r\n";

// Whether the answer is whole, as far as its reader can know.
bool is_whole(Wire& client) {
  try {
    (void)client.read_answer();
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

TEST_CASE("faults: a server that goes in the middle of its answer leaves none that looks whole") {
  struct Row {
    const char* answer;
    const char* version;
    bool by_reset;
  };
  const std::string length = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
                    chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
                    to_the_end = "HTTP/1.1 200 OK\r\n\r\nhalf";
  const Row rows[] = {
      {length.c_str(), "1.1", false},  {length.c_str(), "1.1", true},     {length.c_str(), "1.0", false},
      {chunked.c_str(), "1.1", false}, {chunked.c_str(), "1.1", true},    {chunked.c_str(), "1.0", false},
      {chunked.c_str(), "1.0", true},  {to_the_end.c_str(), "1.1", true}, {to_the_end.c_str(), "1.0", true}};
  const HttpGround ground;
  for (const Row& row : rows) {
    CAPTURE(std::string(row.answer));
    CAPTURE(std::string(row.version));
    CAPTURE(row.by_reset);
    std::atomic<bool> may_go = false;
    ScriptServer server(ground.at("b"), [&](ScriptServer& self, Wire& wire, std::size_t) {
      self.keep(wire.read_request().value());
      wire.send(row.answer);
      (void)eventually(seconds(10), [&] { return may_go.load(); });
      if (row.by_reset) wire.reset();
    });
    Wire client(ground.at("out"), ground.at("b"), server.port());
    client.send(std::string("GET / HTTP/") + row.version + "\r\nHost: shop\r\n\r\n");
    CHECK(client.has_bytes(seconds(10)));
    may_go = true;
    CHECK_FALSE(is_whole(client));
  }
  check_accounts(ground.scene, {{"UC 200", std::size(rows)}});
}

TEST_CASE("faults: nghttpd is killed in the middle of its answer, and curl sees an error") {
  const HttpGround ground;
  const auto folder = ground.scene.world.sandbox.root() / "h2";
  fs::create_directories(folder);
  write_file(folder / "large", "");
  fs::resize_file(folder / "large", 1U << 30);
  const Place& place = ground.at("b");
  Process server = start_server(place, {"nghttpd", "--no-tls", "-a", place.v4, "-d", folder.string(), "8080"}, 8080);
  const std::string out = (folder / "out").string();
  Process curl({.argv = {"curl", "-gsS", "--http2-prior-knowledge", "--limit-rate", "1M", "-o", out,
                         "http://" + place.v4 + ":8080/large"},
                .netns = ground.at("out").netns});
  REQUIRE(eventually(seconds(10), [&] { return fs::exists(out) && fs::file_size(out) > 0; }));
  server.kill();
  const auto exit = curl.wait(seconds(20));
  REQUIRE(exit);
  CHECK(exit->code != 0);
  check_accounts(ground.scene, {{"UC 200", 1}});
}

TEST_CASE("faults: what a server's failure is called") {
  const HttpGround ground("{proxy: {http: {streamIdleTimeout: 1s}}}");
  const Place& b = ground.at("b");
  const auto status = [&](std::uint16_t port, const std::string& asked = kGet) {
    Wire client(ground.at("out"), b, port);
    client.send(asked);
    return client.read_answer().status();
  };
  const auto says = [&](const std::string& answer) {
    ScriptServer server(b, [&](Wire& wire, const Message&) {
      wire.send(answer);
      return true;
    });
    return status(server.port());
  };
  Ends wanted;
  {
    ScriptServer silent(b, [](Wire&, const Message&) { return true; });
    CHECK(status(silent.port()) == 504);
    ++wanted["UT 504"];
  }
  {
    ScriptServer server(b, [](Wire&, const Message&) { return true; });
    const auto port = server.port();
    Wire client(ground.at("out"), b, port);  // who dials it must find it: it closes only then
    server.close();
    client.send(kGet);
    CHECK(client.read_answer().status() == 503);
    ++wanted["UF 503"];
  }
  for (const char* garbage : {"SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 two hundred\r\n\r\n", "HTTP/1.1 200 OK\nX: y\n\n",
                              "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"}) {
    CAPTURE(std::string(garbage));
    CHECK(says(garbage) == 502);
    ++wanted["UPE 502"];
  }
  CHECK(says("HTTP/1.1 200 OK\r\nX-Large: " + std::string(100000, 'x') + "\r\nContent-Length: 0\r\n\r\n") == 502);
  std::string many = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n";
  for (int i = 0; i < 300; ++i) many += "X-" + std::to_string(i) + ": y\r\n";
  CHECK(says(many + "\r\n") == 502);
  wanted["UPE 502"] += 2;
  {
    ScriptServer gone(b, [](Wire&, const Message&) { return false; });
    CHECK(status(gone.port()) == 503);
    ++wanted["UC 503"];
  }
  check_accounts(ground.scene, wanted);
}

TEST_CASE("faults: a server that answers before the body is there, and goes: its answer arrives") {
  constexpr std::size_t kTimes = 10;
  const HttpGround ground;
  ScriptServer server(ground.at("b"), [](ScriptServer&, Wire& wire, std::size_t) {
    (void)wire.read_head();
    wire.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch");
    wire.reset();  // with what of the body is unread
  });
  for (std::size_t i = 0; i < kTimes; ++i) {
    Wire client(ground.at("out"), ground.at("b"), server.port());
    client.send("POST /up HTTP/1.1\r\nHost: shop\r\nContent-Length: 4000000\r\n\r\n" + std::string(100000, 'b'));
    (void)client.try_send(std::string(3900000, 'b'));
    const Message answer = client.read_answer();
    CHECK(answer.status() == 413);
    CHECK(answer.body == "much");
  }
  check_accounts(ground.scene, {{"- 413", kTimes}});
}

TEST_CASE("faults: a server that resets in the middle of an upload is 503") {
  const HttpGround ground;
  ScriptServer server(ground.at("b"), [](ScriptServer&, Wire& wire, std::size_t) {
    (void)wire.read_head();
    (void)wire.read(100000);
    wire.reset();
  });
  Wire client(ground.at("out"), ground.at("b"), server.port());
  client.send("POST /up HTTP/1.1\r\nHost: shop\r\nContent-Length: 4000000\r\n\r\n" + std::string(100000, 'b'));
  (void)client.try_send(std::string(1000000, 'b'));
  CHECK(client.read_answer().status() == 503);
  check_accounts(ground.scene, {{"UC 503", 1}});
}

}  // namespace
}  // namespace underpass::test
