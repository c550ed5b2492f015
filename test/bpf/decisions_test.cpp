// SPDX-License-Identifier: Apache-2.0
// Table tests of the datapath's decisions, run in the kernel as they are compiled for it.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <string>

#include "test/bpf/decisions.h"
#include "underpass/ip_address.h"
#include "underpass/seal.h"

namespace {

using underpass::IpAddress;
using underpass::test::Decisions;

constexpr std::uint64_t kPodNetns = 77;

up_addr address(const std::string& text) { return IpAddress::parse(text).value().to_abi(); }

up_pod pod(up_mode mode, std::uint32_t namespace_id, bool mesh = false) {
  return {.mode = mode, .peers_mesh = mesh ? 1u : 0u, .namespace_id = namespace_id};
}

}  // namespace

TEST_CASE("a pair is short-circuited only when both ends want it, off before auto before on") {
  struct Row {
    up_mode a, b;
    up_why why;
  };
  Decisions decisions;
  for (const Row& row :
       {Row{UP_MODE_ON, UP_MODE_ON, UP_WHY_NONE}, Row{UP_MODE_ON, UP_MODE_AUTO, UP_WHY_LEARNING},
        Row{UP_MODE_AUTO, UP_MODE_AUTO, UP_WHY_LEARNING}, Row{UP_MODE_ON, UP_MODE_OFF, UP_WHY_MODE_OFF},
        Row{UP_MODE_AUTO, UP_MODE_OFF, UP_WHY_MODE_OFF}}) {
    CAPTURE(row.a);
    CAPTURE(row.b);
    decisions->bss->pod_a = pod(row.a, 1);
    decisions->bss->pod_b = pod(row.b, 1);
    CHECK(decisions.run(decisions->progs.pair_why) == row.why);
    std::swap(decisions->bss->pod_a, decisions->bss->pod_b);
    CHECK(decisions.run(decisions->progs.pair_why) == row.why);
  }
}

TEST_CASE("two namespaces are short-circuited only when both ends say mesh") {
  Decisions decisions;
  for (const bool a : {false, true})
    for (const bool b : {false, true}) {
      decisions->bss->pod_a = pod(UP_MODE_ON, 1, a);
      decisions->bss->pod_b = pod(UP_MODE_ON, 2, b);
      CHECK(decisions.run(decisions->progs.pair_why) == (a && b ? UP_WHY_NONE : UP_WHY_NAMESPACES));
    }
}

TEST_CASE("loopback is recognised in every form, and nothing else is") {
  Decisions decisions;
  for (const auto* text : {"127.0.0.1", "127.255.255.254", "::ffff:127.0.0.1", "::1"}) {
    CAPTURE(text);
    decisions->bss->address = address(text);
    CHECK(decisions.run(decisions->progs.is_loopback) == 1);
  }
  for (const auto* text : {"126.0.0.1", "128.0.0.1", "10.0.0.1", "::", "::2", "::127.0.0.1", "fd00::1", "0.0.0.0"}) {
    CAPTURE(text);
    decisions->bss->address = address(text);
    CHECK(decisions.run(decisions->progs.is_loopback) == 0);
  }
}

TEST_CASE("an address leads to its pod, loopback to one's own, the rest nowhere") {
  Decisions decisions;
  const up_ip_key key{address("10.0.0.2")};
  const up_ip ip{.netns_cookie = kPodNetns, .seal = up_ip_seal(&key, kPodNetns), .pad = 0};
  REQUIRE(bpf_map_update_elem(bpf_map__fd(decisions->maps.up_ips), &key, &ip, BPF_ANY) == 0);
  decisions->bss->netns = 5;
  decisions->bss->address = address("10.0.0.2");
  CHECK(decisions.run(decisions->progs.netns_of) == kPodNetns);
  decisions->bss->address = address("127.0.0.1");
  CHECK(decisions.run(decisions->progs.netns_of) == 5);
  decisions->bss->address = address("10.0.0.3");
  CHECK(decisions.run(decisions->progs.netns_of) == 0);
}

TEST_CASE("rows of a pod whose seals do not fit: nobody's address, and a pod that is closed") {
  Decisions decisions;
  const up_ip_key key{address("10.0.0.2")};
  const up_ip another{.netns_cookie = kPodNetns, .seal = up_ip_seal(&key, kPodNetns + 1), .pad = 0};
  REQUIRE(bpf_map_update_elem(bpf_map__fd(decisions->maps.up_ips), &key, &another, BPF_ANY) == 0);
  decisions->bss->netns = 5;
  decisions->bss->address = address("10.0.0.2");
  CHECK(decisions.run(decisions->progs.netns_of) == 0);

  const int pods = bpf_map__fd(decisions->maps.up_pods);
  const std::uint64_t cookie = kPodNetns;
  up_pod pod{};
  pod.identity = 9;
  pod.capture = UP_CAPTURE_OUTBOUND;
  pod.seal = up_pod_seal(cookie, pod.identity, pod.policy, pod.capture);
  decisions->bss->netns = cookie;
  CHECK(decisions.run(decisions->progs.standing_of) == 0);
  REQUIRE(bpf_map_update_elem(pods, &cookie, &pod, BPF_ANY) == 0);
  CHECK(decisions.run(decisions->progs.standing_of) == 1);
  CHECK(decisions->bss->standing_identity == 9);
  CHECK(decisions->bss->standing_policy == 0);
  CHECK(decisions->bss->standing_capture == UP_CAPTURE_OUTBOUND);
  pod.identity = 10;
  REQUIRE(bpf_map_update_elem(pods, &cookie, &pod, BPF_ANY) == 0);
  CHECK(decisions.run(decisions->progs.standing_of) == 1);
  CHECK(decisions->bss->standing_identity == UP_IDENTITY_UNAUTHENTICATED);
  CHECK(decisions->bss->standing_policy == UP_POLICY_CLOSED);
  CHECK(decisions->bss->standing_capture == UP_CAPTURE_TUNNEL);
}

TEST_CASE("a source record is believed once, and only with the client's sequence number and the server's netns") {
  Decisions decisions;
  decisions.put_source_count(1);
  const auto publish = [&] {
    decisions->bss->client = {.netns_cookie = 1, .cookie = 4711, .addr = address("10.0.0.1"), .port = htons(40000)};
    decisions->bss->server = {.netns_cookie = 2, .addr = address("10.0.0.2"), .port = htons(80)};
    decisions->bss->number = 1000;
    decisions.run(decisions->progs.source_publish);
    decisions->bss->number = 1001;
  };
  SUBCASE("the true SYN") {
    publish();
    CHECK(decisions.run(decisions->progs.source_consume) == 4711);
    CHECK(decisions.run(decisions->progs.source_consume) == 0);
  }
  SUBCASE("another sequence number takes the record away and gives nothing") {
    publish();
    decisions->bss->number = 1002;
    CHECK(decisions.run(decisions->progs.source_consume) == 0);
    decisions->bss->number = 1001;
    CHECK(decisions.run(decisions->progs.source_consume) == 0);
  }
  SUBCASE("the same addresses in another pod") {
    publish();
    decisions->bss->server.netns_cookie = 3;
    CHECK(decisions.run(decisions->progs.source_consume) == 0);
  }
  SUBCASE("another port") {
    publish();
    decisions->bss->client.port = htons(40001);
    CHECK(decisions.run(decisions->progs.source_consume) == 0);
  }
  SUBCASE("sequence numbers wrap") {
    publish();
    decisions->bss->number = 0xffffffff;
    decisions.run(decisions->progs.source_publish);
    decisions->bss->number = 0;
    CHECK(decisions.run(decisions->progs.source_consume) == 4711);
  }
}

TEST_CASE("a socket that closes takes its own source record along, and not that of the one that came after it") {
  Decisions decisions;
  decisions.put_source_count(1);
  decisions->bss->client = {.netns_cookie = 1, .cookie = 4711, .addr = address("10.0.0.1"), .port = htons(40000)};
  decisions->bss->server = {.netns_cookie = 2, .addr = address("10.0.0.2"), .port = htons(80)};
  decisions->bss->number = 1000;
  decisions.run(decisions->progs.source_publish);
  decisions->bss->client.cookie = 4712;
  decisions.run(decisions->progs.source_withdraw);
  CHECK(decisions.source_count(1) == 1);
  decisions->bss->client.cookie = 4711;
  decisions.run(decisions->progs.source_withdraw);
  CHECK(decisions.source_count(1) == 0);
  decisions->bss->number = 1001;
  CHECK(decisions.run(decisions->progs.source_consume) == 0);
}

TEST_CASE("source records are bounded by pod, and who has no count has none") {
  constexpr int kMost = 4096;
  Decisions decisions;
  decisions.put_source_count(1);
  decisions.put_source_count(2);
  decisions->bss->server = {.netns_cookie = 9, .addr = address("10.0.0.2"), .port = htons(80)};
  const auto dial = [&](std::uint64_t netns, int port) {
    decisions->bss->client = {
        .netns_cookie = netns, .cookie = 5, .addr = address("10.0.0.1"), .port = htons(static_cast<uint16_t>(port))};
    decisions->bss->client.addr.bytes[15] = static_cast<std::uint8_t>(netns);
    decisions->bss->number = 1000;
    decisions.run(decisions->progs.source_publish);
  };
  const auto consume = [&] {
    decisions->bss->number = 1001;
    return decisions.run(decisions->progs.source_consume) == 5;
  };
  for (int port = 1; port <= kMost + 10; ++port) dial(1, port);
  CHECK(decisions.source_count(1) == kMost);
  CHECK_FALSE(consume());
  dial(2, 1);
  CHECK(consume());
  CHECK(decisions.source_count(2) == 0);
  dial(1, 1);  // the same addresses once more: one takes the other's place
  CHECK(decisions.source_count(1) == kMost);
  CHECK(consume());
  dial(1, kMost + 1);
  CHECK(consume());
  dial(3, 1);
  CHECK_FALSE(consume());
}

TEST_CASE("a direction is charged by bytes and messages, out of the node's pool and the pod's") {
  Decisions decisions;
  decisions.put_pool(0);
  decisions.put_pool(kPodNetns);
  decisions->bss->netns = kPodNetns;
  decisions->bss->config = {.node_budget = 1 << 20,
                            .pod_budget = 1 << 20,
                            .dir_bytes = UP_DEFAULT_DIR_BYTES,
                            .dir_messages = UP_DEFAULT_DIR_MESSAGES};
  const auto send = [&](std::uint32_t bytes) {
    decisions->bss->number = bytes;
    return decisions.run(decisions->progs.charge_why);
  };
  SUBCASE("tokens are taken in grants and given back") {
    CHECK(send(1) == UP_WHY_NONE);
    CHECK(decisions->bss->direction.charge == 1 + UP_MESSAGE_COST);
    CHECK(decisions.used_of_pool(0) == UP_GRANT);
    CHECK(decisions.used_of_pool(kPodNetns) == UP_GRANT);
    CHECK(send(UP_GRANT) == UP_WHY_NONE);
    CHECK(decisions.used_of_pool(0) == 2 * UP_GRANT);
    decisions.run(decisions->progs.tokens_release);
    CHECK(decisions.used_of_pool(0) == 0);
    CHECK(decisions.used_of_pool(kPodNetns) == 0);
  }
  SUBCASE("one-byte messages are stopped by their number") {
    decisions->bss->config.node_budget = decisions->bss->config.pod_budget = 64 << 20;
    for (unsigned i = 0; i < UP_DEFAULT_DIR_MESSAGES; ++i) REQUIRE(send(1) == UP_WHY_NONE);
    CHECK(send(1) == UP_WHY_QUEUE_FULL);
  }
  SUBCASE("what the reader has taken makes room again") {
    decisions->bss->config.node_budget = decisions->bss->config.pod_budget = 64 << 20;
    while (send(1) == UP_WHY_NONE) {
    }
    decisions->bss->direction.seen += 100;
    unsigned more = 0;
    while (send(1) == UP_WHY_NONE) ++more;
    CHECK(more >= 99);
    CHECK(more <= 100);
    decisions->bss->direction.seen = decisions->bss->direction.redirected_bytes;
    CHECK(send(1) == UP_WHY_NONE);
    CHECK(decisions->bss->direction.charge == 1 + UP_MESSAGE_COST);
  }
  SUBCASE("large messages are stopped by their bytes") {
    decisions->bss->config.node_budget = decisions->bss->config.pod_budget = 64 << 20;
    unsigned sent = 0;
    while (send(65536) == UP_WHY_NONE) ++sent;
    CHECK(sent == UP_DEFAULT_DIR_BYTES / (65536 + UP_MESSAGE_COST));
    CHECK(decisions->bss->result == UP_WHY_QUEUE_FULL);
  }
  SUBCASE("the node's pool") {
    decisions->bss->config.node_budget = 2 * UP_GRANT;
    CHECK(send(2 * UP_GRANT) == UP_WHY_NODE_BUDGET);
    CHECK(decisions.used_of_pool(0) == 0);
    CHECK(send(UP_GRANT) == UP_WHY_NONE);
  }
  SUBCASE("the pod's pool gives back what the node's had granted") {
    decisions->bss->config.pod_budget = UP_GRANT;
    CHECK(send(UP_GRANT) == UP_WHY_POD_BUDGET);
    CHECK(decisions.used_of_pool(0) == 0);
    CHECK(decisions.used_of_pool(kPodNetns) == 0);
  }
  SUBCASE("a pod without a pool gets nothing") {
    decisions->bss->netns = 12345;
    CHECK(send(1) == UP_WHY_POD_BUDGET);
    CHECK(decisions.used_of_pool(0) == 0);
  }
}
