// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/api/events.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "agent/k8s/api/event_object.h"
#include "agent/k8s/api/token_bucket.h"

namespace underpass::k8s {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kBurst = 25;
constexpr double kPerSecond = 1;
constexpr std::chrono::seconds kLongestPause(120);
constexpr unsigned kConflict = 409;

// What answers may find gone.
struct Record {
  std::uint64_t made = 0;
  std::uint64_t dropped = 0;
  std::string problem;
  Clock::time_point paused_until;
};

void note_answer(Record& record, const Result<ApiAnswer>& answer) {
  const bool made =
      answer && (answer->status / 100 == 2 || (answer->status == kConflict && answer->reason == "AlreadyExists"));
  if (made) {
    ++record.made;
    record.problem.clear();
    return;
  }
  ++record.dropped;
  if (!answer) {
    record.problem = answer.error().message;
    return;
  }
  record.problem = "create events.events.k8s.io: " + describe(*answer);
  if (answer->retry_after) record.paused_until = Clock::now() + std::min(*answer->retry_after, kLongestPause);
}

class ApiEventRecorder : public EventRecorder {
 public:
  ApiEventRecorder(ApiClient& client, std::string node) : client_(client), node_(std::move(node)) {}

  void warn(const EventSubject& subject, const std::string& reason, const std::string& note) override {
    const auto now = Clock::now();
    if (now < record_->paused_until || !bucket_.take(now)) {
      ++record_->dropped;
      return;
    }
    const auto event = make_event(subject, reason, note, node_, std::chrono::system_clock::now());
    client_.request("POST", event.path, event.body, [record = std::weak_ptr(record_)](const Result<ApiAnswer>& answer) {
      if (const auto there = record.lock()) note_answer(*there, answer);
    });
  }

  [[nodiscard]] std::uint64_t made() const override { return record_->made; }
  [[nodiscard]] std::uint64_t dropped() const override { return record_->dropped; }
  [[nodiscard]] std::string problem() const override { return record_->problem; }

 private:
  ApiClient& client_;
  std::string node_;
  TokenBucket bucket_{kBurst, kPerSecond};
  std::shared_ptr<Record> record_ = std::make_shared<Record>();
};

}  // namespace

std::unique_ptr<EventRecorder> EventRecorder::make(ApiClient& client, std::string node) {
  return std::make_unique<ApiEventRecorder>(client, std::move(node));
}

}  // namespace underpass::k8s
