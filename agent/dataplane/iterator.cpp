// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/iterator.h"

#include <bpf/bpf.h>
#include <unistd.h>

#include <array>

#include "underpass/unique_fd.h"

namespace underpass::dataplane {

Result<void> run_iterator(const std::string& name, int program_fd, int map_fd) {
  bpf_iter_link_info target{};
  target.map.map_fd = static_cast<__u32>(map_fd);
  bpf_link_create_opts options{};
  options.sz = sizeof(options);
  if (map_fd >= 0) {
    options.iter_info = &target;
    options.iter_info_len = sizeof(target);
  }
  const UniqueFd link(bpf_link_create(program_fd, 0, BPF_TRACE_ITER, &options));
  if (!link) return fail_errno("attach iterator " + name);
  const UniqueFd iterator(bpf_iter_create(link.get()));
  if (!iterator) return fail_errno("create iterator " + name);
  std::array<char, 64> nothing{};
  for (;;) {
    const ssize_t size = ::read(iterator.get(), nothing.data(), nothing.size());
    if (size == 0) return {};
    if (size < 0 && errno != EAGAIN && errno != EINTR) return fail_errno("run iterator " + name);
  }
}

}  // namespace underpass::dataplane
