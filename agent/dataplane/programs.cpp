// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <set>
#include <tuple>

#include "agent/dataplane/inbound.h"
#include "agent/dataplane/iterator.h"
#include "agent/dataplane/kernel_symbol.h"
#include "agent/dataplane/libbpf_words.h"
#include "agent/dataplane/links.h"
#include "agent/dataplane/netns.h"
#include "agent/dataplane/pins.h"
#include "underpass.skel.h"

namespace underpass::dataplane {
namespace {

// Of a pod's guard: this and the netns cookie.
const std::string kInboundLink = "inbound_";

std::string guard_name(NetnsCookie netns) { return kInboundLink + std::to_string(netns); }

struct SkeletonDeleter {
  void operator()(underpass_bpf* skeleton) const { underpass_bpf__destroy(skeleton); }
};

__u32 id_of_map(int fd) {
  bpf_map_info info{};
  __u32 size = sizeof(info);
  return bpf_obj_get_info_by_fd(fd, &info, &size) == 0 ? info.id : 0;
}

// 0: the cgroup that it was attached to is gone.
__u64 cgroup_of_link(int fd) {
  bpf_link_info info{};
  __u32 size = sizeof(info);
  return bpf_obj_get_info_by_fd(fd, &info, &size) == 0 ? info.cgroup.cgroup_id : 0;
}

// Who sits on the cgroup or above it with a program that allows no other: "prog_name (id 12) on /sys/fs/cgroup/x".
std::string exclusive_owner(const std::string& cgroup_root, bpf_attach_type type) {
  for (std::filesystem::path path = cgroup_root; path != path.root_path(); path = path.parent_path()) {
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    __u32 flags = 0, count = 1, id = 0;
    if (!fd || bpf_prog_query(fd.get(), type, 0, &flags, &id, &count) != 0 || count == 0) continue;
    if ((flags & BPF_F_ALLOW_MULTI) != 0) continue;
    UniqueFd program(bpf_prog_get_fd_by_id(id));
    bpf_prog_info info{};
    __u32 size = sizeof(info);
    if (program) bpf_obj_get_info_by_fd(program.get(), &info, &size);
    return std::string(info.name) + " (program id " + std::to_string(id) + ") on " + path.string();
  }
  return "unknown";
}

// What is attached to a cgroup, each by a pinned link of this name.
using Hooks = std::initializer_list<std::tuple<const char*, const bpf_program*, bpf_attach_type>>;

}  // namespace

struct Programs::Impl {
  std::string pin_dir;
  CallMeans calls = CallMeans::kNone;
  std::unique_ptr<underpass_bpf, SkeletonDeleter> skeleton;
  bool has_fresh_maps = false;       // those of an earlier agent were set aside
  std::set<std::string> renewed;     // links that have a program over ours
  std::unique_ptr<Inbound> inbound;  // null where nothing but inspecting is wanted
  Maps maps;
  ServiceMaps service_maps;
  PolicyMaps policy_maps;
  WorkerMaps worker_maps;

  [[nodiscard]] std::string link_path(const std::string& name) const { return dataplane::link_path(pin_dir, name); }

  // A pinned link with this very program stays as it is; one with another gets ours in its place; one to a cgroup that
  // is gone goes.
  Result<void> attach_cgroup(const std::string& name, const bpf_program* program, bpf_attach_type type,
                             const std::string& cgroup_root) {
    const int program_fd = bpf_program__fd(program);
    UniqueFd link(bpf_obj_get(link_path(name).c_str()));
    if (link && cgroup_of_link(link.get()) == 0) {
      ::unlink(link_path(name).c_str());
      link.reset();
    }
    if (link) {
      // The same instructions over other maps are another program.
      const bool theirs = has_fresh_maps && !renewed.contains(name);
      if (!theirs && runs_program(link.get(), program_fd)) return {};
      if (bpf_link_update(link.get(), program_fd, nullptr) != 0)
        return fail_errno("replace the program of " + link_path(name));
      renewed.insert(name);
      return {};
    }
    UniqueFd cgroup(::open(cgroup_root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!cgroup) return fail_errno("--cgroup-root " + cgroup_root);
    link.reset(bpf_link_create(program_fd, cgroup.get(), type, nullptr));
    if (!link && errno == EPERM)
      return fail("attach " + name + " to " + cgroup_root + ": another program is there that allows no second one: " +
                  exclusive_owner(cgroup_root, type) + ": detach it, or attach it with BPF_F_ALLOW_MULTI");
    if (!link) return fail_errno("attach " + name + " to " + cgroup_root);
    if (bpf_obj_pin(link.get(), link_path(name).c_str()) != 0) return fail_errno("pin " + link_path(name));
    return {};
  }

  Result<void> attach_if(bool on, const Hooks& hooks, const std::string& cgroup) {
    for (const auto& [name, program, type] : hooks) {
      const std::string path = link_path(name);
      if (on) {
        if (auto done = attach_cgroup(name, program, type, cgroup); !done) return done;
      } else if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return fail_errno("unpin " + path);
      }
    }
    return {};
  }
};

Programs::Programs(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Programs::~Programs() = default;
Maps& Programs::maps() { return impl_->maps; }
ServiceMaps& Programs::service_maps() { return impl_->service_maps; }
PolicyMaps& Programs::policy_maps() { return impl_->policy_maps; }
WorkerMaps& Programs::worker_maps() { return impl_->worker_maps; }
int Programs::remote_map() const { return bpf_map__fd(impl_->skeleton->maps.up_remotes); }
int Programs::flow_map() const { return bpf_map__fd(impl_->skeleton->maps.up_flows); }
void Programs::set_fionread_counts(unsigned bits) { impl_->skeleton->bss->up_inq_counts = bits; }
int Programs::wake_map() const { return bpf_map__fd(impl_->skeleton->maps.up_wake); }

Result<std::unique_ptr<Programs>> Programs::load(const std::string& pin_dir, Purpose purpose, Fitness fitness) {
  libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
  keep_libbpf_words();

  auto layout = check_layout(pin_dir);
  if (!layout) return std::unexpected(layout.error());
  if (*layout == LayoutState::kPrevious)
    if (auto done = set_aside(pin_dir); !done) return std::unexpected(done.error());
  if (::mkdir(pin_dir.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno("create " + pin_dir);

  auto impl = std::make_unique<Impl>();
  impl->pin_dir = pin_dir;
  impl->has_fresh_maps = *layout == LayoutState::kPrevious;
  bpf_object_open_opts options{};
  options.sz = sizeof(options);
  options.pin_root_path = pin_dir.c_str();
  impl->skeleton.reset(underpass_bpf__open_opts(&options));
  if (!impl->skeleton) return fail_libbpf("open the BPF object", errno);
  auto& programs = impl->skeleton->progs;
  impl->skeleton->rodata->up_kernel_is_fit = fitness.short_circuit ? 1 : 0;
  impl->skeleton->rodata->up_woken_wake_function = woken_wake_function();
  const auto load_if = [](bool wanted, std::initializer_list<bpf_program*> list) {
    for (auto* program : list) bpf_program__set_autoload(program, wanted);
  };
  const bool run = purpose == Purpose::kRun, decides = purpose != Purpose::kInspect;
  load_if(run, {programs.up_connect6, programs.up_sendmsg4, programs.up_sendmsg6, programs.up_recvmsg4,
                programs.up_recvmsg6, programs.up_getpeername4, programs.up_getpeername6, programs.up_udp_socks,
                programs.up_mark, programs.up_dial4, programs.up_dial6, programs.up_answer_opt, programs.up_take_opt});
  load_if(decides, {programs.up_connect4, programs.up_sockops, programs.up_bar_in, programs.up_bar_out});
  load_if(decides && fitness.short_circuit, {programs.up_msg});
  load_if(decides && fitness.sees_reads, {programs.up_recv, programs.up_getsockopt});
  load_if(decides && fitness.calls == CallMeans::kFentry, {programs.up_splice, programs.up_ioctl, programs.up_ioctl6});
  load_if(decides && fitness.calls == CallMeans::kWatchpoints,
          {programs.up_splice_slot, programs.up_ioctl_slot, programs.up_slots_of});
  impl->calls = decides ? fitness.calls : CallMeans::kNone;

  if (const int error = underpass_bpf__load(impl->skeleton.get()); error != 0)
    return fail_libbpf("load the BPF programs", error);
  if (run) {
    auto inbound = Inbound::load(pin_dir);
    if (!inbound) return std::unexpected(inbound.error());
    impl->inbound = std::move(*inbound);
  }

  const auto& maps = impl->skeleton->maps;
  impl->maps = Maps({
      .config = bpf_map__fd(maps.up_config),
      .pods = bpf_map__fd(maps.up_pods),
      .ips = bpf_map__fd(maps.up_ips),
      .sources = bpf_map__fd(maps.up_sources),
      .conns = bpf_map__fd(maps.up_conns),
      .socks = bpf_map__fd(maps.up_socks),
      .budget = bpf_map__fd(maps.up_budget),
      .stats = bpf_map__fd(maps.up_stats),
      .habits = bpf_map__fd(maps.up_habits),
      .known = bpf_map__fd(maps.up_known),
      .excluded = bpf_map__fd(maps.up_excluded),
      .errands = bpf_map__fd(maps.up_errands),
      .source_count = bpf_map__fd(maps.up_source_count),
  });
  impl->service_maps = ServiceMaps({
      .services = bpf_map__fd(maps.up_services),
      .backends = bpf_map__fd(maps.up_backends),
      .maglev = bpf_map__fd(maps.up_maglev),
      .nodes = bpf_map__fd(maps.up_nodes),
      .traffic = bpf_map__fd(maps.up_traffic),
  });
  impl->policy_maps = PolicyMaps({
      .policies = bpf_map__fd(maps.up_policies),
      .clauses = bpf_map__fd(maps.up_clauses),
      .who = bpf_map__fd(maps.up_policy_who),
      .port = bpf_map__fd(maps.up_policy_port),
      .ip = bpf_map__fd(maps.up_policy_ip),
      .denied = bpf_map__fd(maps.up_denied),
  });
  impl->worker_maps = WorkerMaps({
      .workers = bpf_map__fd(maps.up_workers),
      .listeners = bpf_map__fd(maps.up_listeners),
      .heartbeat = bpf_map__fd(maps.up_heartbeat),
  });
  impl->skeleton->bss->up_sk_map_id = id_of_map(bpf_map__fd(maps.up_sk));
  return std::unique_ptr<Programs>(new Programs(std::move(impl)));
}

Result<void> Programs::attach(const std::string& cgroup_root) {
  const auto& programs = impl_->skeleton->progs;
  // A program that was not fit to load leaves the sockets alone: nothing is mapped then.
  if (const int fd = bpf_program__fd(programs.up_msg); fd >= 0) {
    if (bpf_prog_attach(fd, bpf_map__fd(impl_->skeleton->maps.up_socks), BPF_SK_MSG_VERDICT, 0) != 0)
      return fail_errno("attach up_msg to up_socks");
  }
  const int barred = bpf_map__fd(impl_->skeleton->maps.up_barred);
  if (bpf_prog_attach(bpf_program__fd(programs.up_bar_in), barred, BPF_SK_SKB_STREAM_VERDICT, 0) != 0 ||
      bpf_prog_attach(bpf_program__fd(programs.up_bar_out), barred, BPF_SK_MSG_VERDICT, 0) != 0)
    return fail_errno("attach to up_barred");
  // Sockops before connect: whoever is decided must be followed.
  if (auto done = impl_->attach_cgroup("sockops", programs.up_sockops, BPF_CGROUP_SOCK_OPS, cgroup_root); !done)
    return done;
  if (auto done = impl_->attach_cgroup("connect4", programs.up_connect4, BPF_CGROUP_INET4_CONNECT, cgroup_root); !done)
    return done;
  if (bpf_program__fd(programs.up_connect6) < 0) return {};  // for the self-test
  return impl_->attach_cgroup("connect6", programs.up_connect6, BPF_CGROUP_INET6_CONNECT, cgroup_root);
}

Result<Programs::Watch> Programs::watch(bool on) {
  const std::string path = impl_->link_path("recv");
  Watch watch;
  if (!on) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("unpin " + path);
    detach_call_watch(impl_->pin_dir);
    return watch;
  }
  if (impl_->calls == CallMeans::kNone) {
    watch.calls_problem = "splice() and FIONREAD cannot be seen here";
    detach_call_watch(impl_->pin_dir);  // an earlier agent may have thought otherwise
  }
  if (auto done = attach_call_watch(*impl_->skeleton, impl_->calls, impl_->pin_dir); !done)
    watch.calls_problem = done.error().message;
  const int program_fd = bpf_program__fd(impl_->skeleton->progs.up_recv);
  if (program_fd < 0 || is_pinned_with(path, program_fd)) return watch;
  // Tracepoint links take no new program. Reads in the gap are not seen, so their directions stay on TCP.
  ::unlink(path.c_str());
  UniqueFd link(bpf_raw_tracepoint_open(nullptr, program_fd));
  if (!link) return fail_errno("attach up_recv to the tracepoint sock_recv_length");
  if (bpf_obj_pin(link.get(), path.c_str()) != 0) return fail_errno("pin " + path);
  watch.fresh = true;
  return watch;
}

Result<void> Programs::watch_learners(bool on, const std::string& cgroup_root) {
  if (on)
    return impl_->attach_cgroup("getsockopt", impl_->skeleton->progs.up_getsockopt, BPF_CGROUP_GETSOCKOPT, cgroup_root);
  const std::string path = impl_->link_path("getsockopt");
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("unpin " + path);
  return {};
}

Result<void> Programs::serve(bool on, const std::string& cgroup_root) {
  const auto& programs = impl_->skeleton->progs;
  const Hooks hooks{
      {"sendmsg4", programs.up_sendmsg4, BPF_CGROUP_UDP4_SENDMSG},
      {"sendmsg6", programs.up_sendmsg6, BPF_CGROUP_UDP6_SENDMSG},
      {"recvmsg4", programs.up_recvmsg4, BPF_CGROUP_UDP4_RECVMSG},
      {"recvmsg6", programs.up_recvmsg6, BPF_CGROUP_UDP6_RECVMSG},
  };
  return impl_->attach_if(on, hooks, cgroup_root);
}

Result<void> Programs::show_peers(bool on, const std::string& cgroup_root) {
  const auto& programs = impl_->skeleton->progs;
  return impl_->attach_if(on,
                          {{"getpeername4", programs.up_getpeername4, BPF_CGROUP_INET4_GETPEERNAME},
                           {"getpeername6", programs.up_getpeername6, BPF_CGROUP_INET6_GETPEERNAME}},
                          cgroup_root);
}

Result<void> Programs::attach_to_workers_sockets(const std::string& cgroup) {
  const auto& programs = impl_->skeleton->progs;
  return impl_->attach_if(true,
                          {{"worker_mark", programs.up_mark, BPF_CGROUP_INET_SOCK_CREATE},
                           {"worker_dial4", programs.up_dial4, BPF_CGROUP_INET4_CONNECT},
                           {"worker_dial6", programs.up_dial6, BPF_CGROUP_INET6_CONNECT},
                           {"worker_getsockopt", programs.up_answer_opt, BPF_CGROUP_GETSOCKOPT},
                           {"worker_setsockopt", programs.up_take_opt, BPF_CGROUP_SETSOCKOPT}},
                          cgroup);
}

std::map<NetnsCookie, Error> Programs::guard(const std::set<NetnsCookie>& pods) {
  std::map<NetnsCookie, Error> failed;
  const auto places = find_netns(pods);
  for (const auto netns : pods) {
    const auto place = places.find(netns);
    const auto done = place == places.end()
                          ? Result<void>(fail("network namespace " + std::to_string(netns) + " is gone"))
                          : impl_->inbound->guard(netns, place->second.get(), impl_->link_path(guard_name(netns)));
    if (!done) failed.emplace(netns, done.error());
  }
  return failed;
}

Result<void> Programs::take_over(const std::string& cgroup_root, const std::string& workers_cgroup) {
  std::vector<Inbound::Renewal> doors;
  for (const auto netns : guarded()) {
    auto door = impl_->inbound->renew(netns, impl_->link_path(guard_name(netns)));
    if (!door) return std::unexpected(door.error());
    doors.push_back(std::move(*door));
  }
  // Whoever is led to a worker must be known there, and whoever dials must be known at the door: so one right after the
  // other.
  if (!workers_cgroup.empty())
    if (auto done = attach_to_workers_sockets(workers_cgroup); !done) return done;
  if (auto done = attach(cgroup_root); !done) return done;
  for (const auto& door : doors)
    if (auto done = door.put_in_place(); !done) return done;
  // These take no new program: whoever wants them attaches them anew.
  ::unlink(impl_->link_path("recv").c_str());
  detach_call_watch(impl_->pin_dir);
  return {};
}

Result<void> Programs::unguard(NetnsCookie netns) {
  const std::string path = impl_->link_path(guard_name(netns));
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("unpin " + path);
  return {};
}

std::set<NetnsCookie> Programs::guarded() const {
  std::set<NetnsCookie> out;
  const auto pins = list_pins(impl_->pin_dir);
  if (!pins) return out;
  const std::string prefix = "link_" + kInboundLink;
  for (const auto& link : pins->links)
    if (link.starts_with(prefix)) out.insert(std::stoull(link.substr(prefix.size())));
  return out;
}

Result<std::vector<up_udp_socket>> Programs::udp_sockets() {
  auto text = read_iterator("up_udp_socks", bpf_program__fd(impl_->skeleton->progs.up_udp_socks));
  if (!text) return std::unexpected(text.error());
  std::vector<up_udp_socket> out(text->size() / sizeof(up_udp_socket));
  std::memcpy(out.data(), text->data(), out.size() * sizeof(up_udp_socket));
  return out;
}

Result<void> Programs::sweep() { return run_iterator("up_sweep", bpf_program__fd(impl_->skeleton->progs.up_sweep)); }

Result<void> Programs::stop(NetnsCookie netns) {
  impl_->skeleton->bss->up_stop_netns = netns;
  return run_iterator("up_stop", bpf_program__fd(impl_->skeleton->progs.up_stop));
}

}  // namespace underpass::dataplane
