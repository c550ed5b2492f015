// SPDX-License-Identifier: Apache-2.0
#include "test/unit/http2_loop.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "test/support/temp_folder.h"

namespace underpass::test {
namespace {

using http::StreamId;

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void set_up(int fd) {
  const int one = 1;
  require(::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0, "TCP_NODELAY");
  require(::fcntl(fd, F_SETFL, O_NONBLOCK) == 0, "O_NONBLOCK");
}

std::size_t size_in(std::string_view path) {
  const auto digits = path.substr(path.rfind('/') + 1);
  std::size_t size = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), size);
  return size;
}

std::string from_base64url(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string bytes;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const auto digit = kDigits.find(c);
    if (digit == std::string_view::npos) break;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    if ((count += 6) < 8) continue;
    bytes += static_cast<char>(bits >> (count -= 8));
  }
  return bytes;
}

class Session final : public http::ServerEvents {
 public:
  explicit Session(UniqueFd socket) : fd(std::move(socket)) {}

  // False: it is over.
  bool carry_on() {
    if (!codec && !begin()) return false;
    return codec == nullptr || carry(fd.get(), *codec);
  }

  void on_request(StreamId id, http::Request& request) override {
    auto& exchange = exchanges_[id];
    auto& response = exchange.response;
    response.status = 200;
    response.has_body = true;
    response.fields.add("x-method", request.method);
    if (!request.is_tunnel() && !request.has_body) response.content_length = exchange.left = size_in(request.path);
    exchange.sends_trailers = request.has_body && !request.is_tunnel();
    if (request.path.starts_with("/slow/")) send_interim(id, 103);
    if (request.expects_continue) return send_interim(id, 100);  // nghttp sends no body once an answer is there
    answer(id, exchange);
    if (request.has_body) return;
    exchange.is_whole = true;
    go_on(id, exchange);
  }
  void on_data(StreamId id, std::string_view bytes) override {
    auto& exchange = exchanges_[id];
    exchange.taken += bytes.size();
    answer(id, exchange);
    codec->send_data(id, bytes);
    if (codec->buffered(id) > http::Limits{}.max_buffered) {
      exchange.owed += bytes.size();
    } else {
      codec->consume(id, bytes.size());
    }
  }
  void on_end(StreamId id, const http::Fields* /*trailers*/) override {
    auto& exchange = exchanges_[id];
    exchange.is_whole = true;
    answer(id, exchange);
    go_on(id, exchange);
  }
  void on_writable(StreamId id) override {
    const auto found = exchanges_.find(id);
    if (found == exchanges_.end()) return;
    codec->consume(id, std::exchange(found->second.owed, 0));
    if (found->second.is_whole) go_on(id, found->second);
  }
  void on_reset(StreamId id, http::Fault /*why*/) override { exchanges_.erase(id); }
  void on_failed(http::Fault /*why*/, std::string_view /*detail*/) override { exchanges_.clear(); }
  void on_refused(StreamId /*id*/, const http::Request& /*request*/, http::Fault /*why*/,
                  std::string_view /*detail*/) override {}

  UniqueFd fd;
  std::unique_ptr<http::ServerCodec> codec;

 private:
  struct Exchange {
    http::Response response;
    std::size_t left = 0;
    std::size_t taken = 0;
    std::size_t owed = 0;
    bool is_whole = false;
    bool sends_trailers = false;
    bool is_answered = false;
  };

  void send_interim(StreamId id, unsigned status) {
    http::Response response;
    response.status = status;
    codec->send_interim(id, response);
  }
  void answer(StreamId id, Exchange& exchange) {
    if (!std::exchange(exchange.is_answered, true)) codec->send_response(id, exchange.response);
  }

  // By prior knowledge, or after a request of HTTP/1.1 that asks for it, which comes in one piece from curl and nghttp.
  bool begin() {
    std::string text(4096, '\0');
    const auto got = ::recv(fd.get(), text.data(), text.size(), MSG_PEEK);
    if (got < 0) return errno == EAGAIN;
    text.resize(static_cast<std::size_t>(got));
    if (!text.starts_with("GET ")) {
      codec = http2::make_server_codec({}, *this);
      return true;
    }
    const auto end = text.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    (void)::recv(fd.get(), text.data(), end + 4, 0);
    http::Request request;
    request.method = "GET";
    request.path = text.substr(4, text.find(' ', 4) - 4);
    const std::string name = "HTTP2-Settings: ";
    const auto at = text.find(name) + name.size();
    auto made = http2::make_upgraded_server_codec({}, *this, request,
                                                  from_base64url(text.substr(at, text.find('\r', at) - at)));
    if (!made) return false;
    codec = std::move(*made);
    const std::string_view yes("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    (void)::send(fd.get(), yes.data(), yes.size(), MSG_NOSIGNAL);
    on_request(1, request);
    return true;
  }

  void go_on(StreamId id, Exchange& exchange) {
    static const std::string kPiece(32UL * 1024, 'x');
    while (exchange.left > 0 && codec->buffered(id) <= http::Limits{}.max_buffered) {
      const auto size = std::min(exchange.left, kPiece.size());
      codec->send_data(id, std::string_view(kPiece).substr(0, size));
      exchange.left -= size;
    }
    if (exchange.left > 0) return;
    http::Fields trailers;
    trailers.add("x-length", std::to_string(exchange.taken));
    codec->send_end(id, exchange.sends_trailers ? &trailers : nullptr);
    exchanges_.erase(id);
  }

  std::map<StreamId, Exchange> exchanges_;
};

}  // namespace

bool carry(int fd, http::Codec& codec) {
  std::array<char, 64UL * 1024> buffer;
  const auto got = ::recv(fd, buffer.data(), buffer.size(), 0);
  if (got == 0 || (got < 0 && errno != EAGAIN)) codec.receive_end();
  if (got > 0) codec.receive({buffer.data(), static_cast<std::size_t>(got)});
  for (auto out = codec.output(); !out.empty(); out = codec.output()) {
    const auto put = ::send(fd, out.data(), out.size(), MSG_NOSIGNAL);
    if (put < 0) return errno == EAGAIN;
    codec.sent(static_cast<std::size_t>(put));
  }
  return !codec.is_over();
}

Http2Server::Http2Server() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  auto address = loopback(0);
  socklen_t size = sizeof(address);
  require(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0, "bind");
  require(::listen(listener_.get(), 512) == 0, "listen");
  require(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0, "getsockname");
  port_ = ntohs(address.sin_port);
  std::array<int, 2> ends{};
  require(::pipe2(ends.data(), O_CLOEXEC) == 0, "pipe");
  stop_read_ = UniqueFd(ends[0]);
  stop_write_ = UniqueFd(ends[1]);
  thread_ = std::thread([this] { serve(); });
}

Http2Server::~Http2Server() {
  stop_write_.reset();
  thread_.join();
}

void Http2Server::serve() {
  std::vector<std::unique_ptr<Session>> sessions;
  for (;;) {
    std::vector<pollfd> waits{{stop_read_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    for (const auto& session : sessions) {
      const bool has_more = session->codec && !session->codec->output().empty();
      waits.push_back({session->fd.get(), static_cast<short>(POLLIN | (has_more ? POLLOUT : 0)), 0});
    }
    if (::poll(waits.data(), waits.size(), -1) < 0) continue;
    if (waits[0].revents != 0) return;
    for (std::size_t i = 0; i < sessions.size(); ++i)
      if (waits[i + 2].revents != 0 && !sessions[i]->carry_on()) sessions[i].reset();
    std::erase(sessions, nullptr);
    if (waits[1].revents == 0) continue;
    UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket) continue;
    set_up(socket.get());
    sessions.push_back(std::make_unique<Session>(std::move(socket)));
  }
}

UniqueFd connect_on_loopback(std::uint16_t port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = loopback(port);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return {};
  set_up(fd.get());
  return fd;
}

std::uint16_t free_port() {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto address = loopback(0);
  socklen_t size = sizeof(address);
  require(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0, "bind");
  require(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0, "getsockname");
  return ntohs(address.sin_port);
}

}  // namespace underpass::test
