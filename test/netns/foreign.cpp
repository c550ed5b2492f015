// SPDX-License-Identifier: Apache-2.0
#include "test/netns/foreign.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>

#include <cstring>

#include "test/support/files.h"

namespace underpass::test {

ForeignPrograms::ForeignPrograms(const fs::path& cgroup)
    : cgroup_(open_file(cgroup, O_RDONLY | O_DIRECTORY)),
      object_(::bpf_object__open_file(UNDERPASS_TEXTBOOK, nullptr), ::bpf_object__close) {
  if (!object_) throw_errno("open " UNDERPASS_TEXTBOOK);
  if (const int error = ::bpf_object__load(object_.get()); error != 0) throw_errno("load " UNDERPASS_TEXTBOOK, -error);
}

ForeignPrograms::~ForeignPrograms() {
  for (const auto& detach : detach_) detach();
}

int ForeignPrograms::program(const char* name) const {
  return ::bpf_program__fd(::bpf_object__find_program_by_name(object_.get(), name));
}

void ForeignPrograms::attach_sockmap(Redirects redirects) {
  // The first variable of .bss/.data is tb_redirects, the only one.
  bpf_map* data = nullptr;
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object_.get()) {
    if (std::strstr(::bpf_map__name(map), ".data") != nullptr) data = map;
  }
  const __u32 key = 0;
  const __u32 value = static_cast<__u32>(redirects);
  if (::bpf_map_update_elem(::bpf_map__fd(data), &key, &value, BPF_ANY) != 0) throw_errno("write tb_redirects");
  const int socks = ::bpf_map__fd(::bpf_object__find_map_by_name(object_.get(), "tb_socks"));
  if (::bpf_prog_attach(program("tb_msg"), socks, BPF_SK_MSG_VERDICT, 0) != 0) throw_errno("attach sk_msg");
  detach_.emplace_back([msg = program("tb_msg"), socks] { ::bpf_prog_detach2(msg, socks, BPF_SK_MSG_VERDICT); });
  if (::bpf_prog_attach(program("tb_sockops"), cgroup_.get(), BPF_CGROUP_SOCK_OPS, BPF_F_ALLOW_MULTI) != 0) {
    throw_errno("attach sockops");
  }
  detach_.emplace_back([this] { ::bpf_prog_detach2(program("tb_sockops"), cgroup_.get(), BPF_CGROUP_SOCK_OPS); });
}

void ForeignPrograms::attach_connect4(bool exclusive) {
  if (::bpf_prog_attach(program("tb_connect4"), cgroup_.get(), BPF_CGROUP_INET4_CONNECT,
                        exclusive ? 0u : BPF_F_ALLOW_MULTI) != 0) {
    throw_errno("attach connect4");
  }
  detach_.emplace_back([this] { ::bpf_prog_detach2(program("tb_connect4"), cgroup_.get(), BPF_CGROUP_INET4_CONNECT); });
}

}  // namespace underpass::test
