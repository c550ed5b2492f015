// SPDX-License-Identifier: Apache-2.0
#include "test/bench/syscall_count.h"

#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "test/support/files.h"

namespace underpass::bench {
namespace {

// The number of tracepoint syscalls/sys_enter_bpf; tracefs is mounted nowhere else but for this moment.
std::uint64_t tracepoint_id() {
  std::string folder = test::fs::temp_directory_path() / "up-bench-trace-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) test::throw_errno("mkdtemp " + folder);
  const bool mounted = ::mount("tracefs", folder.c_str(), "tracefs", 0, nullptr) == 0;
  std::uint64_t id = 0;
  try {
    if (mounted) id = std::stoull(test::read_file(folder + "/events/syscalls/sys_enter_bpf/id"));
  } catch (const std::exception&) {
    id = 0;  // said below
  }
  if (mounted) ::umount2(folder.c_str(), MNT_DETACH);
  ::rmdir(folder.c_str());
  if (id == 0) throw std::runtime_error("no tracepoint sys_enter_bpf");
  return id;
}

std::string only_writes() {
  std::string filter;
  for (const int command : {BPF_MAP_UPDATE_ELEM, BPF_MAP_DELETE_ELEM, BPF_MAP_UPDATE_BATCH, BPF_MAP_DELETE_BATCH}) {
    filter += (filter.empty() ? "cmd == " : " || cmd == ") + std::to_string(command);
  }
  return filter;
}

}  // namespace

MapWrites::MapWrites(pid_t pid) {
  perf_event_attr attributes{};
  attributes.type = PERF_TYPE_TRACEPOINT;
  attributes.size = sizeof attributes;
  attributes.config = tracepoint_id();
  const std::string filter = only_writes();
  for (const auto& task : test::fs::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    const int tid = std::stoi(task.path().filename().string());
    UniqueFd counter(static_cast<int>(::syscall(SYS_perf_event_open, &attributes, tid, -1, -1, PERF_FLAG_FD_CLOEXEC)));
    if (!counter && errno == ESRCH) continue;  // it looked into a network namespace, and ended
    if (!counter) test::throw_errno("perf_event_open sys_enter_bpf");
    if (::ioctl(counter.get(), PERF_EVENT_IOC_SET_FILTER, filter.c_str()) != 0)
      test::throw_errno("filter of sys_enter_bpf");
    counters_.push_back(std::move(counter));
  }
}

std::uint64_t MapWrites::count() const {
  std::uint64_t sum = 0;
  for (const UniqueFd& counter : counters_) {
    std::uint64_t value = 0;
    if (::read(counter.get(), &value, sizeof value) != sizeof value) test::throw_errno("read a counter of bpf()");
    sum += value;
  }
  return sum;
}

}  // namespace underpass::bench
