// SPDX-License-Identifier: Apache-2.0
#include "agent/state/store.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <ctime>
#include <optional>
#include <tuple>
#include <utility>
#include <variant>

namespace underpass::state {
namespace {

using State = model::Diagnostic::State;

std::string to_rfc3339(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

void insert(model::Snapshot& snapshot, model::Namespace value) {
  auto name = value.name;
  snapshot.namespaces.insert_or_assign(std::move(name), std::move(value));
}
void insert(model::Snapshot& snapshot, model::ServiceAccount value) {
  auto id = value.id;
  snapshot.service_accounts.insert_or_assign(std::move(id), std::move(value));
}
void insert(model::Snapshot& snapshot, model::Pod value) {
  auto id = value.id;
  snapshot.pods.insert_or_assign(std::move(id), std::move(value));
}

// Copies the object `key` from one snapshot to another; false if it is not there.
bool carry_over(const model::Snapshot& from, const ObjectKey& key, model::Snapshot& to) {
  const auto copy = [&to](const auto& objects, const auto& name) {
    const auto found = objects.find(name);
    if (found == objects.end()) return false;
    insert(to, found->second);
    return true;
  };
  if (key.kind == "Namespace") return copy(from.namespaces, key.id.name);
  if (key.kind == "ServiceAccount") return copy(from.service_accounts, key.id);
  if (key.kind == "Pod") return copy(from.pods, key.id);
  assert(false && "a kind that the snapshot does not hold");
  return false;
}

// One update, file by file in their order. Whoever names an object first has it.
class Update {
 public:
  Update(const model::Snapshot& before, const Memory& memory, std::string now)
      : before_(before), memory_(memory), now_(std::move(now)) {}

  void take(const k8s::File& file) {
    auto& held = after.held[file.path];
    for (const auto& item : file.items) {
      const ObjectKey key{item.kind, item.id};
      held.emplace(key, item.place);
      take_item(key, item, file.path);
    }
    bool explained = false;  // some object carries the first problem's diagnostic
    if (!file.unreadable.empty()) explained = keep_unmentioned(file, held);
    for (const auto& problem : file.unreadable) {
      if (!std::exchange(explained, false)) report({}, State::kRefused, problem.place, problem.cause, file.path);
    }
  }

  void take_loss(const k8s::Unreadable& lost) { report({}, State::kStale, lost.place, lost.cause, lost.place); }

  Memory after;
  model::Snapshot snapshot;

 private:
  void take_item(const ObjectKey& key, const k8s::Item& item, const std::string& file) {
    const auto [owner, is_first] = owners_.emplace(key, item.place);
    if (!is_first) {
      return report(key, State::kRefused, item.place,
                    "already defined at " + owner->second + ": only the first one counts", file);
    }
    if (item.object) {
      std::visit([this](const auto& value) { insert(snapshot, value); }, *item.object);
    } else {
      keep(key, item.object.error().path, item.object.error().cause);
    }
  }

  // What the file held when it was last readable, and what its readable part does not name now. True if there is any.
  bool keep_unmentioned(const k8s::File& file, std::map<ObjectKey, std::string>& held) {
    const auto earlier = memory_.held.find(file.path);
    if (earlier == memory_.held.end()) return false;
    bool any = false;
    for (const auto& [key, place] : earlier->second) {
      if (!held.emplace(key, place).second) continue;
      if (!owners_.emplace(key, place).second) continue;
      keep(key, file.unreadable.front().place, file.unreadable.front().cause);
      any = true;
    }
    return any;
  }

  void keep(const ObjectKey& key, const std::string& path, const std::string& cause) {
    const bool stale = carry_over(before_, key, snapshot);
    report(key, stale ? State::kStale : State::kRefused, path, cause, "");
  }

  void report(const ObjectKey& key, State state, const std::string& path, const std::string& cause,
              const std::string& file) {
    const Failure failure{key, file};
    const auto known = memory_.since.find(failure);
    const auto& since = after.since.emplace(failure, known == memory_.since.end() ? now_ : known->second).first->second;
    snapshot.diagnostics.push_back({key.kind, key.id, state, path, cause, since});
  }

  const model::Snapshot& before_;
  const Memory& memory_;
  std::string now_;
  std::map<ObjectKey, std::string> owners_;  // → where the object stands
};

}  // namespace

Store::Store(Clock clock) : clock_(std::move(clock)), snapshot_(std::make_shared<const model::Snapshot>()) {}

bool Store::update(const k8s::Contents& contents) {
  Update update(*snapshot_, memory_, to_rfc3339(clock_()));
  for (const auto& file : contents.files) update.take(*file);
  if (contents.lost) update.take_loss(*contents.lost);
  std::ranges::sort(update.snapshot.diagnostics, {}, [](const model::Diagnostic& diagnostic) {
    return std::tie(diagnostic.kind, diagnostic.id, diagnostic.path, diagnostic.cause);
  });

  memory_ = std::move(update.after);
  if (update.snapshot == *snapshot_) return false;
  snapshot_ = std::make_shared<const model::Snapshot>(std::move(update.snapshot));
  return true;
}

}  // namespace underpass::state
