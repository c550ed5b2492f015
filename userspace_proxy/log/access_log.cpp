// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/log/access_log.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "userspace_proxy/net/non_blocking.h"

namespace underpass::log {

AccessLog::AccessLog(int fd, std::size_t most) : fd_(fd), most_(most) { net::make_non_blocking(fd); }

bool AccessLog::append(std::string& lines) {
  const std::lock_guard lock(mutex_);
  if (waiting_.size() - begin_ + lines.size() > most_) write_waiting();
  if (waiting_.size() - begin_ + lines.size() > most_)
    lost_.fetch_add(static_cast<std::uint64_t>(std::ranges::count(lines, '\n')), std::memory_order_relaxed);
  else
    waiting_ += lines;
  lines.clear();
  write_waiting();
  return begin_ < waiting_.size();
}

void AccessLog::write_waiting() {
  while (begin_ < waiting_.size()) {
    const ssize_t written = ::write(fd_, waiting_.data() + begin_, waiting_.size() - begin_);
    if (written > 0) {
      begin_ += static_cast<std::size_t>(written);
      continue;
    }
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    // Nobody reads any more (EPIPE), or the disk is full: what waits is lost, traffic goes on.
    const auto rest = std::string_view(waiting_).substr(begin_);
    lost_.fetch_add(static_cast<std::uint64_t>(std::ranges::count(rest, '\n')), std::memory_order_relaxed);
    begin_ = waiting_.size();
  }
  // The memory of what was written goes only when it is much: append() copies no more than it must.
  if (begin_ == waiting_.size()) {
    waiting_.clear();
    begin_ = 0;
  } else if (begin_ > most_ / 2) {
    waiting_.erase(0, begin_);
    begin_ = 0;
  }
}

}  // namespace underpass::log
