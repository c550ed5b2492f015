// SPDX-License-Identifier: Apache-2.0
// The datapath's decisions, loaded into the kernel and callable one by one: set the globals, run a program.
#pragma once

#include <bpf/bpf.h>
#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <memory>

#include "underpass/abi.h"
// After the types that it uses.
#include "decisions.skel.h"

namespace underpass::test {

class Decisions {
 public:
  Decisions() : skeleton_(decisions_bpf__open()) {
    REQUIRE(skeleton_ != nullptr);
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, skeleton_->obj) bpf_map__set_pin_path(map, nullptr);
    REQUIRE(decisions_bpf__load(skeleton_.get()) == 0);
  }
  decisions_bpf* operator->() { return skeleton_.get(); }

  std::uint64_t run(const bpf_program* program) {
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    // A program of packets wants one.
    static constexpr std::array<char, 64> kPacket{};
    if (bpf_program__type(program) == BPF_PROG_TYPE_SCHED_CLS) {
      options.data_in = kPacket.data();
      options.data_size_in = kPacket.size();
    }
    REQUIRE(bpf_prog_test_run_opts(bpf_program__fd(program), &options) == 0);
    REQUIRE(options.retval == 0);
    return skeleton_->bss->result;
  }

  void put_source_count(std::uint64_t pod) {
    const std::uint64_t none = 0;
    REQUIRE(bpf_map_update_elem(bpf_map__fd(skeleton_->maps.up_source_count), &pod, &none, BPF_ANY) == 0);
  }
  std::uint64_t source_count(std::uint64_t pod) {
    std::uint64_t count = 0;
    REQUIRE(bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.up_source_count), &pod, &count) == 0);
    return count;
  }
  void put_pool(std::uint64_t pod) {
    const up_budget empty{};
    REQUIRE(bpf_map_update_elem(bpf_map__fd(skeleton_->maps.up_budget), &pod, &empty, BPF_ANY) == 0);
  }
  std::uint64_t used_of_pool(std::uint64_t pod) {
    up_budget budget{};
    REQUIRE(bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.up_budget), &pod, &budget) == 0);
    return budget.used;
  }

 private:
  struct Destroy {
    void operator()(decisions_bpf* skeleton) const { decisions_bpf__destroy(skeleton); }
  };
  std::unique_ptr<decisions_bpf, Destroy> skeleton_;
};

}  // namespace underpass::test
