// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/netns_facts.h"

#include <sys/stat.h>

#include "agent/dataplane/netns.h"

namespace underpass::dataplane {
namespace {

// An address that comes or goes in a namespace is noticed after this long.
constexpr auto kLookAgainAfter = std::chrono::seconds(10);

}  // namespace

compile::NetnsFacts NetnsFactCache::refresh(const model::Snapshot& snapshot, const std::string& node_name) {
  compile::NetnsFacts facts;
  std::map<std::string, Known> still_used;
  const auto now = Clock::now();
  for (const auto& [id, pod] : snapshot.pods) {
    if (pod.node_name != node_name || pod.netns_path.empty()) continue;
    struct stat file{};
    ::stat(pod.netns_path.c_str(), &file);
    const auto known = known_.find(pod.netns_path);
    const bool fresh = known != known_.end() && known->second.fact && known->second.device == file.st_dev &&
                       known->second.inode == file.st_ino && now - known->second.looked < kLookAgainAfter;
    Known current =
        fresh ? known->second
              : Known{.device = file.st_dev, .inode = file.st_ino, .looked = now, .fact = probe_netns(pod.netns_path)};
    facts.emplace(id, current.fact);
    still_used.insert_or_assign(pod.netns_path, std::move(current));
  }
  known_ = std::move(still_used);
  return facts;
}

}  // namespace underpass::dataplane
