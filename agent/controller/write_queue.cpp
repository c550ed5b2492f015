// SPDX-License-Identifier: Apache-2.0
#include "agent/controller/write_queue.h"

#include <spdlog/spdlog.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <map>
#include <utility>

#include "agent/controller/api_writes.h"

namespace underpass::controller {
namespace asio = boost::asio;

namespace {

constexpr std::size_t kAtOnce = 2;
constexpr std::chrono::seconds kPause(5);

class Queue : public std::enable_shared_from_this<Queue> {
 public:
  Queue(asio::io_context& io, k8s::ApiClient& client) : client_(client), timer_(io) {}

  void put(Write write) {
    waiting_.insert_or_assign(write.path, std::move(write));
    if (!paused_) work();
  }

  void drop(const std::string& path) { waiting_.erase(path); }

  void stop() {
    stopped_ = true;
    timer_.cancel();
  }

  [[nodiscard]] WriteQueue::Counts counts() const {
    auto out = counts_;
    out.waiting = waiting_.size() + busy_;
    return out;
  }
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  void work() {
    while (busy_ < kAtOnce && !waiting_.empty()) {
      const auto write = std::make_shared<const Write>(std::move(waiting_.extract(waiting_.begin()).mapped()));
      ++busy_;
      client_.request(write->method, write->path, write->body,
                      [weak = weak_from_this(), write](const Result<k8s::ApiAnswer>& answer) {
                        if (const auto self = weak.lock(); self && !self->stopped_) self->take(*write, answer);
                      });
    }
  }

  void take(const Write& write, const Result<k8s::ApiAnswer>& answer) {
    --busy_;
    const bool over = answer && (answer->status == kConflict || answer->status == kNotFound);
    const auto good = check_answer(write.method + " " + write.path, answer);
    if (good || over) {
      if (good) ++counts_.done;
      problem_.clear();
      return work();
    }
    ++counts_.failed;
    if (good.error().message != problem_) spdlog::warn("write-failed reason=\"{}\"", good.error().message);
    problem_ = good.error().message;
    waiting_.emplace(write.path, write);  // unless there is a newer word
    pause();
  }

  void pause() {
    paused_ = true;
    timer_.expires_after(kPause);
    timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (error || !self || self->stopped_) return;
      self->paused_ = false;
      self->work();
    });
  }

  k8s::ApiClient& client_;
  asio::steady_timer timer_;
  std::map<std::string, Write> waiting_;
  std::size_t busy_ = 0;
  WriteQueue::Counts counts_;
  std::string problem_;
  bool paused_ = false;
  bool stopped_ = false;
};

class QueueHolder : public WriteQueue {
 public:
  explicit QueueHolder(std::shared_ptr<Queue> queue) : queue_(std::move(queue)) {}
  ~QueueHolder() override { queue_->stop(); }
  QueueHolder(const QueueHolder&) = delete;
  QueueHolder& operator=(const QueueHolder&) = delete;

  void put(Write write) override { queue_->put(std::move(write)); }
  void drop(const std::string& path) override { queue_->drop(path); }
  [[nodiscard]] Counts counts() const override { return queue_->counts(); }
  [[nodiscard]] const std::string& problem() const override { return queue_->problem(); }

 private:
  std::shared_ptr<Queue> queue_;
};

}  // namespace

std::unique_ptr<WriteQueue> WriteQueue::make(asio::io_context& io, k8s::ApiClient& client) {
  return std::make_unique<QueueHolder>(std::make_shared<Queue>(io, client));
}

}  // namespace underpass::controller
