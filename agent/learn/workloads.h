// SPDX-License-Identifier: Apache-2.0
// Decides, from what BPF saw pods do (up_habits), which workloads in mode auto are safe to short-circuit. Pure: counts
// and the time go in, verdicts come out. One trait decides against a workload for good; only enough reads without one
// decide for it; and whoever is not known is learned. So whatever gets lost here costs speed, never a byte.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/learn/workload.h"
#include "underpass/abi.h"
#include "underpass/ids.h"

namespace underpass::learn {

// Enough without a trait: so many connections and reads, summed over the workload's pods ...
inline constexpr std::uint64_t kLearnConnections = 8;
inline constexpr std::uint64_t kLearnReads = 32;
// ... or, for one that keeps few connections, so many reads and so much time since the first.
inline constexpr std::uint64_t kLearnFewReads = 8;
inline constexpr std::chrono::seconds kLearnTime{10};

// Beyond that, those that have not been here for longest are forgotten.
inline constexpr std::size_t kMostWorkloads = 4096;

// "2026-03-01" of an RFC 3339 time.
std::string day_of(const std::string& time);

struct Now {
  std::uint64_t monotonic_ns = 0;  // the clock of up_habits
  std::string wall;                // RFC 3339, UTC
};

// A decided workload, as it is kept on disk.
struct Remembered {
  Workload workload;
  Verdict verdict;
  std::string last_seen;  // the day, "2026-03-01"

  bool operator==(const Remembered&) const = default;
};

struct Change {
  Workload workload;
  Verdict verdict;
  bool late = false;  // off, having been on: connections were short-circuited meanwhile
};

struct Observed {
  std::vector<Change> changes;
  // Pods whose row in up_habits tells of another workload (an image was replaced in place): to be reset.
  std::vector<NetnsCookie> to_reset;
};

class Workloads {
 public:
  explicit Workloads(std::vector<Remembered> remembered = {});

  // `pods`: the enrolled pods in mode auto. `habits`: what is in up_habits now, of pods that have just left too. What a
  // pod had counted before it is first seen here does not count, since nobody knows under which mode and image that
  // was; its traits do.
  Observed observe(const std::map<NetnsCookie, Workload>& pods, const std::map<NetnsCookie, up_habits>& habits,
                   const Now& now);

  // Learning starts over. Returns what was known.
  Verdict forget(const Workload& workload);

  // Of one that was never seen: learning, with nothing counted.
  [[nodiscard]] Verdict verdict_of(const Workload& workload) const;
  [[nodiscard]] Verdicts decided() const;

  // Workloads that had a pod at the last observation.
  [[nodiscard]] std::map<State, std::uint64_t> present() const;
  // Late detections since the agent started, by trait (enum up_why).
  [[nodiscard]] const std::array<std::uint64_t, UP_WHY_COUNT>& late() const { return late_; }

  // What has to be kept, and whether it differs from what was kept last.
  [[nodiscard]] std::vector<Remembered> to_remember() const;
  [[nodiscard]] bool unsaved() const { return unsaved_; }
  void saved() { unsaved_ = false; }

 private:
  struct Record {
    Verdict verdict;
    std::uint64_t first_read_ns = 0;  // while learning; 0: not yet
    std::uint64_t new_traits = 0;     // not judged yet
    std::string last_seen;
    bool present = false;
  };
  // What of a pod's row has been added to its workload.
  struct Counted {
    Workload workload;
    std::uint64_t reads = 0;
    std::uint64_t connections = 0;
  };

  void meet(const Workload& workload, const std::string& today);
  void add(Counted& counted, const up_habits& habits, std::uint64_t now_ns);
  std::optional<Change> judge(const Workload& workload, Record& record, const Now& now);
  void evict();

  std::map<Workload, Record> records_;
  std::map<NetnsCookie, Counted> counted_;
  std::array<std::uint64_t, UP_WHY_COUNT> late_{};
  bool unsaved_ = false;
};

}  // namespace underpass::learn
