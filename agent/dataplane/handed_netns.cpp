// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/handed_netns.h"

#include <sys/stat.h>

#include <utility>

#include "agent/dataplane/netns.h"

namespace underpass::dataplane {
namespace {

// Images are pulled before the sandbox is made, so a process comes soon or never.
constexpr auto kHeldAtMost = std::chrono::minutes(10);
// A pod that has gone from the API, or has terminated, is not coming back; but its object may be replaced in two steps.
constexpr auto kKeptAfterItsPod = std::chrono::seconds(10);
constexpr auto kLookAgainAfter = std::chrono::seconds(10);

}  // namespace

void HandedNetns::put(const std::string& uid, UniqueFd netns, std::vector<IpAddress> ips, Time now) {
  struct stat file{};
  ::fstat(netns.get(), &file);
  One one{.netns = std::move(netns),
          .device = file.st_dev,
          .inode = file.st_ino,
          .ips = std::move(ips),
          .handed = now,
          .seen = std::nullopt,
          .looked = now,
          .fact = std::nullopt};
  look(one, now);
  all_.insert_or_assign(uid, std::move(one));
}

void HandedNetns::look(One& one, Time now) {
  one.looked = now;
  one.fact = probe_netns("/proc/self/fd/" + std::to_string(one.netns.get()));
  if (*one.fact) (*one.fact)->announced = one.ips;
}

bool HandedNetns::holds(const std::string& uid) const {
  const auto one = all_.find(uid);
  return one != all_.end() && one->second.netns;
}

Result<compile::NetnsFact> HandedNetns::fact(const std::string& uid, Time now) {
  auto& one = all_.at(uid);
  if (!*one.fact || now - one.looked >= kLookAgainAfter) look(one, now);
  return *one.fact;
}

bool HandedNetns::is(const std::string& uid, const PodNetns& netns) const {
  const auto one = all_.find(uid);
  return one != all_.end() && one->second.netns && one->second.device == netns.device &&
         one->second.inode == netns.inode;
}

void HandedNetns::let_go(const std::string& uid) { all_.at(uid).netns.reset(); }

std::vector<IpAddress> HandedNetns::announced(const std::string& uid, NetnsCookie cookie) const {
  const auto one = all_.find(uid);
  if (one == all_.end() || !*one->second.fact || (*one->second.fact)->cookie != cookie) return {};
  return one->second.ips;
}

void HandedNetns::forget_others(const std::set<std::string>& living, Time now) {
  for (auto& [uid, one] : all_)
    if (living.contains(uid)) one.seen = now;
  std::erase_if(all_, [now](const auto& entry) {
    const auto& one = entry.second;
    if (one.seen && now - *one.seen >= kKeptAfterItsPod) return true;
    return now - one.handed >= kHeldAtMost && (one.netns || !one.seen);
  });
}

}  // namespace underpass::dataplane
