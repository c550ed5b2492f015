// SPDX-License-Identifier: Apache-2.0
#include "agent/workers/worker.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <deque>
#include <utility>

#include "underpass/packet_socket.h"
#include "underpass/worker_codec.h"

namespace underpass::workers {
namespace {

using boost::asio::posix::stream_descriptor;

// What a worker that does not read may leave in our memory.
constexpr std::size_t kMaxQueued = 1024;
// So many packets are taken before others have their turn, and so many in a second: no busy worker says that much.
constexpr int kPacketsAtOnce = 16;
constexpr std::size_t kPacketsASecond = 10'000;

struct Outgoing {
  std::string text;
  std::vector<UniqueFd> fds;
};

Result<bool> send_one(int socket, const Outgoing& packet) {
  std::vector<int> fds;
  fds.reserve(packet.fds.size());
  for (const auto& fd : packet.fds) fds.push_back(fd.get());
  return send_packet(socket, packet.text, fds);
}

bool is_readable(int fd) {
  pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&one, 1, 0) == 1;
}

}  // namespace

std::string describe_end(pid_t pid) {
  int status = 0;
  if (::waitpid(pid, &status, WNOHANG) != pid) return "it has ended";
  if (WIFSIGNALED(status)) return "killed by signal " + std::to_string(WTERMSIG(status));
  return "exit code " + std::to_string(WEXITSTATUS(status));
}

class Worker::Impl : public std::enable_shared_from_this<Worker::Impl> {
 public:
  Impl(boost::asio::io_context& io, Launched launched, bool adopted, Events events)
      : io_(io),
        events_(std::move(events)),
        pid_(launched.pid),
        adopted_(adopted),
        since_(std::chrono::system_clock::now()),
        pidfd_(io, launched.pidfd.release()),
        control_(io, launched.control.release()) {}

  void start() {
    await_end();
    await_packets();
  }

  // Nothing is told any more.
  void close() {
    closed_ = true;
    boost::system::error_code ignored;
    pidfd_.close(ignored);
    control_.close(ignored);
  }

  void send(const worker::Message& message, std::vector<UniqueFd> fds) {
    if (!control_.is_open()) return;
    if (outgoing_.size() >= kMaxQueued) return give_up("it does not read what it is told");
    outgoing_.push_back({.text = worker::encode(message), .fds = std::move(fds)});
    if (outgoing_.size() == 1) flush();
  }

  void kill() const {
    if (pidfd_.is_open())
      ::syscall(SYS_pidfd_send_signal, const_cast<stream_descriptor&>(pidfd_).native_handle(), SIGKILL, nullptr, 0);
  }

  [[nodiscard]] std::size_t queued() const { return outgoing_.size(); }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool adopted() const { return adopted_; }
  [[nodiscard]] const worker::Hello& hello() const { return hello_; }
  [[nodiscard]] const worker::Report& report() const { return report_; }
  [[nodiscard]] std::chrono::system_clock::time_point since() const { return since_; }
  [[nodiscard]] std::chrono::steady_clock::time_point last_heard() const { return last_heard_; }

 private:
  // A wait may be over for nothing: Asio uses what it keeps of a descriptor that was closed again for the next one that
  // is opened, with an event of the former's that was on its way. The next one is this, where a worker follows another.
  void await_end() {
    pidfd_.async_wait(stream_descriptor::wait_read,
                      [self = shared_from_this()](const boost::system::error_code& error) {
                        if (error || self->closed_) return;
                        if (!is_readable(self->pidfd_.native_handle())) return self->await_end();
                        self->take_last_packets();
                        self->events_.lost(describe_end(self->pid_), true);
                      });
  }

  void await_packets() {
    control_.async_wait(stream_descriptor::wait_read,
                        [self = shared_from_this()](const boost::system::error_code& error) {
                          if (error || self->closed_) return;
                          self->take_packets();
                        });
  }

  void take_packets() {
    for (int taken = 0; !closed_ && control_.is_open(); ++taken) {
      if (taken == kPacketsAtOnce) return boost::asio::post(io_, [self = shared_from_this()] { self->take_packets(); });
      auto packet = receive_packet(control_.native_handle());
      if (!packet) return give_up(packet.error().message);
      if (!*packet) return await_packets();
      last_heard_ = std::chrono::steady_clock::now();
      if ((*packet)->is_end()) return hang_up();
      if (says_too_much()) return give_up("it says more than " + std::to_string(kPacketsASecond) + " things a second");
      auto message = worker::decode((*packet)->text);
      if (!message) return give_up("what it says is not understood: " + message.error().message);
      std::visit([&](const auto& known) { take(known, std::move((*packet)->fds)); }, *message);
    }
  }

  // What it said of its requests before it ended counts.
  void take_last_packets() {
    for (std::size_t taken = 0; control_.is_open() && taken < kMaxQueued; ++taken) {
      const auto packet = receive_packet(control_.native_handle());
      if (!packet || !*packet || (*packet)->is_end()) return;
      auto message = worker::decode((*packet)->text);
      if (!message) return;
      if (const auto* metrics = std::get_if<worker::Metrics>(&*message)) events_.metrics(*metrics);
      if (auto* requests = std::get_if<worker::Requests>(&*message)) events_.requests(std::move(*requests));
    }
  }

  bool says_too_much() {
    const auto now = std::chrono::steady_clock::now();
    if (now - second_ >= std::chrono::seconds(1)) {
      second_ = now;
      packets_ = 0;
    }
    return ++packets_ > kPacketsASecond;
  }

  // Its end is closed: mostly it has ended, which the other descriptor tells; or another agent has it now.
  void hang_up() {
    boost::system::error_code ignored;
    control_.close(ignored);
    outgoing_.clear();
  }

  void give_up(const std::string& why) {
    hang_up();
    boost::asio::post(io_, [self = shared_from_this(), why] {
      if (!self->closed_) self->events_.lost(why, false);
    });
  }

  void take(const worker::Hello& message, std::vector<UniqueFd>) {
    hello_ = message;
    events_.hello(message);
  }
  void take(const worker::Listeners& message, std::vector<UniqueFd> fds) { events_.listeners(message, std::move(fds)); }
  void take(const worker::Ready&, std::vector<UniqueFd>) { events_.ready(); }
  void take(const worker::Configured& message, std::vector<UniqueFd>) { events_.configured(message); }
  void take(const worker::Want& message, std::vector<UniqueFd>) { events_.want(message); }
  void take(const worker::Report& message, std::vector<UniqueFd>) { report_ = message; }
  void take(const worker::Metrics& message, std::vector<UniqueFd>) { events_.metrics(message); }
  void take(const worker::Requests& message, std::vector<UniqueFd>) { events_.requests(message); }
  template <typename T>
  void take(const T&, std::vector<UniqueFd>) {
    give_up("it says what only an agent says");
  }

  void flush() {
    while (!outgoing_.empty()) {
      const auto sent = send_one(control_.native_handle(), outgoing_.front());
      if (!sent) return give_up(sent.error().message);
      if (!*sent) {
        control_.async_wait(stream_descriptor::wait_write,
                            [self = shared_from_this()](const boost::system::error_code& error) {
                              if (!error && !self->closed_) self->flush();
                            });
        return;
      }
      outgoing_.pop_front();
    }
  }

  boost::asio::io_context& io_;
  Events events_;
  pid_t pid_;
  bool adopted_;
  bool closed_ = false;
  std::chrono::system_clock::time_point since_;
  std::chrono::steady_clock::time_point last_heard_ = std::chrono::steady_clock::now();
  stream_descriptor pidfd_, control_;
  std::deque<Outgoing> outgoing_;
  std::chrono::steady_clock::time_point second_;  // when packets_ were counted from
  std::size_t packets_ = 0;
  worker::Hello hello_;
  worker::Report report_;
};

Worker::Worker(boost::asio::io_context& io, std::uint64_t id, Launched launched, bool adopted, Events events)
    : id_(id), impl_(std::make_shared<Impl>(io, std::move(launched), adopted, std::move(events))) {
  impl_->start();
}
Worker::~Worker() { impl_->close(); }
void Worker::send(const worker::Message& message, std::vector<UniqueFd> fds) { impl_->send(message, std::move(fds)); }
void Worker::kill() const { impl_->kill(); }
std::size_t Worker::queued() const { return impl_->queued(); }
pid_t Worker::pid() const { return impl_->pid(); }
bool Worker::adopted() const { return impl_->adopted(); }
const worker::Hello& Worker::hello() const { return impl_->hello(); }
const worker::Report& Worker::report() const { return impl_->report(); }
std::chrono::system_clock::time_point Worker::since() const { return impl_->since(); }
std::chrono::steady_clock::time_point Worker::last_heard() const { return impl_->last_heard(); }

}  // namespace underpass::workers
