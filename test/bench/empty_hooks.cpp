// SPDX-License-Identifier: Apache-2.0
#include "test/bench/empty_hooks.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace underpass::bench {
namespace {

UniqueFd checked(int fd, const char* what) {
  if (fd < 0) throw std::system_error(errno, std::generic_category(), what);
  return UniqueFd(fd);
}

// Returns 1, by which the hooks of a cgroup mean yes.
UniqueFd load(bpf_prog_type type, bpf_attach_type attach, __u32 btf_id = 0) {
  constexpr std::array kProgram{
      bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 1},
      bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  bpf_prog_load_opts options{};
  options.sz = sizeof(options);
  options.expected_attach_type = attach;
  options.attach_btf_id = btf_id;
  return checked(bpf_prog_load(type, "empty", "GPL", kProgram.data(), kProgram.size(), &options),
                 "load an empty BPF program");
}

}  // namespace

EmptyHooks::EmptyHooks(const std::string& cgroup) {
  const UniqueFd target = checked(::open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), cgroup.c_str());
  const auto attach = [&](bpf_prog_type type, bpf_attach_type where) {
    const UniqueFd program = load(type, where);
    links_.push_back(checked(bpf_link_create(program.get(), target.get(), where, nullptr), "attach it to a cgroup"));
  };
  attach(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT);
  attach(BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS);
  const int tracepoint = libbpf_find_vmlinux_btf_id("sock_recv_length", BPF_TRACE_RAW_TP);
  if (tracepoint <= 0) return;  // this kernel has none, and the agent does without
  const UniqueFd program = load(BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP, static_cast<__u32>(tracepoint));
  links_.push_back(checked(bpf_raw_tracepoint_open(nullptr, program.get()), "attach it to a tracepoint"));
}

}  // namespace underpass::bench
