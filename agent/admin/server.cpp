// SPDX-License-Identifier: Apache-2.0
#include "agent/admin/server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "agent/ipc/unix_listener.h"
#include "underpass/packet_socket.h"

namespace underpass::admin {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using Protocol = asio::local::stream_protocol;
using boost::system::error_code;

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::milliseconds kPauseWithoutDescriptors(100);

// One client. Its coroutine owns it; timers and replies that outlive the coroutine find it gone.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  explicit Connection(Protocol::socket socket)
      : socket_(std::move(socket)), deadline_(socket_.get_executor()), answered_(socket_.get_executor()) {}

  Protocol::socket& socket() { return socket_; }

  // Uid 0 or the agent's own, as the kernel saw the client at its connect().
  [[nodiscard]] bool may_command() {
    ucred peer{};
    socklen_t size = sizeof(peer);
    if (::getsockopt(socket_.native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
    return peer.uid == 0 || peer.uid == ::geteuid();
  }

  // How much of the text went with them; nothing where they cannot go.
  std::optional<std::size_t> send_descriptors(std::string_view text, const std::vector<UniqueFd>& descriptors) {
    if (descriptors.empty()) return 0;
    std::vector<int> fds;
    for (const auto& one : descriptors) fds.push_back(one.get());
    const ssize_t sent = packet_socket::send_with_fds(socket_.native_handle(), text, fds);
    if (sent < 0) return std::nullopt;
    return static_cast<std::size_t>(sent);
  }

  // Closes the connection unless called again, or disarm(), within `time`.
  void arm(std::chrono::milliseconds time) {
    deadline_.expires_after(time);
    deadline_.async_wait([weak = weak_from_this()](error_code error) {
      const auto self = weak.lock();
      // A wait that ended just before it was re-armed is told by the new expiry.
      if (!error && self && self->deadline_.expiry() <= asio::steady_timer::clock_type::now()) self->close();
    });
  }
  void disarm() { deadline_.cancel(); }

  void close() {
    closed_ = true;
    error_code ignored;
    socket_.close(ignored);
    deadline_.cancel();
    answered_.cancel();
  }

  struct Given {
    Answer answer;
    std::vector<UniqueFd> descriptors;
  };

  // Runs `handler` and waits for its answer; nothing where the client hung up first.
  static asio::awaitable<std::optional<Given>> ask(std::shared_ptr<Connection> self, std::shared_ptr<Handler> handler,
                                                   json::object request) {
    self->answer_.reset();
    self->answered_.expires_at(asio::steady_timer::time_point::max());
    // Ends on a hang-up only: a client that has merely shut down its writing side still reads.
    self->socket_.async_wait(Protocol::socket::wait_error, [weak = self->weak_from_this()](error_code error) {
      const auto connection = weak.lock();
      if (!error && connection) connection->close();
    });
    (*handler)(request, make_reply(*self));
    while (!self->answer_ && !self->closed_) co_await self->answered_.async_wait(kNoThrow);
    if (self->closed_) co_return std::nullopt;
    self->socket_.cancel();
    co_return std::exchange(self->answer_, std::nullopt);
  }

 private:
  // The right to answer once. Dropped unused, it answers for the handler that forgot.
  class PendingAnswer {
   public:
    explicit PendingAnswer(std::weak_ptr<Connection> connection) : connection_(std::move(connection)) {}
    PendingAnswer(const PendingAnswer&) = delete;
    PendingAnswer& operator=(const PendingAnswer&) = delete;
    ~PendingAnswer() { deliver(refuse(ErrorCode::kFailed, "the agent dropped the command without an answer"), {}); }

    void deliver(Answer answer, std::vector<UniqueFd> descriptors) {
      const auto connection = std::exchange(connection_, {}).lock();
      if (!connection || connection->closed_) return;
      connection->answer_ = Given{.answer = std::move(answer), .descriptors = std::move(descriptors)};
      connection->answered_.cancel();
    }

   private:
    std::weak_ptr<Connection> connection_;
  };

  static Reply make_reply(Connection& connection) {
    auto pending = std::make_shared<PendingAnswer>(connection.weak_from_this());
    return Reply([pending](Answer answer, std::vector<UniqueFd> descriptors) {
      pending->deliver(std::move(answer), std::move(descriptors));
    });
  }

  Protocol::socket socket_;
  asio::steady_timer deadline_;
  asio::steady_timer answered_;  // never expires; cancelled when answer_ is there
  std::optional<Given> answer_;
  bool closed_ = false;
};

// A client that is not served is told why; a line this short always fits a fresh socket's buffer.
void turn_away(Connection& connection, std::string message) {
  const std::string line = encode_answer(refuse(ErrorCode::kFailed, std::move(message)));
  (void)!::send(connection.socket().native_handle(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  connection.close();
}

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

}  // namespace

struct Server::State {
  State(asio::io_context& io, ipc::UnixListener made, Handler serve, ServerLimits bounds)
      : listener(std::move(made)),
        acceptor(io, Protocol(), listener.release_fd()),
        handler(std::make_shared<Handler>(std::move(serve))),
        limits(bounds) {}

  static asio::awaitable<void> accept(std::shared_ptr<State> state);
  static asio::awaitable<void> serve(std::shared_ptr<State> state, std::shared_ptr<Connection> connection);
  // Answers requests until the client leaves, or has done something after which there is no going on.
  static asio::awaitable<void> converse(std::shared_ptr<State> state, std::shared_ptr<Connection> connection);

  ipc::UnixListener listener;
  Protocol::acceptor acceptor;
  std::shared_ptr<Handler> handler;
  ServerLimits limits;
  std::set<std::shared_ptr<Connection>> connections;
  bool stopped = false;
};

asio::awaitable<void> Server::State::accept(std::shared_ptr<State> state) {
  asio::steady_timer pause(state->acceptor.get_executor());
  while (!state->stopped) {
    auto [error, socket] = co_await state->acceptor.async_accept(kNoThrow);
    if (state->stopped) co_return;
    if (error) {  // out of descriptors: clients wait in the backlog meanwhile
      pause.expires_after(kPauseWithoutDescriptors);
      co_await pause.async_wait(kNoThrow);
      continue;
    }
    auto connection = std::make_shared<Connection>(std::move(socket));
    if (!connection->may_command()) {
      turn_away(*connection, "permission denied: only root and the agent's own user may use this socket");
    } else if (state->connections.size() >= state->limits.connections) {
      turn_away(*connection, "too many clients (" + std::to_string(state->limits.connections) + "): try again");
    } else {
      state->connections.insert(connection);
      asio::co_spawn(state->acceptor.get_executor(), serve(state, connection), asio::detached);
    }
  }
}

asio::awaitable<void> Server::State::serve(std::shared_ptr<State> state, std::shared_ptr<Connection> connection) {
  co_await converse(state, connection);
  connection->close();
  state->connections.erase(connection);
}

asio::awaitable<void> Server::State::converse(std::shared_ptr<State> state, std::shared_ptr<Connection> connection) {
  std::string received;
  for (bool last = false; !last;) {
    connection->arm(state->limits.idle);
    auto [error, length] = co_await asio::async_read_until(
        connection->socket(), asio::dynamic_buffer(received, state->limits.request_bytes), '\n', kNoThrow);
    std::optional<Connection::Given> answer;
    if (error == asio::error::not_found) {
      answer = Connection::Given{
          refuse(ErrorCode::kUsage, "request is longer than " + std::to_string(state->limits.request_bytes) + " bytes"),
          {}};
      last = true;
    } else {
      if (error && error != asio::error::eof) co_return;
      // A client that shuts its writing side down may leave out the last line feed.
      last = error == asio::error::eof;
      const std::string line = last ? received : received.substr(0, length - 1);
      received.erase(0, last ? received.size() : length);
      if (is_blank(line)) continue;

      auto request = decode_request(line);
      if (request) {
        connection->disarm();
        answer = co_await Connection::ask(connection, state->handler, std::move(*request));
        if (!answer) co_return;
      } else {
        answer = Connection::Given{std::unexpected(std::move(request.error())), {}};
      }
    }
    connection->arm(state->limits.write);
    const std::string text = encode_answer(answer->answer);
    const auto sent = connection->send_descriptors(text, answer->descriptors);
    if (!sent) co_return;
    auto [write_error, written] =
        co_await asio::async_write(connection->socket(), asio::buffer(text) + *sent, kNoThrow);
    if (write_error) co_return;
  }
}

Result<std::unique_ptr<Server>> Server::listen(asio::io_context& io, const std::string& path, Handler handler,
                                               ServerLimits limits, UniqueFd handed) {
  Result<ipc::UnixListener> listener = ipc::UnixListener::bind(path, ipc::SocketType::kStream, std::move(handed));
  if (!listener) return fail_in("admin socket", listener.error());
  try {
    auto state = std::make_shared<State>(io, std::move(*listener), std::move(handler), limits);
    asio::co_spawn(io, State::accept(state), asio::detached);
    return std::unique_ptr<Server>(new Server(std::move(state)));
  } catch (const std::exception& problem) {  // Asio could not take the descriptor in
    return fail("admin socket " + path + ": " + problem.what());
  }
}

Server::~Server() {
  state_->stopped = true;
  error_code ignored;
  state_->acceptor.close(ignored);
  for (const auto& connection : state_->connections) connection->close();
  state_->listener.remove_path();
}

UniqueFd Server::hand_over() {
  state_->stopped = true;
  error_code ignored;
  // Not closed: epoll would go on telling of a socket that another process has open too.
  UniqueFd fd(state_->acceptor.release(ignored));
  return state_->listener.give_path_away() ? std::move(fd) : UniqueFd();
}

Handler dispatch(std::map<std::string, Handler, std::less<>> commands) {
  return [commands = std::move(commands)](const json::object& request, Reply reply) {
    const std::string_view name = request.at("command").as_string();
    if (const auto found = commands.find(name); found != commands.end()) {
      found->second(request, std::move(reply));
      return;
    }
    std::string known;
    for (const auto& [command, handler] : commands) known += (known.empty() ? "" : ", ") + command;
    reply(refuse(ErrorCode::kUsage, "no such command: " + std::string(name) + " (there are: " + known + ")"));
  };
}

}  // namespace underpass::admin
