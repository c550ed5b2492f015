// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/policies.h"

#include <algorithm>
#include <utility>

namespace underpass::dataplane {
namespace {

constexpr const char* kNoRoom = "there was no room for its policies";
constexpr const char* kNoMore = "its policies were of an earlier agent";

// What names its clauses.
compile::PolicySet names_of(const compile::PolicySet& set) {
  compile::PolicySet out;
  out.clauses = set.clauses;
  out.allow_policies = set.allow_policies;
  out.closed = set.closed;
  out.why_closed = set.why_closed;
  return out;
}

}  // namespace

Policies::Policies(PolicyMaps& maps) : maps_(maps), foreign_(maps.sets()) {
  if (!foreign_.empty()) next_ = *foreign_.rbegin() + 1;
}

std::map<NetnsCookie, std::uint32_t> Policies::prepare(const Sets& wanted, compile::IdentityNumbers& numbers,
                                                       std::vector<Error>& errors) {
  std::map<NetnsCookie, std::uint32_t> out;
  used_.clear();
  for (const auto& [cookie, set] : wanted) {
    const auto number = number_of(set, numbers, errors);
    out.emplace(cookie, number);
    used_.insert(number);
  }
  return out;
}

std::uint32_t Policies::number_of(const std::shared_ptr<const compile::PolicySet>& set,
                                  compile::IdentityNumbers& numbers, std::vector<Error>& errors) {
  const auto same = std::ranges::find_if(present_, [&](const auto& entry) { return entry.second.set == set; });
  if (same != present_.end()) return same->first;
  const auto equal = std::ranges::find_if(present_, [&](const auto& entry) { return *entry.second.set == *set; });
  if (equal != present_.end()) return equal->first;

  auto rows = compile::make_rows(*set, numbers);
  if (auto done = maps_.put(next_, rows); !done) {
    errors.push_back({"policy: " + done.error().message + ": the pods that it is for are closed"});
    return kClosed;
  }
  present_.emplace(next_, Present{set, std::move(rows)});
  return next_++;
}

void Policies::forget_unused() {
  gone_.clear();
  std::erase_if(present_, [&](const auto& entry) {
    if (used_.contains(entry.first)) return false;
    gone_.emplace(entry.first, names_of(*entry.second.set));
    maps_.remove(entry.first, entry.second.rows);
    return true;
  });
  if (!foreign_.empty()) maps_.remove_all(std::exchange(foreign_, {}));
}

const compile::PolicySet* Policies::find(std::uint32_t number) const {
  const auto found = present_.find(number);
  return found == present_.end() ? nullptr : found->second.set.get();
}

std::shared_ptr<const compile::PolicySet> Policies::in_force(std::uint32_t number) const {
  if (const auto found = present_.find(number); found != present_.end()) return found->second.set;
  auto closed = compile::compile_policy_set({}, {});
  closed.closed = true;
  closed.why_closed = number == kClosed ? kNoRoom : kNoMore;
  return std::make_shared<const compile::PolicySet>(std::move(closed));
}

compile::Denier Policies::denier_of(std::uint32_t number, std::uint32_t clause) const {
  if (const auto* set = find(number)) return compile::denier_of(*set, clause);
  if (const auto gone = gone_.find(number); gone != gone_.end()) return compile::denier_of(gone->second, clause);
  if (clause == UP_NO_WORKER) return {compile::kNoWorker, ""};
  return {std::string("closed: ") + (number == kClosed ? kNoRoom : kNoMore), ""};
}

}  // namespace underpass::dataplane
