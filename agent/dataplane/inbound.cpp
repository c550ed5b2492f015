// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/inbound.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <array>
#include <cerrno>
#include <utility>

#include "agent/dataplane/libbpf_words.h"
#include "inbound.skel.h"
#include "underpass/unique_fd.h"

namespace underpass::dataplane {
namespace {

struct SkeletonDeleter {
  void operator()(inbound_bpf* skeleton) const { inbound_bpf__destroy(skeleton); }
};

bpf_insn instruction(int code, int to, int from, int offset, std::uint32_t immediate) {
  return {.code = static_cast<__u8>(code),
          .dst_reg = static_cast<__u8>(to & 0xf),
          .src_reg = static_cast<__u8>(from & 0xf),
          .off = static_cast<__s16>(offset),
          .imm = static_cast<__s32>(immediate)};
}

// *up_arrival = netns, then on to up_inbound. Written out, since it is loaded for every pod, and to parse an object for
// it would take longer than all the rest.
auto door_of(NetnsCookie netns, int arrival_map, int inbound_map) {
  constexpr int kMove = BPF_ALU64 | BPF_MOV | BPF_X, kMoveNumber = BPF_ALU64 | BPF_MOV | BPF_K;
  constexpr int kLoad64 = BPF_LD | BPF_DW | BPF_IMM, kCall = BPF_JMP | BPF_CALL;
  const bpf_insn high{};
  return std::array{
      instruction(kMove, BPF_REG_6, BPF_REG_1, 0, 0),  // the context
      instruction(BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, -4, 0),
      instruction(kLoad64, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, static_cast<std::uint32_t>(arrival_map)),
      high,
      instruction(kMove, BPF_REG_2, BPF_REG_10, 0, 0),
      instruction(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, static_cast<std::uint32_t>(-4)),
      instruction(kCall, 0, 0, 0, BPF_FUNC_map_lookup_elem),
      instruction(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_0, 0, 8, 0),  // to the last two
      instruction(kLoad64, BPF_REG_1, 0, 0, static_cast<std::uint32_t>(netns)),
      instruction(0, 0, 0, 0, static_cast<std::uint32_t>(netns >> 32)),
      instruction(BPF_STX | BPF_MEM | BPF_DW, BPF_REG_0, BPF_REG_1, 0, 0),
      instruction(kMove, BPF_REG_1, BPF_REG_6, 0, 0),
      instruction(kLoad64, BPF_REG_2, BPF_PSEUDO_MAP_FD, 0, static_cast<std::uint32_t>(inbound_map)),
      high,
      instruction(kMoveNumber, BPF_REG_3, 0, 0, 0),
      instruction(kCall, 0, 0, 0, BPF_FUNC_tail_call),
      instruction(kMoveNumber, BPF_REG_0, 0, 0, SK_DROP),  // nothing is behind the door
      instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
  };
}

}  // namespace

struct Inbound::Impl {
  std::unique_ptr<inbound_bpf, SkeletonDeleter> skeleton;

  [[nodiscard]] Result<UniqueFd> load_door(NetnsCookie netns) const {
    const auto door = door_of(netns, bpf_map__fd(skeleton->maps.up_arrival), bpf_map__fd(skeleton->maps.up_inbounds));
    bpf_prog_load_opts options{};
    options.sz = sizeof(options);
    options.expected_attach_type = BPF_SK_LOOKUP;
    UniqueFd program(bpf_prog_load(BPF_PROG_TYPE_SK_LOOKUP, "up_door", "GPL", door.data(), door.size(), &options));
    if (!program) return fail_errno("load up_door");
    return program;
  }
};

Inbound::Inbound(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Inbound::~Inbound() = default;

Result<std::unique_ptr<Inbound>> Inbound::load(const std::string& pin_dir) {
  bpf_object_open_opts options{};
  options.sz = sizeof(options);
  options.pin_root_path = pin_dir.c_str();
  auto impl = std::make_unique<Impl>();
  impl->skeleton.reset(inbound_bpf__open_opts(&options));
  if (!impl->skeleton) return fail_libbpf("open the BPF object of inbound connections", errno);
  if (const int error = inbound_bpf__load(impl->skeleton.get()); error != 0)
    return fail_libbpf("load the BPF program of inbound connections", error);
  const __u32 only = 0;
  const int program = bpf_program__fd(impl->skeleton->progs.up_inbound);
  if (bpf_map_update_elem(bpf_map__fd(impl->skeleton->maps.up_inbounds), &only, &program, BPF_ANY) != 0)
    return fail_errno("put up_inbound in its place");
  return std::unique_ptr<Inbound>(new Inbound(std::move(impl)));
}

Result<Inbound::Renewal> Inbound::renew(NetnsCookie netns, const std::string& link_path) const {
  UniqueFd link(bpf_obj_get(link_path.c_str()));
  if (!link) return fail_errno(link_path);
  auto door = impl_->load_door(netns);
  if (!door) return std::unexpected(door.error());
  return Renewal{.link = std::move(link), .door = std::move(*door)};
}

Result<void> Inbound::Renewal::put_in_place() const {
  if (bpf_link_update(link.get(), door.get(), nullptr) == 0 || errno == ENOLINK) return {};
  return fail_errno("replace up_door");
}

Result<void> Inbound::guard(NetnsCookie netns, int netns_fd, const std::string& link_path) const {
  // One door is as good as another: an earlier agent's goes on to our program.
  if (const UniqueFd link(bpf_obj_get(link_path.c_str())); link) return {};
  const auto door = impl_->load_door(netns);
  if (!door) return std::unexpected(door.error());
  const UniqueFd link(bpf_link_create(door->get(), netns_fd, BPF_SK_LOOKUP, nullptr));
  if (!link) return fail_errno("attach up_door to network namespace " + std::to_string(netns));
  if (bpf_obj_pin(link.get(), link_path.c_str()) != 0) return fail_errno("pin " + link_path);
  return {};
}

}  // namespace underpass::dataplane
