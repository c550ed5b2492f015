// SPDX-License-Identifier: Apache-2.0
// Which backend connect() is led to, run in the kernel as it is compiled for it.
#include <arpa/inet.h>

#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "test/bpf/decisions.h"
#include "test/support/chi_squared.h"
#include "underpass/ip_address.h"
#include "underpass/seal.h"

namespace underpass::test {
namespace {

constexpr std::uint32_t kService = 7;
enum Outcome : std::uint64_t { kNoService, kNothingReady, kChosen };

up_addr address(const std::string& text) { return IpAddress::parse(text).value().to_abi(); }

template <typename Key, typename Value>
void put(const bpf_map* map, const Key& key, const Value& value) {
  REQUIRE(bpf_map_update_elem(bpf_map__fd(map), &key, &value, BPF_ANY) == 0);
}

// 10.96.0.1:80/TCP, dialled by a pod.
class Choice {
 public:
  Choice() {
    up_service_key& dial = decisions_->bss->dialled;
    dial.addr = address("10.96.0.1");
    dial.port = htons(80);
    dial.protocol = IPPROTO_TCP;
    set_client(77, 0);
  }

  void serve(std::uint32_t slots, std::uint32_t flags = 0, std::uint32_t affinity_s = 0,
             const std::string& at = "10.96.0.1") {
    const up_service_key key{.addr = address(at), .port = htons(80), .protocol = IPPROTO_TCP};
    up_service value{};
    value.id = kService;
    value.slots = slots;
    value.flags = flags;
    value.affinity_s = affinity_s;
    value.seal = up_service_seal(&key, value.id, value.slots, value.affinity_s, value.flags);
    put(decisions_->maps.up_services, key, value);
  }
  // Slot n leads to port n + 1.
  void fill(std::uint32_t slots) {
    for (std::uint32_t slot = 0; slot < slots; ++slot) put_slot(slot, slot + 1);
  }
  void put_slot(std::uint32_t slot, std::uint32_t port, std::uint32_t service = kService) {
    put_slot(slot, port, service, service);
  }
  // With the seal of another Service's.
  void put_slot(std::uint32_t slot, std::uint32_t port, std::uint32_t service, std::uint32_t sealed_for) {
    const up_backend_key sealed{sealed_for, slot};
    up_backend backend{};
    backend.addr = address("10.0.0.1");
    backend.port = htons(static_cast<std::uint16_t>(port));
    backend.seal = up_backend_seal(&sealed, &backend.addr, backend.port);
    put(decisions_->maps.up_backends, up_backend_key{service, slot}, backend);
  }
  // As a program may see it that reads while the row is replaced: one of a slot, with the seal of none.
  void break_seal() {
    const up_service_key key{.addr = address("10.96.0.1"), .port = htons(80), .protocol = IPPROTO_TCP};
    up_service value{};
    value.id = kService;
    value.slots = 1;
    value.seal = up_service_seal(&key, kService, 0, 0, 0);
    put(decisions_->maps.up_services, key, value);
  }
  void remove_slot(std::uint32_t slot) {
    const up_backend_key key{kService, slot};
    REQUIRE(bpf_map_delete_elem(bpf_map__fd(decisions_->maps.up_backends), &key) == 0);
  }
  // Each entry of the table leads to another slot than its neighbours, in its block and in the next.
  static std::uint16_t slot_of(std::uint32_t entry) { return static_cast<std::uint16_t>(entry * 7 % 97); }
  void put_block(std::uint32_t block) {
    up_maglev value{};
    for (std::uint32_t place = 0; place < UP_MAGLEV_BLOCK; ++place)
      value.slot[place] = slot_of(block * UP_MAGLEV_BLOCK + place);
    put(decisions_->maps.up_maglev, up_maglev_key{kService, block}, value);
  }
  void put_node(const std::string& at) { put(decisions_->maps.up_nodes, up_ip_key{address(at)}, std::uint32_t{1}); }
  up_service_key& dialled() { return decisions_->bss->dialled; }
  void set_client(std::uint64_t netns, std::uint32_t hash) {
    decisions_->bss->netns = netns;
    decisions_->bss->sticky = hash;
  }

  Outcome run(std::uint32_t random = 0) {
    decisions_->bss->number = random;
    return static_cast<Outcome>(decisions_.run(decisions_->progs.backend_choose));
  }
  // The slot, told by its port; -1 unless there is one.
  int chosen(std::uint32_t random = 0) {
    return run(random) == kChosen ? ntohs(decisions_->bss->backend.port) - 1 : -1;
  }

 private:
  Decisions decisions_;
};

TEST_CASE("choice: an address that is no Service's, one behind which nothing is ready, one with a backend") {
  Choice choice;
  CHECK(choice.run() == kNoService);
  choice.serve(0);
  CHECK(choice.run() == kNothingReady);
  choice.fill(1);
  choice.serve(1);
  CHECK(choice.chosen() == 0);
  choice.dialled().protocol = IPPROTO_UDP;
  CHECK(choice.run() == kNoService);
}

// One sample in a thousand is implausible although the choice is even, so there is a second and a third one.
TEST_CASE("choice: every slot as often as any other (chi-squared, p > 0.001)") {
  constexpr int kConnections = 50'000;
  for (const std::uint32_t slots : {2U, 3U, 16U, 100U}) {
    Choice choice;
    choice.fill(slots);
    choice.serve(slots);
    bool even = false;
    for (int sample = 0; sample < 3 && !even; ++sample) {
      std::vector<double> seen(slots);
      for (int i = 0; i < kConnections; ++i) ++seen.at(static_cast<std::size_t>(choice.chosen()));
      even = is_plausible(seen, std::vector<double>(slots, static_cast<double>(kConnections) / slots));
    }
    CHECK(even);
  }
}

TEST_CASE("choice: a slot that was just taken away is nobody's: refused where the count was not, else read again") {
  Choice choice;
  choice.fill(4);
  choice.serve(4);
  choice.remove_slot(3);
  CHECK(choice.run(3) == kNothingReady);  // not an address that nobody said
  CHECK(choice.chosen(2) == 2);
  choice.serve(3);
  CHECK(choice.chosen(3) == 0);
}

TEST_CASE("choice: Maglev goes by the client, through the table's block") {
  Choice choice;
  choice.fill(97);
  choice.serve(97, UP_SERVICE_MAGLEV);
  choice.set_client(77, 0);
  CHECK(choice.run() == kNothingReady);  // no table yet
  for (std::uint32_t block = 0; block < UP_MAGLEV_BLOCKS; ++block) choice.put_block(block);
  for (const std::uint32_t sticky : {0U, 1U, 959U, 960U, 49918U, 49919U, 4'000'000'000U}) {
    CAPTURE(sticky);
    choice.set_client(77, sticky);
    const int wanted = Choice::slot_of(sticky % UP_MAGLEV_ENTRIES);
    for (int i = 0; i < 20; ++i) CHECK(choice.chosen() == wanted);
  }
}

TEST_CASE("choice: a node port at any address of a node, in its own family, and nowhere else") {
  Choice choice;
  choice.fill(1);
  choice.serve(1, 0, 0, "0.0.0.0");
  choice.dialled().addr = address("192.168.0.9");
  CHECK(choice.run() == kNoService);
  choice.put_node("192.168.0.9");
  CHECK(choice.chosen() == 0);
  choice.dialled().addr = address("fd00::9");
  choice.put_node("fd00::9");
  CHECK(choice.run() == kNoService);
  choice.serve(1, 0, 0, "::");
  CHECK(choice.chosen() == 0);
}

TEST_CASE("choice: affinity finds its backend where a change has moved it, and lets go of one that went") {
  Choice choice;
  choice.fill(100);
  choice.serve(100, 0, 10800);
  const int mine = choice.chosen();
  for (int i = 0; i < 50; ++i) REQUIRE(choice.chosen() == mine);
  // The slots of two backends are exchanged.
  const int other = (mine + 50) % 100;
  choice.put_slot(static_cast<std::uint32_t>(mine), static_cast<std::uint32_t>(other) + 1);
  choice.put_slot(static_cast<std::uint32_t>(other), static_cast<std::uint32_t>(mine) + 1);
  for (int i = 0; i < 50; ++i) REQUIRE(choice.chosen() == mine);
  // It goes.
  choice.put_slot(static_cast<std::uint32_t>(other), static_cast<std::uint32_t>(other) + 1);
  const int next = choice.chosen();
  CHECK(next != mine);
  for (int i = 0; i < 50; ++i) REQUIRE(choice.chosen() == next);
  // Another client has its own.
  choice.set_client(78, 0);
  std::map<int, int> seen;
  for (int i = 0; i < 20; ++i) ++seen[choice.chosen()];
  CHECK(seen.size() == 1);
}

TEST_CASE("choice: a row whose seal does not fit is not believed") {
  Choice choice;
  choice.serve(1);
  choice.fill(1);
  REQUIRE(choice.chosen() == 0);
  choice.put_slot(0, 1, kService, kService + 1);
  CHECK(choice.run() == kNothingReady);
  choice.fill(1);
  REQUIRE(choice.chosen() == 0);
  choice.break_seal();
  CHECK(choice.run() == kNothingReady);
}

// Since Linux 6.1 what a replaced entry stood in is the next one's at once, and soon its own again.
TEST_CASE("choice: never another Service's backend, however often both are replaced") {
  Choice choice;
  choice.fill(1);
  choice.serve(1);
  std::atomic<bool> over = false;
  std::thread writer([&] {
    while (!over) {
      choice.put_slot(0, 1);
      choice.put_slot(0, 9999, kService + 1);
    }
  });
  int others = 0;
  int found = 0;
  for (int i = 0; i < 300'000; ++i) {
    const int slot = choice.chosen(1);  // -1: replaced each time it was looked at
    others += slot > 0 ? 1 : 0;
    found += slot == 0 ? 1 : 0;
  }
  over = true;
  writer.join();
  CHECK(others == 0);
  CHECK(found > 0);
}

}  // namespace
}  // namespace underpass::test
