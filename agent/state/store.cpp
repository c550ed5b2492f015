// SPDX-License-Identifier: Apache-2.0
#include "agent/state/store.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <ctime>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "agent/state/snapshot_objects.h"

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

ObjectKey key_of(const k8s::Item& item) { return {item.kind, item.id}; }

}  // namespace

Store::Store(Clock clock) : clock_(std::move(clock)), snapshot_(std::make_shared<model::Snapshot>()) {}

bool Store::update(const k8s::Contents& contents) {
  now_ = to_rfc3339(clock_());
  changed_ = false;
  take_files(contents.files);
  settle_objects();
  settle_diagnostics(contents.lost);
  return changed_;
}

model::Snapshot& Store::writable() {
  changed_ = true;
  if (snapshot_.use_count() > 1) snapshot_ = std::make_shared<model::Snapshot>(*snapshot_);
  return *snapshot_;
}

model::Snapshot& Store::writable(const ObjectKey& key) {
  note(key, changes_);
  return writable();
}

void Store::take_files(const std::vector<std::shared_ptr<const k8s::File>>& files) {
  // Mostly the same files in the same places: a file is looked for by name only where another stands in its place.
  std::vector<Source*> order;
  order.reserve(files.size());
  std::size_t expected = 0;  // position of the next file in the last update
  std::size_t kept = 0;
  bool reordered = false;
  for (const auto& file : files) {
    const bool unchanged = expected < order_.size() && order_[expected]->file == file;
    const auto found = unchanged ? sources_.end() : sources_.find(file->path);
    Source* source = unchanged ? order_[expected] : nullptr;
    if (found != sources_.end()) source = &found->second;
    if (source != nullptr) {
      reordered |= source->position < expected;
      expected = source->position + 1;
      ++kept;
    } else {
      source = &sources_[file->path];
    }
    order.push_back(source);
  }

  if (kept < order_.size()) {
    auto here = order;
    std::ranges::sort(here);
    for (Source* source : order_) {
      if (std::ranges::binary_search(here, source)) continue;
      const std::string path = source->file->path;
      replace(*source, nullptr);
      broken_.erase(path);
      sources_.erase(path);
    }
  }
  order_ = std::move(order);
  for (std::size_t i = 0; i < files.size(); ++i) {
    order_[i]->position = i;
    if (order_[i]->file != files[i]) replace(*order_[i], files[i]);
  }
  if (!reordered) return;
  for (auto object = objects_.begin(); object != objects_.end(); ++object) {
    if (object->second.claims.size() > 1) call_due(object);
  }
}

// Null: the file is gone.
void Store::replace(Source& source, std::shared_ptr<const k8s::File> file) {
  const auto before = std::exchange(source.file, std::move(file));
  auto unmentioned = std::exchange(source.unmentioned, {});
  for (const auto& [key, place] : unmentioned) unclaim(source, key);
  if (before) {
    for (const auto& item : before->items) {
      unclaim(source, key_of(item));
      if (source.file && !source.file->unreadable.empty()) unmentioned.emplace(key_of(item), item.place);
    }
  }
  if (!source.problems.empty()) diagnostics_due_ = true;
  if (!source.file) return;
  for (const auto& item : source.file->items) {
    claim(source, key_of(item), &item);
    unmentioned.erase(key_of(item));
  }
  if (source.file->unreadable.empty()) {
    broken_.erase(source.file->path);
    source.problems.clear();
    return;
  }
  broken_[source.file->path] = &source;
  source.unmentioned = std::move(unmentioned);
  for (const auto& [key, place] : source.unmentioned) claim(source, key, nullptr);
}

void Store::claim(const Source& source, const ObjectKey& key, const k8s::Item* item) {
  const auto object = objects_.try_emplace(key).first;
  object->second.claims.push_back({&source, item});
  call_due(object);
}

void Store::unclaim(const Source& source, const ObjectKey& key) {
  const auto object = objects_.find(key);
  assert(object != objects_.end());
  std::erase_if(object->second.claims, [&](const Claim& claim) { return claim.source == &source; });
  call_due(object);
}

void Store::call_due(Objects::iterator object) {
  if (!std::exchange(object->second.due, true)) due_.push_back(object);
}

void Store::settle_objects() {
  for (const auto object : due_) {
    auto& [key, known] = *object;
    known.due = false;
    const auto before = known.problems;
    settle(key, known);
    if (known.problems != before) {
      diagnostics_due_ = true;
      note_problem(key, changes_);
    }
    if (known.problems.empty()) {
      wrong_.erase(key);
    } else {
      wrong_[key] = &known;
    }
    if (known.claims.empty()) objects_.erase(object);
  }
  due_.clear();
}

// Whoever names an object first has it.
void Store::settle(const ObjectKey& key, Known& known) {
  std::vector<Problem> problems;
  // The items of one file are in one vector.
  std::ranges::sort(known.claims, {}, [](const Claim& claim) { return std::pair(claim.source->position, claim.item); });
  std::string place;  // of the first
  for (const auto& [source, item] : known.claims) {
    const auto& file = *source->file;
    if (!place.empty()) {
      if (item == nullptr) continue;
      report(key, known.problems,
             {file.path,
              {.kind = {},
               .id = {},
               .state = State::kRefused,
               .path = item->place,
               .cause = "already defined at " + place + ": only the first one counts",
               .since = {}}},
             problems);
      continue;
    }
    place = item != nullptr ? item->place : source->unmentioned.at(key);
    if (item != nullptr && item->object) {
      if (!holds(*snapshot_, key, *item->object)) put(writable(key), key, *item->object);
      continue;
    }
    const auto state = contains(*snapshot_, key) ? State::kStale : State::kRefused;
    const auto& path = item != nullptr ? item->object.error().path : file.unreadable.front().place;
    const auto& cause = item != nullptr ? item->object.error().cause : file.unreadable.front().cause;
    report(key, known.problems, {"", {.kind = {}, .id = {}, .state = state, .path = path, .cause = cause, .since = {}}},
           problems);
  }
  if (known.claims.empty() && contains(*snapshot_, key)) remove(writable(key), key);
  known.problems = std::move(problems);
}

// A problem that was there before keeps its date.
void Store::report(const ObjectKey& key, const std::vector<Problem>& before, Problem problem,
                   std::vector<Problem>& problems) {
  const auto known = std::ranges::find(before, problem.file, &Problem::file);
  problem.diagnostic.kind = key.kind;
  problem.diagnostic.id = key.id;
  problem.diagnostic.since = known == before.end() ? now_ : known->diagnostic.since;
  problems.push_back(std::move(problem));
}

// The texts of a file of which it is not known what they hold. The first one is what its objects' diagnostics say
// already, if there are any. True if this is news.
bool Store::report_file(Source& source) {
  const bool explained = std::ranges::any_of(source.unmentioned, [&](const auto& object) {
    return objects_.at(object.first).claims.front().source == &source;
  });
  std::vector<model::Diagnostic> problems;
  const auto since = source.problems.empty() ? now_ : source.problems.front().since;
  for (const auto& text : source.file->unreadable) {
    if (explained && &text == &source.file->unreadable.front()) continue;
    problems.push_back(
        {.kind = {}, .id = {}, .state = State::kRefused, .path = text.place, .cause = text.cause, .since = since});
  }
  const bool news = problems != source.problems;
  source.problems = std::move(problems);
  return news;
}

bool Store::report_loss(const std::optional<k8s::Unreadable>& lost) {
  std::vector<model::Diagnostic> loss;
  if (lost) {
    const bool known = !loss_.empty() && loss_.front().path == lost->place;
    loss.push_back({.kind = {},
                    .id = {},
                    .state = State::kStale,
                    .path = lost->place,
                    .cause = lost->cause,
                    .since = known ? loss_.front().since : now_});
  }
  const bool news = loss != loss_;
  loss_ = std::move(loss);
  return news;
}

void Store::settle_diagnostics(const std::optional<k8s::Unreadable>& lost) {
  for (const auto& [path, source] : broken_) diagnostics_due_ |= report_file(*source);
  diagnostics_due_ |= report_loss(lost);
  if (!std::exchange(diagnostics_due_, false)) return;

  std::vector<model::Diagnostic> all = loss_;
  for (const auto& [path, source] : broken_) all.insert(all.end(), source->problems.begin(), source->problems.end());
  for (const auto& [key, known] : wrong_) {
    for (const auto& problem : known->problems) all.push_back(problem.diagnostic);
  }
  std::ranges::sort(all, {}, [](const model::Diagnostic& diagnostic) {
    return std::tie(diagnostic.kind, diagnostic.id, diagnostic.path, diagnostic.cause);
  });
  if (all != snapshot_->diagnostics) writable().diagnostics = std::move(all);
}

}  // namespace underpass::state
