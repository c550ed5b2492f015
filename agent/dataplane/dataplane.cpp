// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/dataplane.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <iterator>

#include "agent/dataplane/detach.h"
#include "agent/dataplane/netns.h"
#include "agent/dataplane/pins.h"
#include "agent/dataplane/sock_destroy.h"

namespace underpass::dataplane {
namespace {

bool is_mapped(const up_conn& record) { return record.end[UP_CLIENT].mapped != 0 || record.end[UP_SERVER].mapped != 0; }

bool wants_watch(const std::pair<const NetnsCookie, up_pod>& entry) { return entry.second.mode != UP_MODE_OFF; }

bool must_be_decided(const up_pod& pod) { return (pod.capture & UP_CAPTURE_MUST) != 0; }

bool is_captured(const std::pair<const NetnsCookie, up_pod>& entry) { return entry.second.capture != 0; }

// Pods to which not everything may come as it comes.
std::set<NetnsCookie> to_guard(const compile::Tables& tables) {
  std::set<NetnsCookie> out;
  for (const auto& [cookie, set] : tables.policies) out.insert(cookie);
  for (const auto& entry : tables.pods)
    if (is_captured(entry)) out.insert(entry.first);
  return out;
}

bool equal(const up_pod& a, const up_pod& b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

}  // namespace

std::uint64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

std::vector<Connection> unmap_drained(Maps& maps, std::vector<Connection> connections) {
  std::vector<Connection> waiting;
  for (auto& connection : connections) {
    const up_conn& record = connection.record;
    if (record.stopped == 0 || !is_mapped(record)) continue;
    if (record.dir[UP_CLIENT].charge != 0 || record.dir[UP_SERVER].charge != 0) {
      waiting.push_back(connection);
      continue;
    }
    for (const auto& end : record.end)
      if (end.mapped != 0) maps.unmap_socket(end.cookie);
  }
  return waiting;
}

Dataplane::Dataplane(std::unique_ptr<Programs> programs, std::unique_ptr<Wakes> wakes, std::unique_ptr<FlowTap> flows,
                     std::string cgroup_root)
    : programs_(std::move(programs)),
      wakes_(std::move(wakes)),
      flows_(std::move(flows)),
      services_(std::make_unique<Services>(programs_->service_maps())),
      policies_(std::make_unique<Policies>(programs_->policy_maps())),
      remotes_(std::make_unique<RemoteTable>(programs_->remote_map())),
      foreign_guards_(programs_->guarded()),
      cgroup_root_(std::move(cgroup_root)) {}

Result<std::unique_ptr<Dataplane>> Dataplane::open(const Options& options,
                                                   const std::vector<Capability>& capabilities) {
  const auto fitness = fitness_of(capabilities);
  auto layout = check_layout(options.pin_dir);
  if (!layout) return std::unexpected(layout.error());
  auto programs = Programs::load(options.pin_dir, Programs::Purpose::kRun, fitness);
  if (!programs) return std::unexpected(programs.error());

  auto wakes = Wakes::open((*programs)->wake_map());
  if (!wakes) return std::unexpected(wakes.error());
  auto flows = FlowTap::open((*programs)->flow_map());
  if (!flows) return std::unexpected(flows.error());
  std::unique_ptr<Dataplane> dataplane(
      new Dataplane(std::move(*programs), std::move(*wakes), std::move(*flows), options.cgroup_root));
  dataplane->fit_ = fitness.short_circuit;
  dataplane->pin_dir_ = options.pin_dir;
  dataplane->migrating_ = *layout == LayoutState::kPrevious;
  dataplane->programs_->set_fionread_counts(options.fionread_counts);
  Maps& maps = dataplane->maps();
  maps.add_pool(0);
  dataplane->service_maps().add_traffic_overflow();
  auto done = maps.set_config({
      .layout = UP_LAYOUT,
      .short_circuit = fitness.short_circuit ? 1u : 0u,
      .node_budget = options.node_budget,
      // One stalled pod must not take the acceleration of all others.
      .pod_budget = options.node_budget / 4,
      .dir_bytes = UP_DEFAULT_DIR_BYTES,
      .dir_messages = UP_DEFAULT_DIR_MESSAGES,
      .watched_ns = maps.config().watched_ns,
      .host_netns = options.host_netns,
      .pods_cgroup = options.pods_cgroup,
      .policed = maps.config().policed,
      .deny_unknown = options.deny_unknown ? 1u : 0u,
  });
  if (options.host_netns != 0) maps.add_pool(options.host_netns);
  dataplane->host_netns_ = options.host_netns;
  dataplane->applied_ = maps.tables();
  if (done) done = dataplane->update_watch(false);
  if (done && !dataplane->migrating_) done = dataplane->programs_->attach(options.cgroup_root);
  if (!done) {
    // What an earlier agent pinned stays; a first start that failed leaves nothing.
    if (*layout == LayoutState::kNone || *layout == LayoutState::kUnfinished) remove_pins(options.pin_dir);
    return std::unexpected(done.error());
  }
  return dataplane;
}

Result<void> Dataplane::complete() {
  if (auto done = programs_->take_over(cgroup_root_, workers_cgroup_); !done) return done;
  migrating_ = false;
  remove_previous(pin_dir_);
  return {};
}

// Sockets are watched while a pod may be short-circuited or is learned from, and while a connection still is.
Result<void> Dataplane::update_watch(bool wanted) {
  if (migrating_) return {};
  const bool learners =
      fit_ && std::ranges::any_of(applied_.pods, [](const auto& entry) { return entry.second.mode == UP_MODE_AUTO; });
  if (watching_learners_ != learners) {
    if (auto done = programs_->watch_learners(learners, cgroup_root_); !done) return done;
    watching_learners_ = learners;
  }
  wanted = fit_ && (wanted || std::ranges::any_of(applied_.pods, wants_watch));
  if (!wanted && watching_) {
    const auto connections = maps().connections();
    wanted = std::ranges::any_of(connections, [](const auto& connection) { return is_mapped(connection.record); });
  }
  if (wanted && watching_ && calls_problem_.empty()) return {};
  auto watch = programs_->watch(wanted);
  if (!watch) return std::unexpected(watch.error());
  watching_ = wanted;
  calls_problem_ = watch->calls_problem;
  if (wanted && !watch->fresh) return {};
  auto config = maps().config();
  config.watched_ns = wanted ? monotonic_ns() : 0;
  return maps().set_config(config);
}

bool Dataplane::is_in_force(NetnsCookie cookie, std::span<const IpAddress> ips) const {
  const auto pod = applied_.pods.find(cookie);
  if (pod == applied_.pods.end()) return false;
  if ((pod->second.policy != 0 || is_captured(*pod)) && !guarded_.contains(cookie)) return false;
  return std::ranges::all_of(ips, [&](const IpAddress& ip) {
    const auto found = applied_.ips.find(ip);
    return found != applied_.ips.end() && found->second == cookie;
  });
}

std::vector<Error> Dataplane::apply(const compile::Tables& wanted, compile::IdentityNumbers& numbers) {
  std::vector<Error> errors;
  const auto check = [&errors](const std::string& object, const Result<void>& result) {
    if (!result) errors.push_back({object + ": " + result.error().message});
    return result.has_value();
  };
  Maps& kernel = maps();
  const auto sets = policies_->prepare(wanted.policies, numbers, errors);
  const bool tells_host = !to_guard(wanted).empty();
  if (tells_host) check("tell the node's own processes", set_policed(true));
  add_guards(wanted, errors);
  if (std::ranges::any_of(wanted.pods, is_captured)) check("show peers", show_peers(true));
  add_marks(wanted, errors);

  // Addresses go first and come last, so that one never leads to a pod that is not there.
  std::erase_if(applied_.ips, [&](const auto& entry) {
    const auto kept = wanted.ips.find(entry.first);
    if (kept != wanted.ips.end() && kept->second == entry.second) return false;
    kernel.remove_ip(entry.first);
    return true;
  });
  std::erase_if(applied_.pods, [&](const auto& entry) {
    if (wanted.pods.contains(entry.first)) return false;
    kernel.remove_pod(entry.first);
    check("stop the connections of a pod that left", programs_->stop(entry.first));
    return true;
  });

  // Before the first pod may short-circuit, reads must be seen.
  const bool any = std::ranges::any_of(wanted.pods, wants_watch);
  const bool watched = check("watch sockets", update_watch(any));
  for (const auto& [cookie, pod] : wanted.pods) {
    up_pod row = pod;
    if (const auto set = sets.find(cookie); set != sets.end()) row.policy = set->second;
    if (!watched) row.mode = UP_MODE_OFF;
    // What was learned holds for as long as it can be watched.
    if (row.learned != 0 && !calls_problem_.empty()) row.mode = UP_MODE_AUTO;
    kernel.add_habits(cookie);  // also for rows that an agent left which kept none
    const auto present = applied_.pods.find(cookie);
    if (present != applied_.pods.end() && equal(present->second, row)) continue;
    const std::string object = "Pod " + std::string(row.namespace_name) + "/" + row.name;
    const bool decided_before = present != applied_.pods.end() && must_be_decided(present->second);
    const bool judged_before = present != applied_.pods.end() && present->second.policy == row.policy &&
                               decided_before == must_be_decided(row);
    const bool was_on = present != applied_.pods.end() && present->second.mode == UP_MODE_ON;
    kernel.add_pool(cookie);
    if (!check(object, kernel.put_pod(cookie, row))) continue;
    applied_.pods.insert_or_assign(cookie, row);
    if (row.policy != 0 && !judged_before) judged_anew_.insert(cookie);
    if (must_be_decided(row) && !decided_before) decided_since_[cookie] = monotonic_ns();
    // Settings count for connections that begin now; but what may no longer be short-circuited stops at once.
    if (was_on && row.mode != UP_MODE_ON) check(object + ": stop its connections", programs_->stop(cookie));
  }
  for (const auto& [address, cookie] : wanted.ips) {
    if (!applied_.pods.contains(cookie) || applied_.ips.contains(address)) continue;
    if (check("address " + address.to_string(), kernel.put_ip(address, cookie))) applied_.ips.emplace(address, cookie);
  }
  check("watch sockets", update_watch(any));
  remove_guards(wanted, errors);
  remove_marks(wanted);
  if (!tells_host) check("tell the node's own processes", set_policed(false));
  check("show peers", show_peers(false));
  policies_->forget_unused();
  cut_denied(numbers, errors);
  return errors;
}

// Off: only if nobody needs it.
Result<void> Dataplane::show_peers(bool on) {
  if (migrating_) return {};
  on = on || serving_ == true || std::ranges::any_of(applied_.pods, is_captured);
  if (showing_peers_ == on) return {};
  if (auto done = programs_->show_peers(on, cgroup_root_); !done) return done;
  showing_peers_ = on;
  return {};
}

Result<void> Dataplane::set_policed(bool on) {
  auto config = maps().config();
  if (config.policed == (on ? 1u : 0u)) return {};
  config.policed = on ? 1 : 0;
  return maps().set_config(config);
}

// Before the rows of pods change, so that none is in between unknown, or led where it is not to be.
void Dataplane::add_marks(const compile::Tables& wanted, std::vector<Error>& errors) {
  for (const auto cookie : wanted.known) {
    if (applied_.known.contains(cookie)) continue;
    if (auto done = maps().put_known(cookie); !done)
      errors.push_back(done.error());
    else
      applied_.known.insert(cookie);
  }
  for (const auto& port : wanted.excluded) {
    if (applied_.excluded.contains(port)) continue;
    if (auto done = maps().put_excluded(port); !done)
      errors.push_back(done.error());
    else
      applied_.excluded.insert(port);
  }
  for (const auto& errand : wanted.errands) {
    if (applied_.errands.contains(errand)) continue;
    if (auto done = maps().put_errand(errand); !done)
      errors.push_back(done.error());
    else
      applied_.errands.insert(errand);
  }
}

void Dataplane::remove_marks(const compile::Tables& wanted) {
  std::erase_if(applied_.known, [&](NetnsCookie cookie) {
    if (wanted.known.contains(cookie)) return false;
    maps().remove_known(cookie);
    return true;
  });
  std::erase_if(applied_.excluded, [&](const compile::ExcludedPort& port) {
    if (wanted.excluded.contains(port)) return false;
    maps().remove_excluded(port);
    return true;
  });
  std::erase_if(applied_.errands, [&](const compile::Errand& errand) {
    if (wanted.errands.contains(errand)) return false;
    maps().remove_errand(errand);
    return true;
  });
}

// Before the pod's row names its set: who comes by another way than connect() must not find the door open meanwhile.
void Dataplane::add_guards(const compile::Tables& wanted, std::vector<Error>& errors) {
  if (migrating_) return;
  std::set<NetnsCookie> fresh;
  std::ranges::set_difference(to_guard(wanted), guarded_, std::inserter(fresh, fresh.end()));
  if (fresh.empty()) return;
  const auto failed = programs_->guard(fresh);
  for (const auto& [cookie, error] : failed)
    errors.push_back({"what comes to the pod in network namespace " + std::to_string(cookie) + ": " + error.message +
                      ": only what dials it from a pod of this node is judged, and no worker takes any of it"});
  std::ranges::copy_if(fresh, std::inserter(guarded_, guarded_.end()),
                       [&](NetnsCookie cookie) { return !failed.contains(cookie); });
}

// After the pod's row names no set any more: who came past the door meanwhile would be judged when it is inside, where
// a connection can only be broken.
void Dataplane::remove_guards(const compile::Tables& wanted, std::vector<Error>& errors) {
  if (migrating_) return;
  const auto guarded = to_guard(wanted);
  // Those of an earlier agent have this one's program now, or go.
  guarded_.merge(foreign_guards_);
  foreign_guards_.clear();
  std::erase_if(guarded_, [&](NetnsCookie cookie) {
    if (guarded.contains(cookie)) return false;
    if (auto done = programs_->unguard(cookie); !done) errors.push_back(done.error());
    return true;
  });
}

// What is judged anew is looked at twice: a walk over a table that changes may miss a row, and one that was about to be
// established is no socket yet. What could not be looked at is tried again with the next tick.
void Dataplane::cut_denied(const compile::IdentityNumbers& numbers, std::vector<Error>& errors) {
  if (judged_anew_.empty() && !cut_again_) return;
  auto pods = std::exchange(judged_once_, judged_anew_);
  pods.merge(judged_anew_);
  judged_anew_.clear();
  std::erase_if(decided_since_, [&](const auto& entry) { return !applied_.pods.contains(entry.first); });
  const auto cut = dataplane::cut_denied({.maps = maps(),
                                          .workers = worker_maps(),
                                          .tables = applied_,
                                          .policies = *policies_,
                                          .numbers = numbers,
                                          .decided_since = decided_since_},
                                         pods);
  std::ranges::copy(cut.connections, std::back_inserter(cut_));
  std::ranges::copy(cut.errors, std::back_inserter(errors));
  cut_again_ = !judged_once_.empty() || !cut.errors.empty();
  if (!cut.errors.empty()) judged_anew_ = std::move(pods);
}

std::vector<std::string> Dataplane::take_cut() { return std::exchange(cut_, {}); }

std::shared_ptr<const compile::PolicySet> Dataplane::policy_of(NetnsCookie cookie) const {
  const auto pod = applied_.pods.find(cookie);
  return pod == applied_.pods.end() || pod->second.policy == 0 ? nullptr : policies_->in_force(pod->second.policy);
}

std::vector<std::pair<up_denied_key, std::uint64_t>> Dataplane::denied() {
  auto out = programs_->policy_maps().denied();
  for (const auto& [key, count] : out)
    if (key.set != Policies::kClosed && policies_->find(key.set) == nullptr)
      programs_->policy_maps().forget_denied(key);
  return out;
}

std::uint32_t Dataplane::greatest_identity() const {
  std::uint32_t out = std::max(programs_->policy_maps().greatest_identity(), remotes_->greatest_identity());
  for (const auto& [cookie, pod] : applied_.pods) out = std::max(out, pod.identity);
  return out;
}

std::vector<Error> Dataplane::apply_services(const compile::ServiceCompiler& compiler,
                                             const compile::ServiceCompiler::Update& update) {
  // Before the first one can be dialled, applications must see what they dialled.
  const bool wanted = !compiler.tables().empty();
  std::vector<Error> errors;
  if (wanted && serving_ != true && !migrating_) {
    if (auto done = programs_->serve(true, cgroup_root_); !done) return {done.error()};
    if (auto done = show_peers(true); !done) return {done.error()};
    serving_ = true;
  }
  errors = services_->apply(compiler.tables(), update);
  std::ranges::move(services_->apply_nodes(compiler.node_addresses()), std::back_inserter(errors));
  if (!wanted && serving_ != false && !migrating_) {
    if (auto done = programs_->serve(false, cgroup_root_); !done)
      errors.push_back(done.error());
    else
      serving_ = false;
    if (auto done = show_peers(false); !done) errors.push_back(done.error());
  }
  if (services_->take_udp_loss())
    if (auto done = destroy_stale_udp(); !done) errors.push_back(done.error());
  return errors;
}

// A connected datagram socket would go on sending to a backend that is gone, into nothing.
Result<void> Dataplane::destroy_stale_udp() {
  Result<void> result;
  // Of pods that have left the mesh too: they keep the sockets that they had.
  visit_netns([&](NetnsCookie /*cookie*/, UniqueFd netns) {
    std::vector<up_udp_socket> sockets;
    const auto read = run_in_netns(netns.get(), [&]() -> Result<void> {
      auto found = programs_->udp_sockets();
      if (!found) return std::unexpected(found.error());
      sockets = std::move(*found);
      return {};
    });
    if (!read) result = read;
    for (const auto& socket : sockets) {
      const compile::SlotTarget backend{.ip = IpAddress(socket.backend), .port = ntohs(socket.backend_port)};
      if (services_->has_backend(socket.service, backend)) continue;
      if (auto done = destroy_socket(netns.get(), socket); !done) result = done;
    }
    return true;
  });
  return result;
}

std::vector<Dataplane::Reset> Dataplane::attend() {
  std::vector<Reset> out;
  const auto ids = wakes_->take();
  for (const std::uint64_t id : std::set<std::uint64_t>(ids.begin(), ids.end())) {
    const auto connection = maps().connection(id);
    if (!connection || connection->record.broken == UP_WHY_NONE) continue;
    const up_conn& record = connection->record;
    out.push_back({.connection = describe(record), .why = record.broken, .done = reset_connection(record)});
  }
  if (!ids.empty()) {
    (void)programs_->sweep();
    unmap_drained(maps(), maps().connections());
  }
  return out;
}

Result<void> Dataplane::tick(const compile::IdentityNumbers& numbers) {
  std::vector<Error> errors;
  cut_denied(numbers, errors);
  Result<void> done;
  std::vector<Connection> connections;
  // Both walk over all of the table's buckets, which a node without a pod of the mesh need not pay for.
  if (maps().has_connections()) {
    done = programs_->sweep();
    connections = maps().connections();
  }
  records_nearly_full_ = connections.size() >= maps().connections_capacity() / 8 * 7;
  unmap_drained(maps(), std::move(connections));
  maps().drop_empty_pools(applied_.pods, host_netns_);
  maps().forget_habits(applied_.pods);
  maps().drop_old_sources(monotonic_ns());
  if (!done) return done;
  if (auto watched = update_watch(false); !watched) return watched;
  if (!errors.empty()) return std::unexpected(errors.front());
  return {};
}

std::vector<Connection> Dataplane::connections() {
  (void)programs_->sweep();
  return maps().connections();
}

}  // namespace underpass::dataplane
