// SPDX-License-Identifier: Apache-2.0
// Programs on socket options see every caller's. Those with more than a page, as iptables' are, must come and go as if
// no program were there.
#include <doctest/doctest.h>

#include <algorithm>

#include "test/netns/proxy/scene.h"

namespace underpass::test {
namespace {

constexpr int kRules = 10000;

std::string rules() {
  std::string out = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n";
  for (int i = 0; i < kRules; ++i)
    out += "-A INPUT -s 192.0." + std::to_string(i / 250) + "." + std::to_string(i % 250) + "/32 -j DROP\n";
  return out + "COMMIT\n";
}

TEST_CASE("proxy: iptables reads and writes 10,000 rules beside captured pods") {
  const Scene scene;
  scene.world.objects.put(NamespaceObject{"learning", {.mesh = "enabled", .short_circuit = "auto"}});
  // By getsockopt(), and by netlink.
  for (const std::string kind : {"iptables-legacy", "iptables-nft"}) {
    CAPTURE(kind);
    const Netns host("up-" + std::to_string(::getpid()) + "-" + kind);
    // Where nothing of the agent's but connect() is attached, where the guards of applications are, and where those
    // for workers' sockets are.
    for (const std::string cgroup : {"", "underpass/sockets"}) {
      CAPTURE(cgroup);
      const std::string at = scene.world.sandbox.cgroup() / cgroup;
      run_ok({.argv = {kind + "-restore"}, .netns = host.path(), .cgroup = at, .input = rules()});
      const std::string saved = run_ok({.argv = {kind + "-save"}, .netns = host.path(), .cgroup = at});
      std::size_t count = 0;
      for (std::size_t i = saved.find("-A INPUT"); i != std::string::npos; i = saved.find("-A INPUT", i + 1)) ++count;
      CHECK(count == kRules);
    }
  }
  // The agent is as well as before.
  const Pair pair = make_pair_between(scene.at("a"), scene.at("b"), AF_INET);
  exchange(pair.client.get(), pair.server.get());
  CHECK(scene.world.established(UP_WAY_PROXIED) == 1);
}

}  // namespace
}  // namespace underpass::test
