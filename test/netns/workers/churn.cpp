// SPDX-License-Identifier: Apache-2.0
#include "test/netns/workers/churn.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "test/support/files.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

constexpr unsigned kThreads = 8;
constexpr int kPatienceMs = 10'000;

}  // namespace

EchoServer::EchoServer(UniqueFd listener)
    : listener_(std::move(listener)), address_(local_address(listener_.get())), thread_([this] { run(stop_); }) {}

EchoServer::~EchoServer() {
  stop_ = true;
  thread_.join();
}

void EchoServer::run(const std::atomic<bool>& stop) {
  std::vector<UniqueFd> open;
  while (!stop) {
    std::vector<pollfd> waiting{{listener_.get(), POLLIN, 0}};
    for (const auto& fd : open) waiting.push_back({fd.get(), POLLIN, 0});
    ::poll(waiting.data(), waiting.size(), 50);
    for (std::size_t i = 0; i < open.size(); ++i) {
      if (waiting[i + 1].revents == 0) continue;
      char bytes[4096];
      const ssize_t got = ::recv(open[i].get(), bytes, sizeof(bytes), MSG_DONTWAIT);
      if (got > 0)
        (void)!::send(open[i].get(), bytes, static_cast<std::size_t>(got), MSG_NOSIGNAL);
      else if (got == 0 || errno != EAGAIN)
        open[i].reset();
    }
    std::erase_if(open, [](const UniqueFd& fd) { return !fd; });
    if (waiting[0].revents != 0) open.emplace_back(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
}

std::string Churn::Tally::to_string() const {
  std::string text = "served=" + std::to_string(served) + " broken=" + std::to_string(broken) +
                     " hung=" + std::to_string(hung) + " refused=";
  for (const auto& [error, count] : refused) text += error + ":" + std::to_string(count) + " ";
  return refused.empty() ? text + "0" : text;
}

Churn::Churn(const Place& from, const Address& to, unsigned per_second) : from_(from), to_(to) {
  const std::chrono::microseconds every(1'000'000ull * kThreads / per_second);
  for (unsigned i = 0; i < kThreads; ++i) threads_.emplace_back([this, every] { run(every); });
}

Churn::~Churn() { stop(); }

Churn::Tally Churn::tally() {
  const std::lock_guard lock(mutex_);
  return tally_;
}

Churn::Tally Churn::stop() {
  stop_ = true;
  for (auto& thread : threads_) thread.join();
  threads_.clear();
  return tally();
}

void Churn::run(std::chrono::microseconds every) {
  const UniqueFd netns = open_file(from_.netns, O_RDONLY);
  if (::setns(netns.get(), CLONE_NEWNET) != 0) throw_errno("setns");
  for (auto next = Clock::now(); !stop_; next = std::max(next + every, Clock::now() - 10 * every)) {
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(next - Clock::now()).count();
    if (left > 0) {
      const timespec rate{.tv_sec = left / 1'000'000'000, .tv_nsec = left % 1'000'000'000};
      ::ppoll(nullptr, 0, &rate, nullptr);
    }
    connect_once();
  }
}

void Churn::connect_once() {
  const UniqueFd fd(::socket(to_.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  int error = ::connect(fd.get(), to_.get(), to_.size) == 0 ? 0 : errno;
  bool hung = false;
  if (error == EINPROGRESS) {
    pollfd waiting{fd.get(), POLLOUT, 0};
    hung = ::poll(&waiting, 1, kPatienceMs) != 1;
    error = hung ? 0 : get_option(fd.get(), SOL_SOCKET, SO_ERROR);
  }
  char answer[4];
  bool served = false;
  if (!hung && error == 0) {
    (void)!::send(fd.get(), "ping", 4, MSG_NOSIGNAL);
    hung = !readable(fd.get(), milliseconds(kPatienceMs));
    served = !hung && ::recv(fd.get(), answer, 4, 0) == 4;
  }
  const std::lock_guard lock(mutex_);
  if (hung)
    ++tally_.hung;
  else if (error == ECONNRESET)  // it was there, in the hands of one that was killed before we looked
    ++tally_.broken;
  else if (error != 0)
    ++tally_.refused[std::strerror(error)];
  else if (served)
    ++tally_.served;
  else
    ++tally_.broken;
}

}  // namespace underpass::test
