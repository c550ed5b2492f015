// SPDX-License-Identifier: Apache-2.0
#include "agent/learn/workloads.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "underpass/abi_names.h"

namespace underpass::learn {
namespace {

constexpr std::uint64_t kLearnTimeNs = std::chrono::nanoseconds(kLearnTime).count();
// Bits of a newer program say nothing to us.
constexpr std::uint64_t kKnownTraits = UP_WHY_COUNT == 64 ? ~0ULL : UP_TRAIT(UP_WHY_COUNT % 64) - 1;

}  // namespace

std::string day_of(const std::string& time) { return time.substr(0, std::string_view("2026-03-01").size()); }

Workloads::Workloads(std::vector<Remembered> remembered) {
  for (auto& one : remembered) {
    records_[std::move(one.workload)] = {.verdict = std::move(one.verdict), .last_seen = std::move(one.last_seen)};
  }
  evict();
}

Observed Workloads::observe(const std::map<NetnsCookie, Workload>& pods, const std::map<NetnsCookie, up_habits>& habits,
                            const Now& now) {
  Observed out;
  for (auto& [workload, record] : records_) record.present = false;
  for (const auto& [cookie, workload] : pods) meet(workload, day_of(now.wall));

  for (const auto& [cookie, seen] : habits) {
    const auto pod = pods.find(cookie);
    const auto known = counted_.find(cookie);
    // A pod that has left, or become another workload's, still did what it did.
    if (known != counted_.end()) add(known->second, seen, now.monotonic_ns);
    if (pod == pods.end()) continue;
    if (known == counted_.end()) {
      Counted first{.workload = pod->second, .reads = seen.reads, .connections = seen.connections};
      add(counted_[cookie] = std::move(first), seen, now.monotonic_ns);
    } else if (known->second.workload != pod->second) {
      out.to_reset.push_back(cookie);
      counted_.erase(known);
    }
  }
  std::erase_if(counted_, [&](const auto& entry) { return !pods.contains(entry.first); });

  // Only now: one pod's trait outweighs what another did well.
  for (auto& [workload, record] : records_) {
    if (auto change = judge(workload, record, now)) out.changes.push_back(std::move(*change));
  }
  evict();
  return out;
}

void Workloads::meet(const Workload& workload, const std::string& today) {
  Record& record = records_[workload];
  record.present = true;
  if (record.last_seen == today) return;
  record.last_seen = today;
  if (record.verdict.state != State::kLearning) unsaved_ = true;
}

void Workloads::add(Counted& counted, const up_habits& habits, std::uint64_t now_ns) {
  const auto found = records_.find(counted.workload);
  if (found == records_.end()) return;  // forgotten, and no pod of it is left
  Record& record = found->second;
  record.new_traits |= habits.traits & kKnownTraits;

  // A row that shrank was made anew. (Its pod left and came back.)
  if (habits.reads < counted.reads || habits.connections < counted.connections) counted.reads = counted.connections = 0;
  const std::uint64_t reads = habits.reads - counted.reads, connections = habits.connections - counted.connections;
  if (record.verdict.state == State::kLearning) {
    record.verdict.reads += reads;
    record.verdict.connections += connections;
    if (reads > 0 && record.first_read_ns == 0) {
      const bool its_first = counted.reads == 0 && habits.first_read_ns != 0;
      record.first_read_ns = its_first ? habits.first_read_ns : now_ns;
    }
  }
  counted.reads = habits.reads;
  counted.connections = habits.connections;
}

std::optional<Change> Workloads::judge(const Workload& workload, Record& record, const Now& now) {
  const std::uint64_t traits = std::exchange(record.new_traits, 0);
  Verdict& verdict = record.verdict;
  if (verdict.state == State::kOff) return std::nullopt;

  Change change{.workload = workload, .verdict = {}, .late = traits != 0 && verdict.state == State::kOn};
  if (traits != 0) {
    verdict.state = State::kOff;
    for (int why = 0; why < UP_WHY_COUNT; ++why) {
      if ((traits & UP_TRAIT(why)) == 0) continue;
      verdict.traits.emplace_back(underpass::name_of(static_cast<up_why>(why)));
      if (change.late) ++late_[static_cast<std::size_t>(why)];
    }
  } else {
    const bool many = verdict.connections >= kLearnConnections && verdict.reads >= kLearnReads;
    // Time that passes without a pod says nothing.
    const bool long_enough = record.present && record.first_read_ns != 0 &&
                             now.monotonic_ns >= record.first_read_ns + kLearnTimeNs && verdict.reads >= kLearnFewReads;
    if (verdict.state == State::kOn || !(many || long_enough)) return std::nullopt;
    verdict.state = State::kOn;
  }
  verdict.since = now.wall;
  change.verdict = verdict;
  unsaved_ = true;
  return change;
}

void Workloads::evict() {
  while (records_.size() > kMostWorkloads) {
    const auto oldest = std::ranges::min_element(records_, {}, [](const auto& entry) {
      return std::tuple<bool, const std::string&>(entry.second.present, entry.second.last_seen);
    });
    if (oldest->second.verdict.state != State::kLearning) unsaved_ = true;
    std::erase_if(counted_, [&](const auto& entry) { return entry.second.workload == oldest->first; });
    records_.erase(oldest);
  }
}

Verdict Workloads::forget(const Workload& workload) {
  const Verdict known = verdict_of(workload);
  if (known.state != State::kLearning) unsaved_ = true;
  records_.erase(workload);
  std::erase_if(counted_, [&](const auto& entry) { return entry.second.workload == workload; });
  return known;
}

Verdict Workloads::verdict_of(const Workload& workload) const {
  const auto found = records_.find(workload);
  return found == records_.end() ? Verdict{} : found->second.verdict;
}

Verdicts Workloads::decided() const {
  Verdicts out;
  for (const auto& [workload, record] : records_)
    if (record.verdict.state != State::kLearning) out.emplace(workload, record.verdict);
  return out;
}

std::map<State, std::uint64_t> Workloads::present() const {
  std::map<State, std::uint64_t> out{{State::kLearning, 0}, {State::kOn, 0}, {State::kOff, 0}};
  for (const auto& [workload, record] : records_)
    if (record.present) ++out[record.verdict.state];
  return out;
}

std::vector<Remembered> Workloads::to_remember() const {
  std::vector<Remembered> out;
  for (const auto& [workload, record] : records_) {
    if (record.verdict.state == State::kLearning) continue;
    out.push_back({.workload = workload, .verdict = record.verdict, .last_seen = record.last_seen});
  }
  return out;
}

}  // namespace underpass::learn
