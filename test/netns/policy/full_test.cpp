// SPDX-License-Identifier: Apache-2.0
// No room in a table. Whoever was not allowed in still is not, whoever was still is, and what cannot be written closes
// the pod that it is for.
#include <doctest/doctest.h>

#include "test/netns/policy/scene.h"
#include "test/support/filled_map.h"
#include "test/support/netns.h"

namespace underpass::test {
namespace {

constexpr std::uint32_t kForeignSet = 0x40000000;

// A row of `status`' problems.
std::string problems(const Scene& scene) { return scene.world.ctl.run({"-o", "json", "status"}).out; }

void check_still(const Scene& scene, bool web_too = true) {
  for (const int family : kFamilies) {
    const UniqueFd listener = listen_at(scene.at("b"), family);
    for (int i = 0; i < 10; ++i)
      for (const char* name : {"evil", "out"}) check_refused(scene.at(name), listener.get());
    if (web_too) check_passes(scene.at("web"), listener.get());
  }
}

TEST_CASE("full: connections without a record are judged all the same") {
  for (const std::string mode : {"off", "on"}) {
    const Scene scene(mode);
    const FilledMap<std::uint64_t, up_conn> full(scene.world.sandbox, "up_conns",
                                                 [](std::uint64_t i) { return i | 1ull << 62; });
    check_still(scene);
  }
}

TEST_CASE("full: source records have no room") {
  const Scene scene("on");
  {
    const FilledMap<up_source_key, up_source> full(scene.world.sandbox, "up_sources", [](std::uint64_t i) {
      up_source_key key{};
      key.server_netns = i;
      return key;
    });
    // The client's side knows who it is, the server's does not: refused rather than believed.
    check_still(scene, false);
  }
  check_still(scene);
}

TEST_CASE("full: a policy for which there is no room closes its pod, and status names the table") {
  const Scene scene;
  const auto deny_then_open = [&](const char* table) {
    INFO(std::string(table));
    const UniqueFd listener = listen_at(scene.at("b"), AF_INET);
    scene.world.objects.put_text("policy.yaml", allow_accounts(R"("web", "evil")"));
    REQUIRE(eventually(seconds(5), [&] { return problems(scene).contains(table); }));
    for (const char* name : {"evil", "out", "web"}) check_refused(scene.at(name), listener.get());
    // Nor does it open by the policy's going to another that has no room.
    scene.world.objects.put_text("policy.yaml", allow_accounts(R"("web", "other")"));
    REQUIRE(eventually(seconds(5), [&] { return problems(scene).contains(table); }));
    for (const char* name : {"evil", "out"}) check_refused(scene.at(name), listener.get());
  };
  {
    const FilledMap<std::uint32_t, up_policy> full(scene.world.sandbox, "up_policies", [](std::uint64_t i) {
      return kForeignSet + static_cast<std::uint32_t>(i);
    });
    deny_then_open("up_policies");
  }
  scene.allow("web");
  {
    const FilledMap<up_row_key, up_clauses> full(scene.world.sandbox, "up_clauses", [](std::uint64_t i) {
      return up_row_key{kForeignSet, static_cast<std::uint32_t>(i)};
    });
    deny_then_open("up_clauses");
  }
  scene.allow("web");
  {
    const FilledMap<up_who_key, std::uint32_t> full(scene.world.sandbox, "up_policy_who", [](std::uint64_t i) {
      return up_who_key{kForeignSet, static_cast<std::uint32_t>(i)};
    });
    deny_then_open("up_policy_who");
  }
  scene.allow("web");
  check_still(scene);
}

TEST_CASE("full: denials have no room to be counted") {
  const Scene scene;
  const FilledMap<up_denied_key, std::uint64_t> full(scene.world.sandbox, "up_denied", [](std::uint64_t i) {
    return up_denied_key{.set = kForeignSet, .clause = static_cast<std::uint32_t>(i), .end = 0, .silent = 0};
  });
  check_still(scene);
}

// One pod sends SYNs that are never answered, as many as it can.
TEST_CASE("full: one pod cannot take the source records of all others") {
  Scene scene("on");
  scene.world.objects.put_text(
      "policy.yaml",
      policy_of(
          "who",
          R"({"selector": {"matchLabels": {"app": "b"}}, "action": "ALLOW", "rules": [{"from": [{"source": {"serviceAccounts": ["web"]}}]}]})"));
  PodObject b = scene.world.pod_object("shop", "b");
  b.labels = {{"app", "b"}};
  scene.world.objects.put(b);
  const UniqueFd free = listen_at(scene.at("a"), AF_INET);
  const Address to = local_address(free.get());
  REQUIRE(eventually(seconds(5), [&] { return dial(scene.at("evil"), to).empty(); }));
  scene.world.net.cut("a");
  std::vector<UniqueFd> waiting;
  run_in_netns(scene.at("evil").netns, [&] {
    for (int i = 0; i < 6000; ++i) {
      UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      if (::connect(fd.get(), to.get(), to.size) == 0 || errno != EINPROGRESS) break;
      waiting.push_back(std::move(fd));
    }
  });
  CHECK(waiting.size() == 6000);
  CHECK(scene.world.pinned.entries("up_sources") <= 4096);
  check_still(scene);
  waiting.clear();
  CHECK(eventually(seconds(5), [&] { return scene.world.pinned.entries("up_sources") == 0; }));
}

}  // namespace
}  // namespace underpass::test
