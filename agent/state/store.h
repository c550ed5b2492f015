// SPDX-License-Identifier: Apache-2.0
// From what a source has now to what is in force. An object whose new text does not decode stays as it was (stale) or,
// where no good version was ever seen, is left out (refused); a text that does not even tell which objects it holds
// changes none of those that it held. Only what a readable text no longer mentions is gone. Pure but for the clock.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "agent/k8s/contents.h"
#include "underpass/ids.h"
#include "underpass/model/objects.h"

namespace underpass::state {

struct ObjectKey {
  std::string kind;
  NamespacedName id;

  auto operator<=>(const ObjectKey&) const = default;
};

// What is failing: an object, or a text in a file. Not why, which changes while somebody looks for the mistake.
struct Failure {
  ObjectKey object;
  std::string file;

  auto operator<=>(const Failure&) const = default;
};

// What one update leaves for the next, beside the snapshot.
struct Memory {
  std::map<std::string, std::map<ObjectKey, std::string>> held;  // file → the objects in it and where they stand
  std::map<Failure, std::string> since;                          // RFC 3339
};

class Store {
 public:
  using Clock = std::function<std::chrono::system_clock::time_point()>;

  explicit Store(Clock clock = std::chrono::system_clock::now);

  // Takes over what the source has now. True if snapshot() is another one than before.
  bool update(const k8s::Contents& contents);

  // Never null; empty before the first update. It has every good object, so it is also where an older version is found.
  [[nodiscard]] const std::shared_ptr<const model::Snapshot>& snapshot() const { return snapshot_; }

 private:
  Clock clock_;
  Memory memory_;
  std::shared_ptr<const model::Snapshot> snapshot_;
};

}  // namespace underpass::state
