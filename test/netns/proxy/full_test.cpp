// SPDX-License-Identifier: Apache-2.0
// No room for a connection's record, by which alone a worker could know where it wanted to go: it goes there without.
#include <doctest/doctest.h>

#include "test/netns/proxy/scene.h"
#include "test/support/filled_map.h"

namespace underpass::test {
namespace {

// Three connections, all of them whole; how many of them the worker has accepted.
int carried(const Scene& scene, const char* from, int family) {
  const std::size_t before = access_log(scene).size();
  for (int i = 0; i < 3; ++i) {
    const Pair pair = make_pair_between(scene.at(from), scene.at("b"), family);
    exchange(pair.client.get(), pair.server.get(), 2);
  }
  (void)eventually(milliseconds(500), [&] { return access_log(scene).size() == before + 3; });
  return static_cast<int>(access_log(scene).size() - before);
}

TEST_CASE("proxy: while the table of connections is full they go direct, and the worker's own go on") {
  const Scene scene;
  const Pair live = make_pair_between(scene.at("a"), scene.at("b"), AF_INET);
  exchange(live.client.get(), live.server.get(), 2);
  {
    const FilledMap<std::uint64_t, up_conn> full(scene.world.sandbox, "up_conns",
                                                 [](std::uint64_t i) { return i | 1ull << 62; });
    const auto heart = open_pinned_map(scene.world.sandbox.pins() / "up_heartbeat");
    const auto says_full = [&] {
      const std::uint32_t only = 0;
      up_heartbeat beat{};
      return ::bpf_map_lookup_elem(heart.get(), &only, &beat) == 0 && beat.full == 1;
    };
    REQUIRE(eventually(seconds(5), says_full));
    CHECK(scene.world.ctl.run({"status"}).out.contains("up_conns is nearly full"));
    for (const int family : kFamilies)
      for (const char* from : {"a", "out"}) CHECK(carried(scene, from, family) == 0);
    exchange(live.client.get(), live.server.get(), 2);
  }
  REQUIRE(eventually(seconds(5), [&] { return carried(scene, "a", AF_INET) == 3; }));
  CHECK(carried(scene, "out", AF_INET6) == 3);
}

}  // namespace
}  // namespace underpass::test
