// SPDX-License-Identifier: Apache-2.0
#include "test/support/streams.h"

#include <cstdlib>

#include "test/support/stream.h"

namespace underpass::test {
namespace {

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

void add(StreamsReport& report, const StreamPlan& plan, const StreamOutcome& outcome) {
  ++report.streams;
  report.bytes += outcome.bytes;
  report.false_eagain += outcome.false_eagain;
  if (outcome.failure.empty() || report.failures.size() >= kMostFailures) return;
  report.failures.push_back(outcome.failure + "; replay: UNDERPASS_SEED=" + std::to_string(plan.seed) +
                            " UNDERPASS_STREAMS=1");
}

}  // namespace

std::string StreamsReport::to_string() const {
  std::string text = std::to_string(streams) + " streams, " + std::to_string(bytes) + " bytes, " +
                     std::to_string(false_eagain) + " times EAGAIN for a blocking read";
  for (const std::string& failure : failures) text += "\n" + failure;
  return text;
}

StreamsReport run_streams(const StreamsOptions& options) {
  const std::uint64_t first = from_environment("UNDERPASS_SEED", options.first_seed);
  const std::uint64_t count = from_environment("UNDERPASS_STREAMS", options.count);
  const std::atomic<bool> stop = true;
  std::atomic<std::uint64_t> next = 0;
  std::mutex mutex;
  StreamsReport report;
  const auto work = [&] {
    for (std::uint64_t i; (i = next++) < count;) {
      StreamPlan plan = plan_stream(first + i);
      if (options.adjust) options.adjust(plan);
      const StreamOutcome outcome = run_stream(plan, options.a, options.b, stop);
      const std::lock_guard lock(mutex);
      add(report, plan, outcome);
      if (report.failures.size() >= kMostFailures) next = count;
    }
  };
  std::vector<std::thread> workers;
  for (unsigned i = 0; i < options.concurrency; ++i) workers.emplace_back(work);
  for (std::thread& worker : workers) worker.join();
  return report;
}

Traffic::Traffic(Options options) : options_(std::move(options)), next_seed_(from_environment("UNDERPASS_SEED", 1)) {
  for (unsigned i = 0; i < options_.lasting + options_.renewed; ++i) {
    threads_.emplace_back([this, lasting = i < options_.lasting, seed = next_seed_++] { run(lasting, seed); });
  }
}

Traffic::~Traffic() { stop(); }

void Traffic::run(bool lasting, std::uint64_t seed) {
  do {
    StreamPlan plan = plan_stream(seed, 256u << 10);
    if (lasting) {
      for (DirectionPlan& direction : plan.direction) {
        direction.bytes = kUntilStopped;
        direction.max_message = direction.max_message % 16384 + 1;
        direction.max_chunk = 65536;
        direction.pause_one_in = 1;
      }
    } else if (options_.adjust) {
      options_.adjust(plan);
    }
    const StreamOutcome outcome = run_stream(plan, options_.a, options_.b, stop_);
    ++streams_;
    const std::lock_guard lock(mutex_);
    add(report_, plan, outcome);
    if (report_.failures.size() >= kMostFailures) return;
    seed = next_seed_++;
  } while (!lasting && !stop_.load());
}

bool Traffic::failed() {
  const std::lock_guard lock(mutex_);
  return !report_.ok();
}

StreamsReport Traffic::stop() {
  stop_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  return report_;
}

}  // namespace underpass::test
