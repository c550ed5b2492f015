// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/links.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>

namespace underpass::dataplane {
namespace {

// A digest of the program's instructions (struct bpf_prog_info).
std::string tag_of_program(int fd) {
  bpf_prog_info info{};
  __u32 size = sizeof(info);
  if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return {};
  return {reinterpret_cast<const char*>(info.tag), sizeof(info.tag)};
}

}  // namespace

std::string link_path(const std::string& pin_dir, const std::string& name) { return pin_dir + "/link_" + name; }

bool runs_program(int link_fd, int program_fd) {
  bpf_link_info info{};
  __u32 size = sizeof(info);
  if (bpf_obj_get_info_by_fd(link_fd, &info, &size) != 0) return false;
  const UniqueFd program(bpf_prog_get_fd_by_id(info.prog_id));
  return program && tag_of_program(program.get()) == tag_of_program(program_fd);
}

bool is_pinned_with(const std::string& path, int program_fd) {
  const UniqueFd link(bpf_obj_get(path.c_str()));
  return link && runs_program(link.get(), program_fd);
}

}  // namespace underpass::dataplane
