// SPDX-License-Identifier: Apache-2.0
#include "agent/admin/http.h"

#include <prometheus/text_serializer.h>
#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <charconv>
#include <cstring>
#include <exception>
#include <list>
#include <sstream>
#include <utility>

#include "agent/ipc/listeners.h"

namespace underpass::admin {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::milliseconds kPauseWithoutDescriptors(100);

using Request = http::request<http::empty_body>;

struct Client;

// Newest activity last.
using Clients = std::list<std::shared_ptr<Client>>;

struct Client {
  explicit Client(tcp::socket socket) : stream(std::move(socket)) {}

  // Whether closing throws away what is not sent: else a deaf client leaves it in the kernel until its peer dies.
  void reset_on_close(bool on) {
    error_code ignored;
    stream.socket().set_option(tcp::socket::linger(on, 0), ignored);
  }

  beast::tcp_stream stream;
  Clients::iterator place;  // in the list
  bool evicted = false;     // closed, and no longer in the list
};

std::string_view path_of(const Request& request) {
  const std::string_view target(request.target().data(), request.target().size());
  return target.substr(0, target.find('?'));
}

Page page_for(const Pages& pages, const Request& request) {
  if (request.method() != http::verb::get && request.method() != http::verb::head) {
    return {.status = 405, .body = "only GET and HEAD\n"};
  }
  const auto page = pages.find(path_of(request));
  if (page == pages.end()) return {.status = 404, .body = "no such page\n"};
  try {
    return page->second();
  } catch (const std::exception& problem) {  // the metrics library may throw
    return {.status = 500, .body = std::string("cannot make this page: ") + problem.what() + "\n"};
  }
}

http::response<http::string_body> to_response(Page page, bool head, unsigned version, bool keep_alive) {
  http::response<http::string_body> response(http::int_to_status(page.status), version);
  response.set(http::field::content_type, page.content_type);
  if (page.status == 405) response.set(http::field::allow, "GET, HEAD");
  response.keep_alive(keep_alive);
  response.content_length(page.body.size());
  if (!head) response.body() = std::move(page.body);
  return response;
}

// What a request that cannot be read is told.
Page refusal_of(error_code error) {
  if (error == http::error::header_limit) return {.status = 431, .body = "header too large\n"};
  if (error == http::error::unexpected_body) return {.status = 413, .body = "no body is accepted\n"};
  return {.status = 400, .body = "malformed request\n"};
}

bool listens_at(int fd, const tcp::endpoint& wanted) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (ipc::socket_option(fd, SO_ACCEPTCONN) != 1) return false;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return false;
  tcp::endpoint own;
  if (address.ss_family != wanted.protocol().family() || size > own.capacity()) return false;
  std::memcpy(own.data(), &address, size);
  return own.address() == wanted.address() && (own.port() == wanted.port() || wanted.port() == 0);
}

bool is_parse_error(error_code error) {
  return error.category() == make_error_code(http::error::bad_method).category() &&
         error != http::error::end_of_stream && error != http::error::partial_message;
}

}  // namespace

std::string HostPort::to_string() const {
  const bool v6 = host.contains(':');
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<HostPort> parse_host_port(std::string_view text) {
  const auto bad = [&](std::string_view cause) {
    return fail("\"" + std::string(text) + "\": " + std::string(cause) +
                R"((write HOST:PORT, as in 0.0.0.0:15020 or [::]:15020))");
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad("has no port ");
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    if (!host.contains(':')) return bad("brackets are for IPv6 addresses ");
  } else if (host.contains(':')) {
    return bad("an IPv6 address stands in brackets ");
  }
  if (host.empty()) return bad("has no host ");

  HostPort out;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out.port);
  if (error != std::errc{} || end != digits.data() + digits.size()) return bad("port is not a number from 0 to 65535 ");
  out.host = host == "localhost" ? "127.0.0.1" : std::string(host);
  error_code not_an_address;
  (void)asio::ip::make_address(out.host, not_an_address);
  if (not_an_address) return bad("host is not an IP address ");
  return out;
}

Pages metrics_pages(std::function<std::vector<prometheus::MetricFamily>()> collect) {
  Pages pages;
  pages.emplace("/metrics", [collect = std::move(collect)] {
    std::ostringstream text;
    prometheus::TextSerializer().Serialize(text, collect());
    return Page{.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = std::move(text).str()};
  });
  return pages;
}

Pages ready_pages(std::function<std::optional<std::string>()> not_ready) {
  Pages pages;
  pages.emplace("/healthz/ready", [not_ready = std::move(not_ready)] {
    if (const std::optional<std::string> reason = not_ready()) return Page{.status = 503, .body = *reason + "\n"};
    return Page{.body = "ready\n"};
  });
  pages.emplace("/healthz/live", [] { return Page{.body = "alive\n"}; });
  return pages;
}

struct HttpServer::State {
  State(asio::io_context& io, Pages made, HttpLimits bounds) : acceptor(io), pages(std::move(made)), limits(bounds) {}

  static asio::awaitable<void> accept(std::shared_ptr<State> state);
  static asio::awaitable<void> serve(std::shared_ptr<State> state, std::shared_ptr<Client> client);
  // Answers requests until the client leaves, wants no more, or is out of time.
  static asio::awaitable<void> converse(std::shared_ptr<State> state, std::shared_ptr<Client> client);

  void evict_quietest() {
    Client& quietest = *clients.front();
    quietest.evicted = true;
    quietest.stream.close();  // its coroutine then ends
    clients.pop_front();
  }

  tcp::acceptor acceptor;
  Pages pages;
  HttpLimits limits;
  HostPort local;
  Clients clients;
  bool stopped = false;
};

asio::awaitable<void> HttpServer::State::accept(std::shared_ptr<State> state) {
  asio::steady_timer pause(state->acceptor.get_executor());
  while (!state->stopped) {
    auto [error, socket] = co_await state->acceptor.async_accept(kNoThrow);
    if (state->stopped) co_return;
    if (error) {  // out of descriptors, or the client left again
      pause.expires_after(kPauseWithoutDescriptors);
      co_await pause.async_wait(kNoThrow);
      continue;
    }
    if (state->clients.size() >= state->limits.connections) state->evict_quietest();
    auto client = std::make_shared<Client>(std::move(socket));
    client->place = state->clients.insert(state->clients.end(), client);
    asio::co_spawn(state->acceptor.get_executor(), serve(state, std::move(client)), asio::detached);
  }
}

asio::awaitable<void> HttpServer::State::serve(std::shared_ptr<State> state, std::shared_ptr<Client> client) {
  co_await converse(state, client);
  if (client->stream.socket().is_open()) {  // out of time, Beast has closed it already
    error_code ignored;
    client->stream.socket().shutdown(tcp::socket::shutdown_both, ignored);
    client->stream.close();
  }
  if (!client->evicted) state->clients.erase(client->place);
}

asio::awaitable<void> HttpServer::State::converse(std::shared_ptr<State> state, std::shared_ptr<Client> client) {
  beast::flat_buffer received;
  for (bool keep_alive = true; keep_alive;) {
    http::request_parser<http::empty_body> parser;
    parser.header_limit(state->limits.header_bytes);
    client->stream.expires_after(state->limits.idle);
    auto [error, size] = co_await http::async_read(client->stream, received, parser, kNoThrow);
    if (client->evicted || (error && !is_parse_error(error))) co_return;
    state->clients.splice(state->clients.end(), state->clients, client->place);

    const Request& request = parser.get();
    keep_alive = !error && request.keep_alive();
    const bool head = !error && request.method() == http::verb::head;
    Page page = error ? refusal_of(error) : page_for(state->pages, request);
    auto response = to_response(std::move(page), head, error ? 11 : request.version(), keep_alive);
    // content_length() of a HEAD's answer is that of the page; the serializer must not look for a body.
    http::response_serializer<http::string_body> serializer(response);
    serializer.split(head);
    client->stream.expires_after(state->limits.write);
    client->reset_on_close(true);
    auto [write_error, written] = head ? co_await http::async_write_header(client->stream, serializer, kNoThrow)
                                       : co_await http::async_write(client->stream, serializer, kNoThrow);
    if (write_error) co_return;
    client->reset_on_close(false);
  }
}

Result<std::unique_ptr<HttpServer>> HttpServer::listen(asio::io_context& io, const HostPort& at, Pages pages,
                                                       HttpLimits limits, UniqueFd handed) {
  const std::string name = at.to_string();
  try {
    auto state = std::make_shared<State>(io, std::move(pages), limits);
    const tcp::endpoint endpoint(asio::ip::make_address(at.host), at.port);
    if (handed && listens_at(handed.get(), endpoint)) {
      state->acceptor.assign(endpoint.protocol(), handed.release());
    } else {
      handed.reset();  // or the port would be taken
      state->acceptor.open(endpoint.protocol());
      state->acceptor.set_option(tcp::acceptor::reuse_address(true));
      state->acceptor.bind(endpoint);
      state->acceptor.listen();
    }
    const tcp::endpoint bound = state->acceptor.local_endpoint();
    state->local = {.host = bound.address().to_string(), .port = bound.port()};
    asio::co_spawn(io, State::accept(state), asio::detached);
    return std::unique_ptr<HttpServer>(new HttpServer(std::move(state)));
  } catch (const boost::system::system_error& problem) {
    return fail("listen on " + name + ": " + problem.code().message());
  }
}

UniqueFd HttpServer::hand_over() {
  state_->stopped = true;
  error_code ignored;
  // Not closed: epoll would go on telling of a socket that another process has open too.
  return UniqueFd(state_->acceptor.release(ignored));
}

HttpServer::~HttpServer() {
  state_->stopped = true;
  error_code ignored;
  state_->acceptor.close(ignored);
  for (const auto& client : state_->clients) client->stream.close();
}

const HostPort& HttpServer::local() const { return state_->local; }

Result<std::unique_ptr<HttpServer>> listen_at(asio::io_context& io, const char* flag, const std::string& at,
                                              Pages pages, UniqueFd handed) {
  const auto place = parse_host_port(at);
  if (!place) return fail_in(flag, place.error());
  auto server = HttpServer::listen(io, *place, std::move(pages), {}, std::move(handed));
  if (!server) return fail_in(flag, server.error());
  return server;
}

}  // namespace underpass::admin
