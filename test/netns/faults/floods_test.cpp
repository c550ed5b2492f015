// SPDX-License-Identifier: Apache-2.0
// Floods of HTTP/2 against a worker: each is told to calm down, and counted; others are served meanwhile, and the
// worker needs no more memory.
#include <doctest/doctest.h>

#include <sstream>

#include "test/netns/faults/accounts.h"
#include "test/netns/faults/worker_state.h"
#include "test/netns/http/script_server.h"
#include "test/unit/http2_frames.h"

namespace underpass::test {
namespace {

constexpr const char* kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct Row {
  std::string name;
  std::string begin;                            // once
  std::string (*frames)(std::uint32_t stream);  // again and again
};

// Sends until it is told to go away, or gone; the code of the GOAWAY.
std::string flood(const HttpGround& ground, std::uint16_t port, const Row& row) {
  const UniqueFd fd = connect_from(ground.at("out"), Address::of(ground.at("b").v4, port));
  send_all(fd.get(), std::string(kPreface) + settings_frame() + row.begin);
  FrameReader reader;
  std::string bytes(65536, 0);
  const auto calm = [&] { return std::ranges::find(reader.lines, "goaway ENHANCE_YOUR_CALM") != reader.lines.end(); };
  std::uint32_t stream = 1;
  for (int i = 0; i < 20000 && !calm(); ++i) {
    std::string out;
    for (int k = 0; k < 50; ++k, stream += 2) out += row.frames(stream);
    if (::send(fd.get(), out.data(), out.size(), MSG_NOSIGNAL) < 0) break;
    ssize_t got = 0;
    while ((got = ::recv(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT)) > 0)
      reader.read(std::string_view(bytes).substr(0, static_cast<std::size_t>(got)));
  }
  while (!calm() && readable(fd.get(), seconds(5))) {
    const ssize_t got = ::recv(fd.get(), bytes.data(), bytes.size(), 0);
    if (got <= 0) break;
    reader.read(std::string_view(bytes).substr(0, static_cast<std::size_t>(got)));
  }
  return calm() ? "calm" : reader.lines.empty() ? "nothing" : reader.lines.back();
}

// Connections that ended with this flag, as the worker counts them.
double ended(const Scene& scene, const std::string& flag) {
  const std::string listen = text_of(scene.world.ctl.json({"status"}).at("listen").at("metrics"));
  std::istringstream lines(run_ok({.argv = {"curl", "-sSf", "http://" + listen + "/metrics"}}));
  double sum = 0;
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("underpass_worker_ended_total{") && line.contains("flag=\"" + flag + "\""))
      sum += std::stod(line.substr(line.rfind(' ')));
  return sum;
}

TEST_CASE("faults: floods of HTTP/2 are told to calm down and counted, and others are served") {
  const Row rows[] = {
      {"rapid reset", "", [](std::uint32_t stream) { return request_frame(stream) + rst_frame(stream); }},
      {"CONTINUATION", frame(NGHTTP2_HEADERS, kEndStream, 1, hpack(request_head())),
       [](std::uint32_t) { return frame(NGHTTP2_CONTINUATION, 0, 1, hpack({{"x-more", std::string(1000, 'y')}})); }},
      {"empty CONTINUATION", frame(NGHTTP2_HEADERS, kEndStream, 1, hpack(request_head())),
       [](std::uint32_t) { return frame(NGHTTP2_CONTINUATION, 0, 1); }},
      {"SETTINGS", "", [](std::uint32_t) { return settings_frame(); }},
      {"PING", "", [](std::uint32_t) { return ping_frame(); }},
      {"empty DATA", request_frame(1, {}, kEndHeaders), [](std::uint32_t) { return data_frame(1, ""); }},
      {"WINDOW_UPDATE", "", [](std::uint32_t) { return window_frame(0, 1); }},
      {"PRIORITY", "", [](std::uint32_t stream) { return frame(NGHTTP2_PRIORITY, 0, stream, std::string(5, '\0')); }},
  };
  const HttpGround ground;
  ScriptServer server(ground.at("b"), [](ScriptServer&, Wire& wire, std::size_t) {
    // HTTP/1 is the one's; to floods, in HTTP/2, nothing is said until they end.
    for (;;) {
      if (wire.read_head().starts_with("PRI"))
        for (;;) (void)wire.read(1);
      wire.send(ok());
    }
  });
  Wire other(ground.at("out"), ground.at("b"), server.port());
  const auto ask = [&] {
    other.send("GET /other HTTP/1.1\r\nHost: shop\r\n\r\n");
    CHECK(other.read_answer().status() == 200);
  };
  ask();
  for (const Row& row : rows) (void)flood(ground, server.port(), row);  // what it needs once, it may keep
  const double before = ended(ground.scene, "DPE");
  const WorkerState state(ground);
  double floods = 0;
  for (int round = 0; round < 5; ++round)
    for (const Row& row : rows) {
      CAPTURE(row.name);
      CHECK(flood(ground, server.port(), row) == "calm");
      ++floods;
      ask();
    }
  CHECK(eventually(seconds(10), [&] { return ended(ground.scene, "DPE") >= before + floods; }));
  state.check_same();
}

}  // namespace
}  // namespace underpass::test
