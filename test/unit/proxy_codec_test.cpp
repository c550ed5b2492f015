// SPDX-License-Identifier: Apache-2.0
// The worker protocol's packets: as text, and through a real socket with real descriptors.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "test/support/temp_folder.h"
#include "underpass/packet_socket.h"
#include "underpass/worker_codec.h"

using namespace underpass;
using worker::Message;

namespace {

struct Pair {
  Pair() {
    std::array<int, 2> fds{};
    test::require(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds.data()) == 0, "socketpair");
    a.reset(fds[0]);
    b.reset(fds[1]);
  }
  UniqueFd a, b;
};

// Texts are compared: what a message means is in it.
std::string again(const Message& message) {
  const auto decoded = worker::decode(worker::encode(message));
  return decoded ? worker::encode(*decoded) : decoded.error().message;
}

std::string refusal(std::string_view text) {
  const auto decoded = worker::decode(text);
  return decoded ? "" : decoded.error().message;
}

}  // namespace

TEST_CASE("worker codec: every message comes back as it went") {
  const std::vector<Message> messages{
      worker::Config{.revision = 7, .size = 4096},
      worker::Listeners{.netns = 18446744073709551615ull,
                        .listeners = {{.direction = UP_OUTBOUND, .v6 = false}, {.direction = UP_INBOUND, .v6 = true}}},
      worker::Dials{.netns = 4711, .v6 = true},
      worker::Forget{.netns = 4711, .reset = true},
      worker::Drain{},
      worker::Logs{},
      worker::Hello{.version = "0.1.0", .revision = 3},
      worker::Ready{},
      worker::Configured{.revision = 7, .cause = "no"},
      worker::Want{.netns = 4711, .v6 = false, .count = 128},
      worker::Report{.connections = 1,
                     .accepted = 2,
                     .ended = {{"-", 1}, {"UF", 3}},
                     .accept_pauses = 4,
                     .paused = true,
                     .log_lines_lost = 5,
                     .dials = {{4711, {6, 7}}}},
      worker::FollowRequests{.on = true},
      worker::Metrics{.series = {RequestSeries{}}, .notices = {PolicyNoticeCount{}}},
      worker::Requests{.flows = {RequestFlow{}}, .skipped = 8},
  };
  REQUIRE(messages.size() == std::variant_size_v<Message>);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    REQUIRE(messages[i].index() == i);
    CHECK(again(messages[i]) == worker::encode(messages[i]));
    CHECK(worker::decode(worker::encode(messages[i])).value().index() == i);
  }
  CHECK(worker::encode(messages[0]) == R"({"type":"config","revision":7,"size":4096})");
  CHECK(worker::encode(messages[1]) ==
        R"({"type":"listeners","netns":"18446744073709551615",)"
        R"("listeners":[{"direction":"outbound","v6":false},{"direction":"inbound","v6":true}]})");
}

TEST_CASE("worker codec: what is odd is refused by its path") {
  CHECK(refusal("{").starts_with("packet: not JSON: "));
  CHECK(refusal("[]") == "packet: not an object");
  CHECK(refusal("{}") == "packet: type: is missing");
  CHECK(refusal(R"({"type":"steal"})") == R"(packet: type: "steal": is not known)");
  CHECK(refusal(R"({"type":"drain","now":true})") == "packet drain: now: is not known");
  CHECK(refusal(R"({"type":"config","revision":7})") == "packet config: size: is missing");
  CHECK(refusal(R"({"type":"dials","netns":4711,"v6":true})") == "packet dials: netns: not a string");
  CHECK(refusal(R"({"type":"dials","netns":"-1","v6":true})") ==
        R"(packet dials: netns: "-1": not a number in decimal digits)");
  CHECK(refusal(R"({"type":"dials","netns":"01","v6":true})") ==
        R"(packet dials: netns: "01": not a number in decimal digits)");
  CHECK(refusal(R"({"type":"listeners","netns":"1","listeners":[{"direction":"inbound"}]})") ==
        "packet listeners: listeners[0].v6: is missing");
  CHECK(refusal(R"({"type":"report","connections":0,"accepted":0,"ended":{"-":-1},"acceptPauses":0,)"
                R"("paused":false,"logLinesLost":0,"dials":{}})") == "packet report: ended.-: not a whole number");
  CHECK(refusal(R"({"type":"report","connections":0,"accepted":0,"ended":{},"acceptPauses":0,)"
                R"("paused":false,"logLinesLost":0,"dials":{"1":[2]}})") ==
        "packet report: dials.1: not a pod's pair of counts");
}

TEST_CASE("packet socket: text and descriptors arrive, close-on-exec") {
  Pair pair;
  const test::TempFolder folder;
  const auto file = folder.open_to_write("x");
  REQUIRE(send_packet(pair.a.get(), "hello", std::array{file.get(), file.get()}).value());
  REQUIRE(send_packet(pair.a.get(), "alone").value());

  const auto first = receive_packet(pair.b.get()).value().value();
  CHECK(first.text == "hello");
  REQUIRE(first.fds.size() == 2);
  test::write_all(first.fds[1].get(), "through");
  CHECK((::fcntl(first.fds[0].get(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(receive_packet(pair.b.get()).value().value().text == "alone");
  CHECK(!receive_packet(pair.b.get()).value());

  pair.a.reset();
  CHECK(receive_packet(pair.b.get()).value().value().is_end());
  CHECK(send_packet(pair.b.get(), "nobody").error().message == "send a packet: Broken pipe");
}

TEST_CASE("packet socket: limits") {
  Pair pair;
  CHECK(send_packet(pair.a.get(), std::string(worker::kMaxPacket, 'x')).value());
  CHECK(receive_packet(pair.b.get()).value().value().text.size() == worker::kMaxPacket);
  CHECK(!send_packet(pair.a.get(), std::string(worker::kMaxPacket + 1, 'x')));
  CHECK(!send_packet(pair.a.get(), ""));
  CHECK(!send_packet(pair.a.get(), "x", std::vector<int>(worker::kMaxDescriptors + 1, 0)));
  CHECK(send_packet(pair.a.get(), "x", std::vector<int>(worker::kMaxDescriptors, pair.a.get())).value());
  CHECK(receive_packet(pair.b.get()).value().value().fds.size() == worker::kMaxDescriptors);

  const std::string longer(worker::kMaxPacket + 1, 'x');
  REQUIRE(::send(pair.a.get(), longer.data(), longer.size(), 0) == static_cast<ssize_t>(longer.size()));
  CHECK(receive_packet(pair.b.get()).error().message.contains("MSG_TRUNC"));

  // Full: nothing is sent, and nothing blocks.
  int sent = 0;
  while (send_packet(pair.a.get(), std::string(1000, 'x')).value()) ++sent;
  CHECK(sent > 0);
}

TEST_CASE("packet socket: descriptors that do not fit the limit are an error, or are lost and said to be") {
  Pair pair;
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const std::vector<int> five(5, pair.a.get());
  REQUIRE(send_packet(pair.a.get(), "refused", five).value());
  REQUIRE(send_packet(pair.a.get(), "kept", five).value());
  const UniqueFd next(::dup(pair.a.get()));  // the lowest number that is free
  rlimit low = before;
  low.rlim_cur = static_cast<rlim_t>(next.get()) + 3;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
  const auto refused = receive_packet(pair.b.get());
  const auto kept = receive_packet(pair.b.get(), LostFds::kKeepRest);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(refused.error().message.contains("MSG_CTRUNC"));
  REQUIRE(kept);
  CHECK((*kept)->text == "kept");
  CHECK((*kept)->fds_lost);
  CHECK((*kept)->fds.size() < 5);
}
