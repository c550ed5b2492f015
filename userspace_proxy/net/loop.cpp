// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/net/loop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace underpass::net {

Result<std::unique_ptr<Loop>> Loop::make() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return fail_errno("epoll_create1");
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return fail_errno("eventfd");
  std::unique_ptr<Loop> loop(new Loop(std::move(epoll), std::move(wake)));
  if (!loop->control(EPOLL_CTL_ADD, loop->wake_.get(), EPOLLIN, nullptr)) return fail_errno("epoll_ctl");
  return loop;
}

bool Loop::control(int operation, int fd, std::uint32_t events, Watcher* watcher) {
  epoll_event event{.events = events, .data = {.ptr = watcher}};
  return ::epoll_ctl(epoll_.get(), operation, fd, &event) == 0;
}

void Loop::post(Work work) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(work));
    if (posted_.size() > 1) return;  // whoever posted the first has woken it
  }
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof(one));
}

void Loop::do_posted() {
  std::uint64_t ignored = 0;
  (void)!::read(wake_.get(), &ignored, sizeof(ignored));
  std::vector<Work> work;
  {
    const std::lock_guard lock(mutex_);
    work.swap(posted_);
  }
  for (auto& item : work) item();
}

void Loop::run_round(Clock::time_point until) {
  using std::chrono::milliseconds;
  // Rounded up: a round that ends too early would only be followed by another.
  const auto wait = raised_.empty() ? std::chrono::ceil<milliseconds>(until - Clock::now()).count() : 0;
  const int count = ::epoll_wait(epoll_.get(), events_.data(), static_cast<int>(events_.size()),
                                 static_cast<int>(std::clamp<std::int64_t>(wait, 0, 60'000)));
  now_ = Clock::now();
  bool posted = false;
  for (int i = 0; i < count; ++i) {
    auto* watcher = static_cast<Watcher*>(events_[i].data.ptr);
    if (watcher == nullptr)
      posted = true;
    else
      watcher->on_events(events_[i].events);
  }
  if (posted) do_posted();
  tell_signals();
}

void Loop::tell_signals() {
  telling_.swap(raised_);
  for (auto*& signal : telling_) {
    if (signal == nullptr) continue;
    const auto events = std::exchange(signal->events_, 0);
    auto* watcher = signal->watcher_;
    signal = nullptr;  // from here on it may go, or be raised again
    if (watcher != nullptr) watcher->on_events(events);
  }
  telling_.clear();
}

Signal::~Signal() {
  if (events_ == 0) return;
  for (auto* list : {&loop_.raised_, &loop_.telling_}) std::ranges::replace(*list, this, nullptr);
}

void Signal::raise(std::uint32_t events) {
  if (watcher_ == nullptr || events == 0) return;
  if (events_ == 0) loop_.raised_.push_back(this);
  events_ |= events;
}

}  // namespace underpass::net
