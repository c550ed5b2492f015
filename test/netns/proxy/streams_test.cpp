// SPDX-License-Identifier: Apache-2.0
// Random checked streams through workers: every byte, every end, with legs by TCP and socket to socket; and a lot of
// bytes.
#include <doctest/doctest.h>

#include "test/netns/proxy/lines.h"
#include "test/support/streams.h"

namespace underpass::test {
namespace {

// From and to where: between two captured pods, and with one that is outside the mesh.
struct Ends {
  const char* a;
  const char* b;
};
constexpr Ends kEnds[] = {{"a", "b"}, {"a", "out"}, {"out", "b"}};

// Everything was carried: streams have a client at either end, so that "out" to "b" is "b" to "out" too.
void check_carried(const Scene& scene, const StreamsReport& report, std::uint64_t proxied_before) {
  INFO(report.to_string());
  CHECK(report.ok());
  CHECK(report.streams > 0);
  CHECK(scene.world.established(UP_WAY_PROXIED) - proxied_before == report.streams);
  CHECK(scene.world.established(UP_WAY_DIRECT) == 0);
}

void run_all(const Scene& scene, std::uint64_t count) {
  std::size_t streams = 0;
  std::uint64_t seed = 1;
  for (const Ends& ends : kEnds) {
    CAPTURE(ends.a);
    CAPTURE(ends.b);
    const std::uint64_t before = scene.world.established(UP_WAY_PROXIED);
    const StreamsReport report = run_streams({.a = scene.at(ends.a),
                                              .b = scene.at(ends.b),
                                              .count = count,
                                              .first_seed = seed,
                                              .adjust = [](StreamPlan& plan) {
                                                for (DirectionPlan& direction : plan.direction)
                                                  direction.bytes = std::min<std::uint64_t>(direction.bytes, 1u << 20);
                                              }});
    check_carried(scene, report, before);
    streams += report.streams;
    seed += count;
  }
  for (const auto& line : wait_lines(scene, streams)) CHECK(field_of(line, "flags") == "-");
}

TEST_CASE("proxy: random streams, legs by TCP") {
  const Scene scene("off");
  run_all(scene, 400);
  CHECK(scene.world.redirected() == 0);
}

TEST_CASE("proxy: random streams, legs of pods socket to socket") {
  const Scene scene("on");
  run_all(scene, 400);
  CHECK(scene.world.redirected() > 0);
}

TEST_CASE("proxy: 64 MiB one way, the other way, and both ways at once") {
  const Scene scene("on");
  constexpr std::uint64_t kMany = 64u << 20;
  for (const Ends& ends : kEnds) {
    CAPTURE(ends.a);
    CAPTURE(ends.b);
    const std::uint64_t before = scene.world.established(UP_WAY_PROXIED);
    const StreamsReport report = run_streams(
        {.a = scene.at(ends.a), .b = scene.at(ends.b), .count = 3, .concurrency = 1, .adjust = [](StreamPlan& plan) {
           plan.direction[kClient].bytes = plan.seed % 3 == 1 ? 0 : kMany;
           plan.direction[kServer].bytes = plan.seed % 3 == 2 ? 0 : kMany;
           for (DirectionPlan& direction : plan.direction) {
             direction.max_message = 256u << 10;
             direction.max_chunk = 256u << 10;
             direction.pause_one_in = 1000000;
           }
         }});
    check_carried(scene, report, before);
    CHECK(report.bytes == 4 * kMany);
  }
}

}  // namespace
}  // namespace underpass::test
