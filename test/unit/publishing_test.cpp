// SPDX-License-Identifier: Apache-2.0
// What a node's NodeWorkloads are to say, as pods become ready, are ready no more, change and go.
#include "agent/publishing.h"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

#include "agent/compile/claims.h"

namespace underpass {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Shards::Time kStart{std::chrono::hours(1)};

model::WorkloadClaim claim(const std::string& uid, const std::string& ip = "10.0.0.1") {
  return {.pod = {.ns = "shop", .name = "pod-" + uid},
          .uid = uid,
          .service_account = "web",
          .ips = {IpAddress::parse(ip).value()}};
}

std::set<std::string> uids(const Shards::Wanted& wanted) {
  std::set<std::string> out;
  for (const auto& [shard, workloads] : wanted)
    for (const auto& one : workloads) {
      CHECK(shard == compile::shard_of(one.uid));
      CHECK(out.insert(one.uid).second);
    }
  return out;
}

using Uids = std::set<std::string>;

TEST_CASE("shard: the same from release to release, and as many pods in each") {
  // FNV-1a by its definition; another one would have every agent rewrite all that it told.
  CHECK(compile::shard_of("") == 2166136261U % 16);
  CHECK(compile::shard_of("a") == 0xe40c292cU % 16);
  CHECK(compile::shard_of("foobar") == 0xbf9cf968U % 16);
  CHECK(compile::shard_of("\xff") == ((2166136261U ^ 0xffU) * 16777619U) % 16);
  std::vector<int> counts(model::kWorkloadShards);
  for (int i = 0; i < 1600; ++i) ++counts.at(compile::shard_of("5d3c7c2e-0000-4000-8000-" + std::to_string(i)));
  for (const int count : counts) {
    CHECK(count > 50);
    CHECK(count < 150);
  }
}

TEST_CASE("shards: a pod is told of when its worker takes tunnels, and from then on") {
  Shards shards;
  const std::vector<Publishable> not_ready{{claim("a")}};
  CHECK(shards.want(not_ready, {}, kStart).empty());
  const auto told = shards.want({{claim("a"), true}, {claim("b"), true}, {claim("c"), false}}, {}, kStart);
  CHECK(uids(told) == Uids{"a", "b"});
  // Its worker has died, for however long.
  CHECK(shards.want(not_ready, told, kStart + seconds(1)).at(compile::shard_of("a")) == std::vector{claim("a")});
  CHECK(uids(shards.want({{claim("a")}, {claim("b")}, {claim("c")}}, told, kStart + std::chrono::hours(9))) ==
        Uids{"a", "b"});
}

TEST_CASE("shards: who is gone is told of for a moment, and not longer") {
  Shards shards;
  const auto told = shards.want({{claim("a"), true}}, {}, kStart);
  CHECK(shards.want({}, told, kStart) == told);
  CHECK(shards.want({}, told, kStart + Shards::kPatience - milliseconds(1)) == told);
  CHECK(shards.want({}, told, kStart + Shards::kPatience).empty());
  CHECK(shards.want({}, told, kStart + std::chrono::hours(1)).empty());  // also while that is not written yet
}

TEST_CASE("shards: who comes back within that moment begins anew") {
  Shards shards;
  const auto told = shards.want({{claim("a"), true}}, {}, kStart);
  CHECK(shards.want({}, told, kStart) == told);
  CHECK(shards.want({{claim("a")}}, told, kStart + seconds(4)) == told);
  CHECK(shards.want({}, told, kStart + seconds(6)) == told);
  CHECK(shards.want({}, told, kStart + seconds(10)) == told);
  CHECK(shards.want({}, told, kStart + seconds(11)).empty());
  // It was taken away, and stands there again by somebody's hand: the same moment as before anybody.
  CHECK(shards.want({}, {}, kStart + seconds(12)).empty());
  CHECK(shards.want({}, told, kStart + seconds(13)) == told);
  CHECK(shards.want({}, told, kStart + seconds(18)).empty());
}

TEST_CASE("shards: what a pod is now is told, not what it was") {
  Shards shards;
  const auto told = shards.want({{claim("a", "10.0.0.1"), true}}, {}, kStart);
  for (const bool ready : {true, false}) {
    const auto now = shards.want({{claim("a", "10.0.0.2"), ready}}, told, kStart + seconds(1));
    CHECK(now == Shards::Wanted{{compile::shard_of("a"), {claim("a", "10.0.0.2")}}});
  }
}

TEST_CASE("shards: in order, and each pod in its shard wherever it stood") {
  Shards shards;
  // Three of one shard, in no order.
  std::vector<std::string> same;
  for (int i = 0; same.size() < 3; ++i)
    if (const auto uid = "u" + std::to_string(i); compile::shard_of(uid) == 5) same.push_back(uid);
  const auto told = shards.want({{claim(same[2]), true}, {claim(same[0]), true}, {claim(same[1]), true}}, {}, kStart);
  std::ranges::sort(same);
  CHECK(told == Shards::Wanted{{5, {claim(same[0]), claim(same[1]), claim(same[2])}}});
  // Somebody wrote one into another shard.
  const auto wanted = shards.want({}, {{9, {claim(same[0])}}}, kStart);
  CHECK(wanted == Shards::Wanted{{5, {claim(same[0])}}});
}

}  // namespace
}  // namespace underpass
