// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/iterator.h"

#include <bpf/bpf.h>
#include <unistd.h>

#include <array>

#include "underpass/unique_fd.h"

namespace underpass::dataplane {

Result<std::string> read_iterator(const std::string& name, int program_fd) {
  const UniqueFd link(bpf_link_create(program_fd, 0, BPF_TRACE_ITER, nullptr));
  if (!link) return fail_errno("attach iterator " + name);
  const UniqueFd iterator(bpf_iter_create(link.get()));
  if (!iterator) return fail_errno("create iterator " + name);
  std::string out;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t size = ::read(iterator.get(), buffer.data(), buffer.size());
    if (size == 0) return out;
    if (size < 0 && errno != EAGAIN && errno != EINTR) return fail_errno("run iterator " + name);
    if (size > 0) out.append(buffer.data(), static_cast<std::size_t>(size));
  }
}

Result<void> run_iterator(const std::string& name, int program_fd) {
  if (auto done = read_iterator(name, program_fd); !done) return std::unexpected(done.error());
  return {};
}

}  // namespace underpass::dataplane
