// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/call_watch.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <vector>

#include "agent/dataplane/iterator.h"
#include "agent/dataplane/links.h"
#include "agent/dataplane/pins.h"
#include "underpass.skel.h"
#include "underpass/unique_fd.h"

namespace underpass::dataplane {
namespace {

const std::string kPrefix = "call_";  // link_call_splice, link_call_ioctl_v6_cpu1, …

// Can a program be attached to the entry of a kernel function? Loading one does not tell.
bool has_fentry(const char* function) {
  const std::unique_ptr<btf, decltype(&btf__free)> types(btf__load_vmlinux_btf(), &btf__free);
  if (libbpf_get_error(types.get()) != 0) return false;
  const int id = btf__find_by_name_kind(types.get(), function, BTF_KIND_FUNC);
  if (id <= 0) return false;
  const std::array<bpf_insn, 2> return_0{
      bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 0},
      bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  bpf_prog_load_opts options{};
  options.sz = sizeof(options);
  options.expected_attach_type = BPF_TRACE_FENTRY;
  options.attach_btf_id = static_cast<__u32>(id);
  const UniqueFd program(
      bpf_prog_load(BPF_PROG_TYPE_TRACING, "up_probe", "GPL", return_0.data(), return_0.size(), &options));
  if (!program) return false;
  const UniqueFd link(bpf_raw_tracepoint_open(nullptr, program.get()));
  return static_cast<bool>(link);
}

// Of whatever runs on the CPU; -1: of the calling thread, wherever it runs.
UniqueFd open_watchpoint(std::uint64_t address, int cpu) {
  perf_event_attr attributes{};
  attributes.type = PERF_TYPE_BREAKPOINT;
  attributes.size = sizeof(attributes);
  attributes.bp_type = HW_BREAKPOINT_RW;  // x86 cannot watch reads alone; nobody writes there
  attributes.bp_addr = address;
  attributes.bp_len = HW_BREAKPOINT_LEN_8;
  attributes.sample_period = 1;
  return UniqueFd(
      static_cast<int>(::syscall(SYS_perf_event_open, &attributes, cpu < 0 ? 0 : -1, cpu, -1, PERF_FLAG_FD_CLOEXEC)));
}

#if defined(__x86_64__)
constexpr double kBearableCopy = 1.2;

using Copy = void (*)(void* to, const void* from, std::size_t count);

// As the kernel copies for recv().
void copy_by_string(void* to, const void* from, std::size_t count) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

// Word by word: what a watchpoint makes no difference to, and a fast path must beat.
void copy_by_words(void* to, const void* from, std::size_t count) {
  auto* target = static_cast<volatile std::uint64_t*>(to);
  const auto* source = static_cast<const volatile std::uint64_t*>(from);
  for (std::size_t i = 0; i < count / sizeof(std::uint64_t); ++i) target[i] = source[i];
}

// The shortest of some copies of 16 KiB, in nanoseconds.
double time_copy(Copy copy) {
  alignas(64) static std::array<char, 16384> from{}, to{};
  auto shortest = std::chrono::nanoseconds::max();
  for (int i = 0; i < 64; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    copy(to.data(), from.data(), from.size());
    shortest = std::min<std::chrono::nanoseconds>(shortest, std::chrono::steady_clock::now() - begin);
  }
  return static_cast<double>(shortest.count());
}

// Why watchpoints are not for us here; empty: they are.
std::string watchpoints_problem(bool at_any_price) {
  if (!std::filesystem::exists("/sys/bus/event_source/devices/breakpoint")) return "no hardware watchpoints";
  if (at_any_price) return "";
  const double without = time_copy(copy_by_string);
  static std::uint64_t watched = 0;
  const UniqueFd watchpoint = open_watchpoint(reinterpret_cast<std::uintptr_t>(&watched), -1);
  // All are set already, by an earlier agent or by somebody else: then this is how long it takes with one.
  const bool taken = !watchpoint && errno == ENOSPC;
  if (!watchpoint && !taken) return std::string("no hardware watchpoint can be set: ") + std::strerror(errno);
  const double ratio = time_copy(copy_by_string) / (taken ? time_copy(copy_by_words) : without);
  if (ratio <= kBearableCopy) return "";
  return "this processor copies memory " + std::to_string(std::lround(ratio)) +
         " times as long while a hardware watchpoint is set";
}
#else
std::string watchpoints_problem(bool) { return "no hardware watchpoints"; }
#endif

std::vector<std::string> pinned_names(const std::string& pin_dir) {
  std::vector<std::string> out;
  if (const auto pins = list_pins(pin_dir))
    for (const auto& name : pins->links)
      if (name.starts_with("link_" + kPrefix)) out.push_back(name);
  return out;
}

Result<void> pin(const UniqueFd& link, const std::string& path) {
  ::unlink(path.c_str());
  if (bpf_obj_pin(link.get(), path.c_str()) != 0) return fail_errno("pin " + path);
  return {};
}

Result<void> attach_fentry(const std::string& pin_dir, const std::string& name, const bpf_program* program) {
  const std::string path = link_path(pin_dir, kPrefix + name);
  if (is_pinned_with(path, bpf_program__fd(program))) return {};
  const UniqueFd link(bpf_raw_tracepoint_open(nullptr, bpf_program__fd(program)));
  if (!link) return fail_errno("attach " + name + " by fentry");
  return pin(link, path);
}

Result<void> attach_watchpoint(const std::string& pin_dir, const std::string& name, const bpf_program* program,
                               std::uint64_t address) {
  const int cpus = libbpf_num_possible_cpus();
  for (int cpu = 0; cpu < cpus; ++cpu) {
    const std::string path = link_path(pin_dir, kPrefix + name + "_cpu" + std::to_string(cpu));
    if (is_pinned_with(path, bpf_program__fd(program))) continue;
    const UniqueFd event = open_watchpoint(address, cpu);
    if (!event && errno == ENODEV) continue;  // a CPU that is possible and not there
    if (!event && errno == ENOSPC)
      return fail("watch " + name + " on CPU " + std::to_string(cpu) +
                  ": all hardware watchpoints are taken (perf, a debugger?)");
    if (!event) return fail_errno("watch " + name + " on CPU " + std::to_string(cpu));
    const UniqueFd link(bpf_link_create(bpf_program__fd(program), event.get(), BPF_PERF_EVENT, nullptr));
    if (!link) return fail_errno("attach to the watchpoint " + name);
    if (auto done = pin(link, path); !done) return done;
  }
  return {};
}

// Sockets of both families in our own namespace, for up_slots_of to look at. IPv6 may be off.
Result<void> find_slots(underpass_bpf& skeleton) {
  std::array<UniqueFd, 2> sockets;
  for (const int family : {AF_INET, AF_INET6}) {
    UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in6 loopback{};  // large enough for both; port 0
    loopback.sin6_family = static_cast<sa_family_t>(family);
    if (family == AF_INET6) loopback.sin6_addr = in6addr_loopback;
    if (family == AF_INET) reinterpret_cast<sockaddr_in&>(loopback).sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const auto* address = reinterpret_cast<const sockaddr*>(&loopback);
    const int index = family == AF_INET6 ? 1 : 0;
    socklen_t size = sizeof(skeleton.bss->up_slot_cookies[0]);
    // The iterator meets bound sockets that listen.
    if (fd && ::bind(fd.get(), address, sizeof(loopback)) == 0 && ::listen(fd.get(), 1) == 0)
      ::getsockopt(fd.get(), SOL_SOCKET, SO_COOKIE, &skeleton.bss->up_slot_cookies[index], &size);
    sockets[static_cast<std::size_t>(index)] = std::move(fd);
  }
  if (auto done = run_iterator("up_slots_of", bpf_program__fd(skeleton.progs.up_slots_of)); !done) return done;
  if (skeleton.bss->up_splice_slots[0] == 0) return fail("the table of socket operations was not found");
  return {};
}

}  // namespace

CallProbe probe_call_means(Watchpoints watchpoints) {
  if (has_fentry("tcp_splice_read") && has_fentry("inet_ioctl") && has_fentry("inet6_ioctl"))
    return {.means = CallMeans::kFentry, .missing = {}};
  if (watchpoints == Watchpoints::kNever)
    return {.means = CallMeans::kNone, .missing = "no fentry, and hardware watchpoints are not wanted"};
  auto problem = watchpoints_problem(watchpoints == Watchpoints::kAlways);
  if (problem.empty()) return {.means = CallMeans::kWatchpoints, .missing = {}};
  return {.means = CallMeans::kNone, .missing = "no fentry, and " + problem};
}

Result<void> attach_call_watch(underpass_bpf& skeleton, CallMeans means, const std::string& pin_dir) {
  const auto& programs = skeleton.progs;
  if (means == CallMeans::kFentry) {
    if (auto done = attach_fentry(pin_dir, "splice", programs.up_splice); !done) return done;
    if (auto done = attach_fentry(pin_dir, "ioctl_v4", programs.up_ioctl); !done) return done;
    return attach_fentry(pin_dir, "ioctl_v6", programs.up_ioctl6);
  }
  if (means != CallMeans::kWatchpoints) return {};
  if (auto done = find_slots(skeleton); !done) return done;
  for (int v6 = 0; v6 < 2; ++v6) {
    if (skeleton.bss->up_splice_slots[v6] == 0) continue;
    const std::string family = v6 != 0 ? "_v6" : "_v4";
    for (const auto& [name, program, address] :
         {std::tuple{"splice", programs.up_splice_slot, skeleton.bss->up_splice_slots[v6]},
          std::tuple{"ioctl", programs.up_ioctl_slot, skeleton.bss->up_ioctl_slots[v6]}}) {
      if (auto done = attach_watchpoint(pin_dir, name + family, program, address); !done) {
        detach_call_watch(pin_dir);
        return done;
      }
    }
  }
  return {};
}

bool is_call_watch_pinned(const std::string& pin_dir) { return !pinned_names(pin_dir).empty(); }

void detach_call_watch(const std::string& pin_dir) {
  for (const auto& name : pinned_names(pin_dir)) ::unlink((pin_dir + "/" + name).c_str());
}

}  // namespace underpass::dataplane
