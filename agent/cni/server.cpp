// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/server.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <exception>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "agent/ipc/unix_listener.h"
#include "underpass/packet_socket.h"

namespace underpass::cni {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Descriptor = asio::posix::stream_descriptor;

constexpr std::chrono::milliseconds kPauseWithoutDescriptors(100);

bool is_netns(int fd) {
  struct statfs info{};
  return ::fstatfs(fd, &info) == 0 && info.f_type == NSFS_MAGIC && ::ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET;
}

Result<Question> decode_question(Packet packet) {
  auto request = decode_request(packet.text);
  if (!request) return std::unexpected(request.error());
  if (packet.fds.size() > 1) return fail("question: more than one descriptor");
  Question question{.request = std::move(*request), .netns = {}};
  if (!packet.fds.empty()) question.netns = std::move(packet.fds.front());
  if (question.netns ? !is_netns(question.netns.get()) : question.request.command != Command::kDel)
    return fail("question: its descriptor is no network namespace");
  return question;
}

// Root's, or the agent's own user's, as the kernel saw the other end at its connect().
bool may_ask(int fd) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == 0 || peer.uid == ::geteuid();
}

// So short a packet always fits a fresh socket's buffer; whoever does not read it has gone.
void send_short(int fd, std::string_view text) { static_cast<void>(send_packet(fd, text)); }

// One connection: one question, one answer. The server's set owns it; handlers find it gone.
class Asker : public std::enable_shared_from_this<Asker> {
 public:
  using Gone = std::function<void(const std::shared_ptr<Asker>&)>;

  Asker(asio::io_context& io, UniqueFd fd, ServerLimits limits, std::shared_ptr<Server::Handler> handler, Gone gone)
      : socket_(io), deadline_(io), limits_(limits), handler_(std::move(handler)), gone_(std::move(gone)) {
    socket_.assign(fd.get());
    static_cast<void>(fd.release());
  }

  void start() {
    arm(limits_.question, "no question came");
    wait_for_question();
  }

  void answer(const std::string& text) {
    if (!socket_.is_open()) return;
    send_short(socket_.native_handle(), text);
    close();
  }
  void refuse(std::string_view cause) { answer(encode_refusal(cause)); }
  void close() {
    error_code ignored;
    socket_.close(ignored);
    deadline_.cancel();
    if (const auto gone = std::exchange(gone_, nullptr)) gone(shared_from_this());
  }

 private:
  // The right to answer once.
  class PendingAnswer {
   public:
    explicit PendingAnswer(std::weak_ptr<Asker> asker) : asker_(std::move(asker)) {}
    PendingAnswer(const PendingAnswer&) = delete;
    PendingAnswer& operator=(const PendingAnswer&) = delete;
    ~PendingAnswer() {
      if (const auto asker = asker_.lock()) asker->refuse("the agent dropped the question");
    }

    void deliver(const Answer& answer) {
      if (const auto asker = std::exchange(asker_, {}).lock()) asker->answer(encode_answer(answer));
    }

   private:
    std::weak_ptr<Asker> asker_;
  };

  void arm(std::chrono::milliseconds time, const char* cause) {
    deadline_.expires_after(time);
    deadline_.async_wait([weak = weak_from_this(), cause](error_code error) {
      const auto self = weak.lock();
      // A wait that ended just before it was armed again is told by the new expiry.
      if (!error && self && self->deadline_.expiry() <= asio::steady_timer::clock_type::now()) self->refuse(cause);
    });
  }

  void wait_for_question() {
    socket_.async_wait(Descriptor::wait_read, [weak = weak_from_this()](error_code error) {
      const auto self = weak.lock();
      if (!error && self) self->take_question();
    });
  }

  void take_question() {
    auto packet = receive_packet(socket_.native_handle());
    if (!packet) return refuse(packet.error().message);
    if (!*packet) return wait_for_question();
    if ((*packet)->is_end()) return close();
    auto question = decode_question(std::move(**packet));
    if (!question) return refuse(question.error().message);
    send_short(socket_.native_handle(), kTaken);
    arm(limits_.answer, "the agent has no answer");
    wait_for_end();
    auto pending = std::make_shared<PendingAnswer>(weak_from_this());
    (*handler_)(std::move(*question), [pending](const Answer& given) { pending->deliver(given); });
  }

  // Whoever has asked has nothing more to say: what comes now is the end, or as good as one.
  void wait_for_end() {
    socket_.async_wait(Descriptor::wait_read, [weak = weak_from_this()](error_code error) {
      const auto self = weak.lock();
      if (!error && self) self->close();
    });
  }

  Descriptor socket_;
  asio::steady_timer deadline_;
  ServerLimits limits_;
  std::shared_ptr<Server::Handler> handler_;
  Gone gone_;
};

class Listening : public Server {
 public:
  Listening(asio::io_context& io, ipc::UnixListener listener, Handler handler, ServerLimits limits)
      : io_(io),
        path_(std::move(listener)),
        acceptor_(io),
        pause_(io),
        limits_(limits),
        handler_(std::make_shared<Handler>(std::move(handler))) {
    acceptor_.assign(path_.release_fd());
    wait();
  }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;
  ~Listening() override {
    *alive_ = false;
    path_.remove_path();
    for (const auto& asker : std::exchange(askers_, {})) {
      if (handed_over_)
        asker->close();
      else
        asker->refuse("the agent ends");
    }
  }

  UniqueFd hand_over() override {
    handed_over_ = true;
    // Not closed: epoll would go on telling of a socket that another process has open too.
    UniqueFd fd(acceptor_.release());
    return path_.give_path_away() ? std::move(fd) : UniqueFd();
  }

 private:
  void wait() {
    acceptor_.async_wait(Descriptor::wait_read, [this, alive = alive_](error_code error) {
      if (error || !*alive) return;
      if (accept_all()) return wait();
      pause_.expires_after(kPauseWithoutDescriptors);
      pause_.async_wait([this, alive](error_code ended) {
        if (!ended && *alive) wait();
      });
    });
  }

  // False where there is no descriptor for the next one; it stays in the backlog.
  bool accept_all() {
    for (;;) {
      UniqueFd fd(::accept4(acceptor_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (fd)
        take(std::move(fd));
      else if (errno == EAGAIN)
        return true;
      else if (errno != EINTR && errno != ECONNABORTED)
        return false;
    }
  }

  void take(UniqueFd fd) {
    if (!may_ask(fd.get())) return send_short(fd.get(), encode_refusal("only root may ask"));
    if (askers_.size() >= limits_.askers)
      return send_short(fd.get(), encode_refusal("it has " + std::to_string(limits_.askers) + " questions already"));
    try {
      auto asker = std::make_shared<Asker>(io_, std::move(fd), limits_, handler_,
                                           [this, alive = alive_](const std::shared_ptr<Asker>& gone) {
                                             if (*alive) askers_.erase(gone);
                                           });
      askers_.insert(asker);
      asker->start();
    } catch (const std::exception&) {  // Asio could not take the descriptor in: the asker sees the end
    }
  }

  asio::io_context& io_;
  ipc::UnixListener path_;
  Descriptor acceptor_;
  asio::steady_timer pause_;
  ServerLimits limits_;
  std::shared_ptr<Handler> handler_;
  std::set<std::shared_ptr<Asker>> askers_;
  bool handed_over_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

Result<std::unique_ptr<Server>> Server::listen(asio::io_context& io, std::string path, Handler handler,
                                               ServerLimits limits, UniqueFd handed) {
  auto listener = ipc::UnixListener::bind(path, ipc::SocketType::kPackets, std::move(handed));
  if (!listener) return fail_in("CNI socket", listener.error());
  try {
    return std::make_unique<Listening>(io, std::move(*listener), std::move(handler), limits);
  } catch (const std::exception& problem) {
    return fail("CNI socket " + path + ": " + problem.what());
  }
}

}  // namespace underpass::cni
