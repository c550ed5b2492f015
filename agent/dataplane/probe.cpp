// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/probe.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "agent/dataplane/kernel_symbol.h"

namespace underpass::dataplane {
namespace {

constexpr const char* kReads = "recv-tracepoint";

std::string kernel_release() {
  utsname name{};
  return ::uname(&name) == 0 ? name.release : "unknown";
}

bool has_helper(bpf_prog_type type, bpf_func_id helper) { return libbpf_probe_bpf_helper(type, helper, nullptr) == 1; }

Capability row(std::string name, bool good, std::string found, std::string missing) {
  return {.name = std::move(name),
          .result = good ? "exact" : "tcp",
          .reason = good ? std::move(found) : std::move(missing)};
}

constexpr const char* kByFentry = "splice(), FIONREAD and SIOCATMARK are seen by fentry";

Capability call_row(const CallProbe& probe) {
  switch (probe.means) {
    case CallMeans::kFentry:
      return {.name = kCallWatch, .result = "guarded", .reason = kByFentry};
    case CallMeans::kWatchpoints:
      return {.name = kCallWatch,
              .result = "guarded",
              .reason =
                  "splice(), FIONREAD and SIOCATMARK are seen by hardware watchpoints (no fentry here): those "
                  "calls take some microseconds more on every TCP socket of the node"};
    case CallMeans::kNone:
      break;
  }
  return {.name = kCallWatch, .result = "tcp", .reason = probe.missing + ": splice() and FIONREAD cannot be seen"};
}

}  // namespace

Result<std::vector<Capability>> probe_capabilities(Watchpoints watchpoints) {
  libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
  const std::string kernel = "kernel " + kernel_release();
  const std::unique_ptr<btf, decltype(&btf__free)> types(btf__load_vmlinux_btf(), &btf__free);
  if (libbpf_get_error(types.get()) != 0)
    return fail(kernel +
                ": no type information (/sys/kernel/btf/vmlinux): a kernel with CONFIG_DEBUG_INFO_BTF is needed");
  if (!has_helper(BPF_PROG_TYPE_SOCK_OPS, BPF_FUNC_get_netns_cookie)) {
    if (::geteuid() != 0) return fail("probing the kernel needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: run as root");
    return fail(kernel + ": the helper bpf_get_netns_cookie is missing in sockops: Linux 5.15 or newer is needed");
  }

  std::vector<Capability> rows;
  rows.push_back({.name = "btf", .result = "exact", .reason = kernel});
  rows.push_back({.name = "netns-cookie", .result = "exact", .reason = "pods are known by their network namespace"});
  rows.push_back(row("sockhash", libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SOCKHASH, nullptr) == 1,
                     "sockets can be mapped", "map type sockhash is missing (CONFIG_BPF_STREAM_PARSER)"));
  rows.push_back(
      row("socket-reads", has_helper(BPF_PROG_TYPE_SK_MSG, BPF_FUNC_probe_read_kernel),
          "the receiver's state is checked on every message",
          "bpf_probe_read_kernel is refused in sk_msg (lockdown=confidentiality?): order cannot be checked"));
  rows.push_back(row("waiting-readers", woken_wake_function() != 0, "readers asleep in TCP are recognised",
                     "woken_wake_function cannot be read from /proc/kallsyms (kernel.kptr_restrict, lockdown?)"));
  Capability reads =
      row(kReads, btf__find_by_name_kind(types.get(), "btf_trace_sock_recv_length", BTF_KIND_TYPEDEF) > 0,
          "MSG_WAITALL and reads that bypass recv() are seen",
          "tracepoint sock_recv_length is missing (Linux 6.3): MSG_WAITALL cannot be seen");
  if (reads.result == "exact") reads.result = "guarded";
  rows.push_back(std::move(reads));
  rows.push_back(call_row(probe_call_means(watchpoints)));
  return rows;
}

int probe_deny_errno() {
  return has_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval) ? ECONNREFUSED : EPERM;
}

bool concerns_all_modes(const Capability& row) {
  return row.name != kCallWatch && row.name != "splice" && row.name != "fionread";
}

Programs::Fitness fitness_of(const std::vector<Capability>& capabilities) {
  Programs::Fitness fitness;
  fitness.short_circuit = std::ranges::none_of(
      capabilities, [](const auto& row) { return row.result == "tcp" && concerns_all_modes(row); });
  fitness.sees_reads =
      std::ranges::any_of(capabilities, [](const auto& row) { return row.name == kReads && row.result != "tcp"; });
  const auto calls = std::ranges::find(capabilities, kCallWatch, &Capability::name);
  const bool calls_fail = std::ranges::any_of(
      capabilities, [](const auto& row) { return row.result == "tcp" && !concerns_all_modes(row); });
  if (calls != capabilities.end() && !calls_fail)
    fitness.calls = calls->reason == kByFentry ? CallMeans::kFentry : CallMeans::kWatchpoints;
  return fitness;
}

}  // namespace underpass::dataplane
