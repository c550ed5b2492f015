// SPDX-License-Identifier: Apache-2.0
// Guards at the doors of pods: a program at sk_lookup of a pod's network namespace, which works on without the agent.
// What it does is all in up_inbound, loaded and verified once; each pod's own is a few instructions that say which pod
// it is and go on there. So a hundred pods are guarded in a few milliseconds, and a new agent's program is in force at
// every door at one moment.
#pragma once

#include <memory>
#include <string>

#include "underpass/ids.h"
#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace underpass::dataplane {

class Inbound {
 public:
  // Over the pinned maps, which are there already. Guards of an earlier agent go on with the new program.
  static Result<std::unique_ptr<Inbound>> load(const std::string& pin_dir);
  Inbound(const Inbound&) = delete;
  Inbound& operator=(const Inbound&) = delete;
  ~Inbound();

  // A door of a network namespace that an earlier agent made with maps of its own, and one of ours for its place.
  struct Renewal {
    UniqueFd link;
    UniqueFd door;

    // Of a namespace that is gone there is nothing to replace.
    [[nodiscard]] Result<void> put_in_place() const;
  };
  [[nodiscard]] Result<Renewal> renew(NetnsCookie netns, const std::string& link_path) const;

  // Of the pod whose network namespace this is; pins the link as `link_path`.
  Result<void> guard(NetnsCookie netns, int netns_fd, const std::string& link_path) const;

 private:
  struct Impl;
  explicit Inbound(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace underpass::dataplane
