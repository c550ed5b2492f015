// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/netns_facts.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "agent/dataplane/netns.h"

namespace underpass::dataplane {
namespace {

// An address that comes or goes in a namespace is noticed after this long.
constexpr auto kLookAgainAfter = std::chrono::seconds(10);
// Between two walks over the processes; for one pod the pause doubles each time.
constexpr auto kPause = std::chrono::milliseconds(200);
constexpr auto kLongestPause = std::chrono::milliseconds(5000);

// Of one pod's namespaces, those of its oldest processes: a container may make thousands.
constexpr int kMostLooks = 16;

bool is_looked_for(const model::Pod& pod) { return !pod.cgroup_uid.empty() && !pod.host_network && !pod.terminated; }

bool owns(const Result<compile::NetnsFact>& fact, const std::vector<IpAddress>& ips) {
  return fact && std::ranges::all_of(ips, [&](const auto& ip) {
           return std::ranges::find(fact->addresses, ip) != fact->addresses.end();
         });
}

// Whether the process in this folder lives, and in this namespace.
bool is_in(int process, const PodNetns& netns) {
  struct stat file{};
  return ::fstatat(process, "ns/net", &file, 0) == 0 && file.st_dev == netns.device && file.st_ino == netns.inode;
}

}  // namespace

NetnsFactCache::NetnsFactCache(PodFinder finder, std::function<Clock::time_point()> now)
    : finder_(std::move(finder)), clock_(std::move(now)) {}

compile::NetnsFacts NetnsFactCache::refresh(const model::Snapshot& snapshot, const std::string& node_name) {
  now_ = clock_();
  compile::NetnsFacts facts;
  std::set<std::string> paths;
  std::vector<const model::Pod*> to_find;
  for (const auto& [id, pod] : snapshot.pods) {
    if (pod.node_name != node_name) continue;
    if (!pod.netns_path.empty()) {
      facts.emplace(id, look_at(pod.netns_path));
      paths.insert(pod.netns_path);
    } else if (is_looked_for(pod)) {
      to_find.push_back(&pod);
    }
  }
  std::erase_if(known_, [&paths](const auto& entry) { return !paths.contains(entry.first); });
  look_for(to_find, facts);
  return facts;
}

Result<compile::NetnsFact> NetnsFactCache::look_at(const std::string& path) {
  struct stat file{};
  ::stat(path.c_str(), &file);
  const auto known = known_.find(path);
  const bool fresh = known != known_.end() && known->second.fact && known->second.device == file.st_dev &&
                     known->second.inode == file.st_ino && now_ - known->second.looked < kLookAgainAfter;
  if (fresh) return known->second.fact;
  Known now{.device = file.st_dev, .inode = file.st_ino, .looked = now_, .fact = probe_netns(path)};
  return known_.insert_or_assign(path, std::move(now)).first->second.fact;
}

void NetnsFactCache::look_for(const std::vector<const model::Pod*>& pods, compile::NetnsFacts& facts) {
  std::set<std::string> living;
  std::set<NamespacedName> here;
  for (const auto* pod : pods) {
    living.insert(pod->cgroup_uid);
    here.insert(pod->id);
  }
  handed_.forget_others(living, now_);
  std::erase_if(sought_, [&here](const auto& entry) { return !here.contains(entry.first); });

  std::vector<std::pair<const model::Pod*, Sought*>> awaited;
  for (const auto* pod : pods) {
    auto& sought = sought_[pod->id];
    if (sought.uid != pod->cgroup_uid) sought = Sought{.uid = pod->cgroup_uid};
    look_again(sought);
    if (is_settled(sought, *pod)) {
      sought.search.reset();
    } else {
      await(sought, *pod);
      awaited.emplace_back(pod, &sought);
    }
  }
  if (const auto next = next_walk(); next && *next <= now_) walk(awaited);
  for (const auto* pod : pods) facts.emplace(pod->id, fact_of(sought_.at(pod->id)));
}

// At the namespace of before: gone, as it was, or to be looked into once more.
void NetnsFactCache::look_again(Sought& sought) {
  if (!sought.process) return;
  if (!is_in(sought.process.get(), sought.netns)) {
    sought.process.reset();  // what is known of it holds until the walk, which is due now
    sought.search.reset();
  } else if (!*sought.fact || now_ - sought.looked >= kLookAgainAfter) {
    sought.looked = now_;
    sought.fact = probe_netns(sought.netns.path);
  }
}

bool NetnsFactCache::is_settled(const Sought& sought, const model::Pod& pod) const {
  return sought.process && !handed_.holds(sought.uid) && owns(*sought.fact, pod.ips);
}

void NetnsFactCache::await(Sought& sought, const model::Pod& pod) {
  if (!sought.search || sought.search->object != pod)
    sought.search = Search{.object = pod, .next = now_, .pause = kPause};
}

std::optional<NetnsFactCache::Clock::time_point> NetnsFactCache::next_walk() const {
  std::optional<Clock::time_point> out;
  for (const auto& [id, sought] : sought_)
    if (sought.search && (!out || sought.search->next < *out)) out = sought.search->next;
  if (out && walked_) out = std::max(*out, *walked_ + kPause);
  return out;
}

void NetnsFactCache::walk(const std::vector<std::pair<const model::Pod*, Sought*>>& awaited) {
  walked_ = now_;
  std::set<std::string> uids;
  for (const auto& [pod, sought] : awaited) uids.insert(sought->uid);
  auto found = finder_.find(uids);
  for (const auto& [pod, sought] : awaited) {
    choose(*sought, *pod, found[sought->uid]);
    if (is_settled(*sought, *pod)) {
      sought->search.reset();
    } else if (sought->search->next <= now_) {
      sought->search->next = now_ + sought->search->pause;
      sought->search->pause = std::min(sought->search->pause * 2, kLongestPause);
    }
  }
}

// Among the namespaces of a pod: the one that was handed over; else the first that owns its addresses; else that of the
// most processes, so that a refusal can say what it has instead.
void NetnsFactCache::choose(Sought& sought, const model::Pod& pod, const std::vector<PodNetns>& candidates) {
  const bool held = handed_.holds(sought.uid);
  std::optional<Sought> best;
  int looks = 0;
  for (const auto& candidate : candidates) {
    if (held && !handed_.is(sought.uid, candidate)) continue;
    if (++looks > kMostLooks) break;
    auto one = enter(sought.uid, candidate);
    if (!one) continue;
    const bool owner = owns(*one->fact, pod.ips);
    if (!best || owner || candidate.processes > best->netns.processes) best = std::move(one);
    if (owner) break;
  }
  if (held && !best) return;
  if (held) handed_.let_go(sought.uid);
  auto search = std::move(sought.search);
  sought = best ? std::move(*best) : Sought{.uid = sought.uid};
  sought.search = std::move(search);
}

// Nothing where the process is gone meanwhile.
std::optional<NetnsFactCache::Sought> NetnsFactCache::enter(const std::string& uid, const PodNetns& netns) const {
  const std::string folder = netns.path.substr(0, netns.path.size() - std::string_view("/ns/net").size());
  Sought out{.uid = uid,
             .process = UniqueFd(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
             .netns = netns,
             .looked = now_,
             .fact = probe_netns(netns.path),
             .search = std::nullopt};
  if (!out.process || !is_in(out.process.get(), netns)) return std::nullopt;
  return out;
}

Result<compile::NetnsFact> NetnsFactCache::fact_of(Sought& sought) {
  if (handed_.holds(sought.uid)) return handed_.fact(sought.uid, now_);
  if (!sought.fact) return fail("no process of the pod was found on this node (UID " + sought.uid + ")");
  auto out = *sought.fact;
  if (out) out->announced = handed_.announced(sought.uid, out->cookie);
  return out;
}

void NetnsFactCache::hand_over(const std::string& cgroup_uid, UniqueFd netns, std::vector<IpAddress> ips) {
  handed_.put(cgroup_uid, std::move(netns), std::move(ips), clock_());
  for (auto& [id, sought] : sought_)
    if (sought.uid == cgroup_uid) sought.search.reset();
}

void NetnsFactCache::take_back(const std::string& cgroup_uid) { handed_.take_back(cgroup_uid); }

}  // namespace underpass::dataplane
