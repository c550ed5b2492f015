// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/api/channel.h"

#include <boost/asio/ip/address.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <sstream>
#include <utility>

#include "agent/k8s/field.h"

namespace underpass::k8s {
namespace asio = boost::asio;
namespace http = boost::beast::http;

namespace {

constexpr std::size_t kReadBytes = std::size_t{32} << 10;
constexpr std::size_t kPieceBytes = std::size_t{64} << 10;  // that a gzip piece may come to
constexpr unsigned kUnauthorized = 401;

bool is_loopback(const std::string& host) {
  if (host == "localhost") return true;
  boost::system::error_code error;
  const auto address = asio::ip::make_address(host, error);
  return !error && address.is_loopback();
}

// As Go's client does, the scheme's own port is not named: some servers compare the whole.
std::string host_field(const ApiConfig& config) {
  const auto host = config.host.contains(':') ? "[" + config.host + "]" : config.host;
  return config.port == (config.tls ? "443" : "80") ? host : host + ":" + config.port;
}

bool may_be_repeated(const std::string& method) { return method != "POST" && method != "PATCH"; }

}  // namespace

std::string answer_problem(const HttpHead& head, std::string_view body) {
  auto text = std::to_string(head.status) + (head.status_text.empty() ? "" : " " + head.status_text);
  if (head.status >= 300 && head.status < 400) {
    return text + ": redirects to " + show(head.location) + ", which is not followed";
  }
  boost::system::error_code error;
  const auto status = boost::json::parse({body.data(), body.size()}, error);
  if (!error && status.is_object()) {
    Findings ignored;
    const auto message = Field(status, ignored)["message"].string().value_or("");
    return message.empty() ? text : text + ": " + message.substr(0, 1024);
  }
  if (body.empty()) return text;
  return text + ": not an API server's answer (" + show(head.content_type) + "): " + show(body.substr(0, 256));
}

Channel::Channel(asio::io_context& io, std::shared_ptr<Session> session) : io_(io), session_(std::move(session)) {
  buffer_.resize(kReadBytes);
}

Channel::~Channel() = default;

void Channel::close() {
  closed_ = true;
  if (wire_) wire_->close();
}

void Channel::hang_up() {
  if (wire_) wire_->close();
  wire_.reset();
}

std::unexpected<Error> Channel::broken(const Error& error) {
  hang_up();
  return fail(server() + ": " + (closed_ ? "closed" : error.message));
}

Result<std::string> Channel::request_text(const ChannelRequest& request) {
  const auto& config = session_->config;
  http::request<http::string_body> message;
  message.method_string(request.method);
  message.target(config.prefix + request.target);
  message.version(11);
  message.set(http::field::host, host_field(config));
  message.set(http::field::user_agent, session_->user_agent);
  message.set(http::field::accept, request.accept);
  message.set(http::field::accept_encoding, "gzip");
  // As kubectl does, no credentials in the clear; but on this machine nobody listens in.
  if (config.tls || is_loopback(config.host)) {
    const auto token = session_->token.get();
    if (!token) return std::unexpected(token.error());
    if (!token->empty()) message.set(http::field::authorization, "Bearer " + *token);
  }
  if (!request.body.empty()) {
    message.set(http::field::content_type, request.content_type);
    message.body() = request.body;
  }
  message.prepare_payload();
  std::ostringstream text;
  text << message;
  return std::move(text).str();
}

asio::awaitable<Result<void>> Channel::connect() {
  auto wire = make_wire(io_, session_);
  if (!wire) co_return std::unexpected(wire.error());
  wire_ = std::move(*wire);
  co_return co_await wire_->connect();
}

asio::awaitable<Result<void>> Channel::receive(SteadyTime deadline) {
  auto size = co_await wire_->read(asio::buffer(buffer_), deadline);
  if (closed_) co_return fail("closed");
  if (!size) co_return std::unexpected(size.error());
  if (*size == 0) co_return answer_->end();
  co_return answer_->feed({buffer_.data(), *size});
}

asio::awaitable<Result<void>> Channel::send_and_wait(std::shared_ptr<const ChannelRequest> request) {
  const auto text = request_text(*request);
  if (!text) co_return std::unexpected(text.error());
  answer_ = std::make_unique<HttpReader>(session_->takes_http10);
  inflater_.reset();
  failed_.reset();
  // A server that refuses may answer and close before all was sent, so the answer counts and not what became of this.
  const auto sent = co_await wire_->write(*text, request->deadline);
  while (!answer_->head_done()) {
    if (closed_) co_return fail("closed");
    if (auto received = co_await receive(request->deadline); !received) {
      failed_ = received.error();
      if (answer_->head_done() && !answer_->body().empty()) break;
      co_return sent ? received : Result<void>(std::unexpected(sent.error()));
    }
  }
  co_return Result<void>{};
}

asio::awaitable<Result<HttpHead>> Channel::exchange(std::shared_ptr<const ChannelRequest> request) {
  const bool kept = wire_ && answer_ && answer_->keep_alive() && answer_->body().empty() && wire_->quiet();
  if (!kept) hang_up();
  for (bool again = kept && may_be_repeated(request->method);; again = false) {
    if (closed_ || session_->closed) co_return broken({"closed"});
    if (!wire_) {
      if (auto connected = co_await connect(); !connected) co_return broken(connected.error());
    }
    auto answered = co_await send_and_wait(request);
    if (answered) break;
    // A kept connection may have been closed by the server at the moment we used it again.
    if (!again || answer_ == nullptr || answer_->begun() || closed_) co_return broken(answered.error());
    hang_up();
  }
  if (answer_->head().gzip) inflater_ = std::make_unique<Inflater>();
  most_ = request->most;
  given_ = 0;
  co_return answer_->head();
}

asio::awaitable<Result<HttpHead>> Channel::begin(ChannelRequest request) {
  const auto shared = std::make_shared<const ChannelRequest>(std::move(request));
  auto head = co_await exchange(shared);
  if (!head || head->status != kUnauthorized || session_->config.token_file.empty()) co_return head;
  session_->token.refused();
  static_cast<void>(co_await rest(shared->deadline));  // so that the connection can be used again
  co_return co_await exchange(shared);
}

// True if there is a piece, or nothing more to come.
Result<bool> Channel::take_piece() {
  piece_.clear();
  auto& body = answer_->body();
  if (!inflater_) {
    piece_.swap(body);
  } else {
    auto made = inflater_->read(piece_, kPieceBytes);
    if (made && *made == 0 && !body.empty()) {
      inflater_->put(body);
      body.clear();
      made = inflater_->read(piece_, kPieceBytes);
    }
    if (!made) return std::unexpected(made.error());
    if (piece_.empty() && answer_->done() && !inflater_->complete()) return fail("gzip: cut short");
  }
  given_ += piece_.size();
  if (most_ != 0 && given_ > most_) return fail("the answer is longer than " + std::to_string(most_) + " bytes");
  return !piece_.empty() || answer_->done();
}

asio::awaitable<Result<std::string_view>> Channel::next(SteadyTime deadline) {
  for (;;) {
    if (closed_ || !wire_) co_return broken({"closed"});
    const auto taken = take_piece();
    if (!taken) co_return broken(taken.error());
    if (*taken) co_return piece_;
    if (failed_) co_return broken(*failed_);
    // What came before that in the same breath is handed out first.
    if (auto received = co_await receive(deadline); !received) failed_ = received.error();
  }
}

asio::awaitable<Result<std::string>> Channel::rest(SteadyTime deadline) {
  std::string all;
  for (;;) {
    const auto piece = co_await next(deadline);
    if (!piece) co_return std::unexpected(piece.error());
    if (piece->empty()) co_return all;
    all += *piece;
  }
}

}  // namespace underpass::k8s
