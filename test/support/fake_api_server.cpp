// SPDX-License-Identifier: Apache-2.0
#include "test/support/fake_api_server.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <sys/socket.h>
#include <zlib.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <cstdio>
#include <ctime>
#include <stdexcept>
#include <utility>

#include "test/support/fake_api_watch.h"
#include "test/support/files.h"

namespace underpass::test {
namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::awaitable;
using asio::use_awaitable;
using asio::ip::tcp;
using std::chrono::steady_clock;
using What = Fault::What;

struct FakeServer::Connection {
  Connection(tcp::socket socket, std::shared_ptr<asio::ssl::context> context)
      : tls(std::move(context)), stream(std::move(socket), *tls), wake(stream.get_executor()) {}

  void close() {
    boost::system::error_code ignored;
    stream.lowest_layer().close(ignored);
    gone = true;
    wake.cancel();
  }
  // The peer gets an RST, whatever was not sent yet.
  void reset() {
    boost::system::error_code ignored;
    stream.lowest_layer().set_option(asio::socket_base::linger(true, 0), ignored);
    close();
  }

  std::shared_ptr<asio::ssl::context> tls;
  asio::ssl::stream<tcp::socket> stream;
  boost::beast::flat_buffer buffer;
  asio::steady_timer wake;  // a watch waits on it
  std::uint64_t number = 0;
  std::string user;      // of the client's certificate
  bool due = false;      // something to tell
  bool reading = false;  // await_client() runs
  bool gone = false;
};

// A request, and what is to go wrong with it.
struct FakeServer::Asked {
  FakeCall call;
  std::optional<Fault> fault;
  std::size_t record = 0;  // index in `requests`
  bool takes_gzip = false;

  [[nodiscard]] bool is(What what) const { return fault && fault->what == what; }
};

namespace {

constexpr std::size_t kLargestBody = 64 << 20;
constexpr std::size_t kWithLength = 2048;  // longer answers come in chunks, as with Go's server

std::string chunk(const std::string& text) {
  char size[32];
  std::snprintf(size, sizeof size, "%zx\r\n", text.size());
  return size + text + "\r\n";
}

std::string http_date(std::time_t when) {
  struct tm parts{};
  ::gmtime_r(&when, &parts);
  char text[64];
  std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return text;
}

std::string gzipped(const std::string& text) {
  z_stream stream{};
  if (::deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::runtime_error("deflateInit2");
  }
  std::string out(::deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int end = ::deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  if (end != Z_STREAM_END) throw std::runtime_error("deflate");
  return out;
}

// From now on no packet of the peer is seen: it gets no answer, not even to keep-alive probes.
void drop_packets(int socket) {
  sock_filter nothing{.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = 0};
  sock_fprog program{.len = 1, .filter = &nothing};
  if (::setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0) {
    throw_errno("SO_ATTACH_FILTER");
  }
}

// Else a process that a test starts keeps the port, and connections alive that were reset.
void keep_from_children(int socket) {
  if (::fcntl(socket, F_SETFD, FD_CLOEXEC) != 0) throw_errno("FD_CLOEXEC");
}

// What else is thrown is a bug of the fake, and ends the test.
void pass_over_connections_end(const std::exception_ptr& thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const boost::system::system_error&) {
  }
}

std::string header(const http::request<http::string_body>& request, http::field field) {
  const auto found = request.find(field);
  return found == request.end() ? "" : std::string(found->value());
}

}  // namespace

FakeServer::FakeServer() : work_(io_.get_executor()) {}

FakeServer::~FakeServer() { io_.stop(); }

void FakeServer::post(std::function<void()> what) { asio::post(io_, std::move(what)); }

void FakeServer::listen(std::uint16_t port) {
  acceptor_ = std::make_shared<Acceptor>(io_);
  const tcp::endpoint endpoint(asio::ip::address_v4::loopback(), port);
  acceptor_->open(endpoint.protocol());
  keep_from_children(acceptor_->native_handle());
  acceptor_->set_option(asio::socket_base::reuse_address(true));
  acceptor_->bind(endpoint);
  acceptor_->listen();
  port_ = acceptor_->local_endpoint().port();
  asio::co_spawn(io_, accept_all(acceptor_), asio::detached);
}

void FakeServer::close() {
  if (acceptor_) acceptor_->close();
  acceptor_.reset();
  reset_connections();
}

void FakeServer::reset_connections() {
  for (const auto& weak : std::exchange(connections_, {})) {
    if (const auto connection = weak.lock()) connection->reset();
  }
}

void FakeServer::identify_as(const FakeIdentity& identity, const std::string& client_authority) {
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  context->use_certificate_chain(asio::buffer(identity.certificate));
  context->use_private_key(asio::buffer(identity.key), asio::ssl::context::pem);
  context->add_certificate_authority(asio::buffer(client_authority));
  context->set_verify_mode(asio::ssl::verify_peer);  // a certificate that is shown must be good; none is good too
  tls_ = std::move(context);
}

void FakeServer::wake_watches() {
  for (auto at = connections_.begin(); at != connections_.end();) {
    const auto connection = at->lock();
    at = connection ? std::next(at) : connections_.erase(at);
    if (!connection) continue;
    connection->due = true;
    connection->wake.cancel();
  }
}

awaitable<void> FakeServer::accept_all(std::shared_ptr<Acceptor> acceptor) {
  for (;;) {
    auto [error, socket] = co_await acceptor->async_accept(asio::as_tuple(use_awaitable));
    if (error) co_return;
    keep_from_children(socket.native_handle());
    boost::system::error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    auto connection = std::make_shared<Connection>(std::move(socket), tls_);
    connection->number = next_connection_++;
    connections_.insert(connection);
    asio::co_spawn(io_, serve(connection), [connection](const std::exception_ptr& thrown) {
      connection->close();
      pass_over_connections_end(thrown);
    });
  }
}

awaitable<void> FakeServer::serve(ConnectionPtr connection) {
  co_await connection->stream.async_handshake(asio::ssl::stream_base::server, use_awaitable);
  if (X509* shown = ::SSL_get1_peer_certificate(connection->stream.native_handle()); shown != nullptr) {
    char name[128] = "";
    ::X509_NAME_get_text_by_NID(::X509_get_subject_name(shown), NID_commonName, name, sizeof name);
    ::X509_free(shown);
    connection->user = name;
  }
  for (bool go_on = true; go_on;) {
    http::request_parser<http::string_body> parser;
    parser.body_limit(kLargestBody);
    co_await http::async_read(connection->stream, connection->buffer, parser, use_awaitable);
    const auto request = parser.release();
    Asked asked{.call = parse_call(std::string(request.method_string()), std::string(request.target()), objects)};
    asked.call.accept = header(request, http::field::accept);
    asked.call.body = request.body();
    asked.takes_gzip = header(request, http::field::accept_encoding).find("gzip") != std::string::npos;
    asked.record = requests.size();
    requests.push_back({.when = steady_clock::now(),
                        .connection = connection->number,
                        .verb = asked.call.verb(),
                        .method = asked.call.method,
                        .path = asked.call.path,
                        .collection = asked.call.collection(),
                        .query = asked.call.query,
                        .user_agent = header(request, http::field::user_agent),
                        .accept = asked.call.accept,
                        .authorization = header(request, http::field::authorization)});
    const auto record = asked.record;
    go_on = co_await answer(connection, std::move(asked));
    requests.at(record).finished = true;
    go_on = go_on && request.keep_alive();
  }
}

std::optional<Fault> FakeServer::take_fault(const FakeCall& call) {
  for (auto at = faults.begin(); at != faults.end(); ++at) {
    if (!at->second.applies_to(call)) continue;
    Fault fault = at->second;
    if (fault.left > 0 && --at->second.left == 0) faults.erase(at);
    return fault;
  }
  return std::nullopt;
}

std::optional<std::string> FakeServer::user_of(const Connection& connection, const std::string& authorization) const {
  constexpr std::string_view kBearer = "Bearer ";
  if (authorization.starts_with(kBearer)) {
    if (!settings.tokens.contains(authorization.substr(kBearer.size()))) return std::nullopt;
    return FakeCall().user;
  }
  return connection.user.empty() ? std::nullopt : std::optional(connection.user);
}

FakeAnswer FakeServer::faulty_answer(const Fault& fault, const FakeCall& call) {
  FakeAnswer answer;
  switch (fault.what) {
    case What::kAnswer:
      return {.status = fault.status, .headers = fault.headers, .body = fault.body};
    case What::kForbidden:
      return usual_answer(403, call);
    case What::kGone:
      return expired_answer();
    case What::kEmptyList:
      answer = call.resource == nullptr ? usual_answer(404, call) : empty_list_answer(call, objects);
      answer.status = fault.status;
      return answer;
    case What::kStatus:
      answer = usual_answer(fault.status, call);
      for (const auto& [name, value] : fault.headers) answer.headers.emplace(name, value);
      return answer;
    default:
      return answer_call(call, objects, settings.version);
  }
}

awaitable<bool> FakeServer::answer(ConnectionPtr connection, Asked asked) {
  asked.fault = take_fault(asked.call);
  if (asked.is(What::kStall)) {
    connection->reading = true;
    asio::co_spawn(io_, await_client(connection), asio::detached);
    while (!connection->gone) {
      connection->wake.expires_at(steady_clock::time_point::max());
      co_await connection->wake.async_wait(asio::as_tuple(use_awaitable));
    }
    co_return false;
  }
  const bool open_to_all = asked.call.path == "/version" || asked.call.path == "/readyz";
  const auto user = user_of(*connection, requests.at(asked.record).authorization);
  if (!user && !open_to_all) co_return co_await send(connection, usual_answer(401, asked.call), asked);
  asked.call.user = user.value_or("system:anonymous");
  const bool broken_answer = asked.fault && asked.fault->what <= What::kEmptyList;
  if (broken_answer) co_return co_await send(connection, faulty_answer(*asked.fault, asked.call), asked);
  if (asked.call.is_watch()) co_return co_await watch(connection, std::move(asked));
  FakeAnswer answer = answer_call(asked.call, objects, settings.version);
  if (asked.call.method != "GET") wake_watches();
  co_return co_await send(connection, std::move(answer), std::move(asked));
}

std::string FakeServer::head(const FakeAnswer& answer, const std::string& length) const {
  std::string text = "HTTP/1.1 " + std::to_string(answer.status) + " " +
                     std::string(http::obsolete_reason(http::int_to_status(answer.status))) + "\r\n";
  for (const auto& [name, value] : answer.headers) text += name + ": " + value + "\r\n";
  const auto now = std::chrono::system_clock::now() + settings.clock_skew;
  return text + "Cache-Control: no-cache, private\r\nDate: " + http_date(std::chrono::system_clock::to_time_t(now)) +
         "\r\n" + length + "\r\n\r\n";
}

awaitable<bool> FakeServer::send(ConnectionPtr connection, FakeAnswer answer, Asked asked) {
  requests.at(asked.record).status = answer.status;
  if (asked.is(What::kTail)) answer.body += asked.fault->body;
  if (asked.takes_gzip && answer.body.size() >= settings.compressed_from) {
    answer.body = gzipped(answer.body);
    answer.headers.emplace("Content-Encoding", "gzip");
    answer.headers.emplace("Vary", "Accept-Encoding");
  }
  std::size_t length = answer.body.size();
  if (asked.is(What::kMoreLength)) length += asked.fault->after;
  if (asked.is(What::kLessLength)) length -= std::min(length, asked.fault->after);
  const bool wrong_length = length != answer.body.size();
  std::string text;
  if (wrong_length || length <= kWithLength) {
    text = head(answer, "Content-Length: " + std::to_string(length)) + answer.body;
  } else {
    text = head(answer, "Transfer-Encoding: chunked") + chunk(answer.body) + "0\r\n\r\n";
  }
  const bool cut = asked.is(What::kReset);
  if (cut) text.resize(std::min(text.size() - 1, text.find("\r\n\r\n") + 4 + asked.fault->after));
  co_await write(connection, std::move(text), std::move(asked));
  if (cut) connection->reset();
  co_return !cut && !wrong_length;
}

awaitable<void> FakeServer::write(ConnectionPtr connection, std::string text, Asked asked) {
  requests.at(asked.record).bytes += text.size();
  if (!asked.is(What::kDrip)) {
    co_await asio::async_write(connection->stream, asio::buffer(text), use_awaitable);
    co_return;
  }
  asio::steady_timer pause(io_);
  for (const char& byte : text) {
    co_await asio::async_write(connection->stream, asio::buffer(&byte, 1), use_awaitable);
    pause.expires_after(std::chrono::microseconds(200));
    co_await pause.async_wait(use_awaitable);
  }
}

// Reads while a watch writes: the next request's first bytes stay in the buffer.
awaitable<void> FakeServer::await_client(ConnectionPtr connection) {
  auto [error, bytes] =
      co_await connection->stream.async_read_some(connection->buffer.prepare(1024), asio::as_tuple(use_awaitable));
  if (!error) connection->buffer.commit(bytes);
  connection->reading = false;
  if (error) connection->gone = true;
  connection->wake.cancel();
}

awaitable<bool> FakeServer::watch(ConnectionPtr connection, Asked asked) {
  using Then = FakeWatch::Then;
  FakeWatch watch(asked.call, objects, asked.fault);
  requests.at(asked.record).status = 200;
  co_await write(connection, head({.headers = {{"Content-Type", "application/json"}}}, "Transfer-Encoding: chunked"),
                 asked);
  connection->reading = true;
  asio::co_spawn(io_, await_client(connection), asio::detached);
  const bool bookmarks = asked.call.parameter("allowWatchBookmarks") == "true";
  const auto timeout = std::strtoul(asked.call.parameter("timeoutSeconds").c_str(), nullptr, 10);
  const auto never = steady_clock::time_point::max();
  const auto end = timeout == 0 ? never : steady_clock::now() + std::chrono::seconds(timeout);
  auto next_bookmark = bookmarks ? steady_clock::now() + settings.bookmarks : never;
  while (!connection->gone) {
    connection->due = false;
    std::string lines = watch.take();
    if (watch.then() == Then::kGoOn && steady_clock::now() >= std::min(next_bookmark, end) && bookmarks) {
      lines += watch.bookmark();
      next_bookmark = steady_clock::now() + settings.bookmarks;
    }
    if (!lines.empty()) co_await write(connection, chunk(lines), asked);
    if (watch.then() == Then::kEnd || (watch.then() == Then::kGoOn && steady_clock::now() >= end)) break;
    if (watch.then() == Then::kCut) connection->close();
    if (watch.then() == Then::kReset) connection->reset();
    if (watch.then() == Then::kBlackHole) drop_packets(connection->stream.lowest_layer().native_handle());
    if (connection->due || connection->gone) continue;
    connection->wake.expires_at(watch.then() == Then::kGoOn ? std::min(next_bookmark, end) : never);
    co_await connection->wake.async_wait(asio::as_tuple(use_awaitable));
  }
  if (connection->gone) co_return false;
  co_await write(connection, "0\r\n\r\n", asked);
  requests.at(asked.record).finished = true;
  while (connection->reading) {
    connection->wake.expires_at(never);
    co_await connection->wake.async_wait(asio::as_tuple(use_awaitable));
  }
  co_return !connection->gone;
}

}  // namespace underpass::test
