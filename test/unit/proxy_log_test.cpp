// SPDX-License-Identifier: Apache-2.0
// Lines of the access log, and what becomes of them when nobody reads.
#include <doctest/doctest.h>
#include <fcntl.h>

#include <array>
#include <boost/json/parse.hpp>
#include <csignal>
#include <string>

#include "test/support/temp_folder.h"
#include "test/unit/telemetry_world.h"
#include "underpass/ip_address.h"
#include "userspace_proxy/log/access_line.h"
#include "userspace_proxy/log/access_log.h"

using namespace underpass;
using session::Record;
using session::Routes;

namespace {

constexpr NetnsCookie kWeb = 11;
constexpr NetnsCookie kDb = 12;

const Routes& routes() {
  static const Routes kRoutes(
      {.revision = 1,
       .settings = {},
       .pods = {{.netns = kWeb, .id = {"shop", "web"}, .identity = "spiffe://td/ns/shop/sa/web"}},
       .identities = {{5, "spiffe://td/ns/shop/sa/db"}}});
  return kRoutes;
}

up_peer outbound() {
  auto peer = test::peer_between(kWeb, kDb);
  peer.identity = 4;
  return peer;
}

std::string line_of(Record record, const log::Ended& ended) {
  record.start = std::chrono::sys_days(std::chrono::year(2026) / 2 / 3) + std::chrono::milliseconds(4'005'006);
  std::string line;
  log::append_access_line(line, record, ended);
  return line;
}

struct Pipe {
  Pipe() {
    std::array<int, 2> fds{};
    test::require(::pipe2(fds.data(), O_CLOEXEC) == 0, "pipe");
    reads.reset(fds[0]);
    writes.reset(fds[1]);
    test::require(::fcntl(writes.get(), F_SETPIPE_SZ, 4096) == 4096, "F_SETPIPE_SZ");
  }
  std::string read() const {
    std::array<char, 8192> chunk{};
    const ssize_t got = ::read(reads.get(), chunk.data(), chunk.size());
    return {chunk.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
  }
  UniqueFd reads, writes;
};

}  // namespace

TEST_CASE("access line: everything that is known") {
  CHECK(
      line_of(Record(outbound(), kWeb, routes()), {.duration = std::chrono::milliseconds(1234),
                                                   .flag = session::Flag::kConnectFailed,
                                                   .details = "connect: \"no\"\n",
                                                   .sent = 18446744073709551615ull,
                                                   .received = 7}) ==
      R"({"start":"2026-02-03T01:06:45.006Z","durationMs":1234,"direction":"outbound","way":"proxied","tunnel":"none",)"
      R"("source":{"ip":"fd00::1","port":40000,"namespace":"shop","pod":"web",)"
      R"("identity":"spiffe://td/ns/shop/sa/web"},)"
      R"("destination":{"ip":"fd00::2","port":5432,"namespace":"shop","pod":"db","identity":null},)"
      R"("service":"shop/db:15432","dialled":"[fd01::3]:15432","protocol":"tcp","flags":"UF",)"
      R"("details":"connect: \"no\"\u000a","bytesSent":18446744073709551615,"bytesReceived":7})"
      "\n");
}

TEST_CASE("access line: what is not known is null") {
  const auto nothing = line_of(Record(), {.flag = session::Flag::kNotOurs});
  CHECK(nothing ==
        R"({"start":"2026-02-03T01:06:45.006Z","durationMs":0,"direction":null,"way":"proxied","tunnel":"none",)"
        R"("source":{"ip":null,"port":null,"namespace":null,"pod":null,"identity":null},)"
        R"("destination":{"ip":null,"port":null,"namespace":null,"pod":null,"identity":null},)"
        R"("service":null,"dialled":null,"protocol":"tcp","flags":"NR","details":null,"bytesSent":0,"bytesReceived":0})"
        "\n");
}

TEST_CASE("access line: identities are those that the kernel attests, and the pod's own") {
  auto peer = outbound();
  peer.direction = UP_INBOUND;
  peer.client_netns = kDb;
  peer.server_netns = kWeb;
  peer.identity = 5;
  const auto identity_of = [](const Record& record, const char* end) {
    return boost::json::parse(line_of(record, {})).at(end).at("identity");
  };
  CHECK(identity_of(Record(peer, kWeb, routes()), "source") == "spiffe://td/ns/shop/sa/db");
  CHECK(identity_of(Record(peer, kWeb, routes()), "destination") == "spiffe://td/ns/shop/sa/web");
  peer.client_netns = 0;  // not attested: whatever the number is, it says nothing
  CHECK(identity_of(Record(peer, kWeb, routes()), "source").is_null());
  peer.client_netns = kDb;
  peer.identity = 6;
  CHECK(identity_of(Record(peer, kWeb, routes()), "source").is_null());
}

TEST_CASE("access log: a reader that is slow gets whole lines, in order; what is beyond the bound is counted") {
  const Pipe pipe;
  log::AccessLog access_log(pipe.writes.get(), 16'384);
  std::string lines;
  constexpr int kLines = 400;
  for (int i = 0; i < kLines; ++i) {
    lines = std::to_string(1000 + i) + std::string(95, '.') + "\n";
    access_log.append(lines);
    CHECK(lines.empty());
  }
  const auto lost = access_log.lost();
  // Up to 4096 bytes a pipe takes a write whole or not at all.
  CHECK(lost == kLines - 4096 / 100 - 16'384 / 100);
  std::string text;
  while (access_log.append(lines)) text += pipe.read();
  text += pipe.read();
  REQUIRE(text.size() == (kLines - lost) * 100);
  for (std::size_t i = 0; i < text.size() / 100; ++i) CHECK(text.substr(i * 100, 4) == std::to_string(1000 + i));
  lines = "again\n";
  CHECK(!access_log.append(lines));
  CHECK(pipe.read() == "again\n");
}

TEST_CASE("access log: a reader that is gone costs lines") {
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  Pipe pipe;
  log::AccessLog access_log(pipe.writes.get());
  pipe.reads.reset();
  std::string lines = "a\nb\n";
  CHECK(!access_log.append(lines));
  CHECK(access_log.lost() == 2);
  (void)std::signal(SIGPIPE, before);
}
