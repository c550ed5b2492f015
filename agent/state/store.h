// SPDX-License-Identifier: Apache-2.0
// From what a source has now to what is in force. An object whose new text does not decode stays as it was (stale) or,
// where no good version was ever seen, is left out (refused); a text that does not even tell which objects it holds
// changes none of those that it held. Only what a readable text no longer mentions is gone. Pure but for the clock.
// An update costs what the files that changed hold, not what there is: of every object is known which files name it.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/k8s/contents.h"
#include "underpass/ids.h"
#include "underpass/model/objects.h"

namespace underpass::state {

struct ObjectKey {
  std::string kind;
  NamespacedName id;

  auto operator<=>(const ObjectKey&) const = default;
};

class Store {
 public:
  using Clock = std::function<std::chrono::system_clock::time_point()>;

  explicit Store(Clock clock = std::chrono::system_clock::now);

  // Takes over what the source has now. True if snapshot() says something else than before.
  bool update(const k8s::Contents& contents);

  // What changed in snapshot() since this was last asked.
  [[nodiscard]] model::Changes take_changes() { return std::exchange(changes_, {}); }

  // Never null; empty before the first update. It has every good object, so it is also where an older version is found.
  // Who keeps the pointer keeps the snapshot as it is, and the next change pays for a copy of it; a reference to the
  // snapshot is good until the next update, which then changes it in place. For one thread.
  [[nodiscard]] std::shared_ptr<const model::Snapshot> snapshot() const { return snapshot_; }

 private:
  // A file of the last update.
  struct Source {
    std::shared_ptr<const k8s::File> file;
    std::size_t position = 0;
    // While it is unreadable: what it held when it last was readable and does not name now, and where that stood.
    std::map<ObjectKey, std::string> unmentioned;
    std::vector<model::Diagnostic> problems;  // of texts in it, not of objects
  };

  // A file names an object, or (`item` is null) it is not known whether it does not name it any more.
  struct Claim {
    const Source* source;
    const k8s::Item* item;
  };

  // What is wrong with an object; `file` is said for all but the first of several claims. Not why it is wrong, which
  // changes while somebody looks for the mistake, tells one problem from another.
  struct Problem {
    std::string file;
    model::Diagnostic diagnostic;

    bool operator==(const Problem&) const = default;
  };

  struct Known {
    std::vector<Claim> claims;
    std::vector<Problem> problems;
    bool due = false;  // in due_
  };
  using Objects = std::map<ObjectKey, Known>;

  model::Snapshot& writable();
  // For what is about to become of this object.
  model::Snapshot& writable(const ObjectKey& key);
  // The three steps of an update: which files changed, what becomes of the objects that they name, what is reported.
  void take_files(const std::vector<std::shared_ptr<const k8s::File>>& files);
  void settle_objects();
  void settle_diagnostics(const std::optional<k8s::Unreadable>& lost);

  void replace(Source& source, std::shared_ptr<const k8s::File> file);
  void claim(const Source& source, const ObjectKey& key, const k8s::Item* item);
  void unclaim(const Source& source, const ObjectKey& key);
  void call_due(Objects::iterator object);

  void settle(const ObjectKey& key, Known& known);
  void report(const ObjectKey& key, const std::vector<Problem>& before, Problem problem,
              std::vector<Problem>& problems);
  bool report_file(Source& source);
  bool report_loss(const std::optional<k8s::Unreadable>& lost);

  Clock clock_;
  std::string now_;  // RFC 3339
  bool changed_ = false;
  model::Changes changes_;
  bool diagnostics_due_ = false;

  std::map<std::string, Source> sources_;  // by the file's path
  std::vector<Source*> order_;             // as in the last update's contents
  std::map<std::string, Source*> broken_;  // those with unreadable texts
  std::vector<model::Diagnostic> loss_;    // of the source itself

  Objects objects_;
  std::vector<Objects::iterator> due_;       // whose claims changed
  std::map<ObjectKey, const Known*> wrong_;  // those with problems

  std::shared_ptr<model::Snapshot> snapshot_;
};

}  // namespace underpass::state
