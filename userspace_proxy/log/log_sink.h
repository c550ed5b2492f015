// SPDX-License-Identifier: Apache-2.0
// The log: spdlog to a descriptor that is never waited for. A log that nobody reads costs lines, not traffic; they are
// counted. Times are UTC, since a sandboxed worker has no timezone's file to read.
#pragma once

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "userspace_proxy/net/non_blocking.h"

namespace underpass::log {

class LogSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit LogSink(int fd)
      : base_sink(
            std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc)),
        fd_(fd) {
    net::make_non_blocking(fd);
  }

  [[nodiscard]] std::uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    if (::write(fd_, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
      lost_.fetch_add(1, std::memory_order_relaxed);
  }
  void flush_() override {}

 private:
  int fd_;
  std::atomic<std::uint64_t> lost_ = 0;
};

}  // namespace underpass::log
