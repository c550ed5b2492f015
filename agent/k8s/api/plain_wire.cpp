// SPDX-License-Identifier: Apache-2.0
// http://, for a `kubectl proxy` on this machine and for tests.
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <utility>

#include "agent/k8s/api/tcp_dial.h"
#include "agent/k8s/api/wire.h"

namespace underpass::k8s {
namespace asio = boost::asio;

namespace {

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);

class PlainWire : public Wire {
 public:
  PlainWire(asio::io_context& io, std::shared_ptr<Session> session) : stream_(io), session_(std::move(session)) {}

  asio::awaitable<Result<void>> connect() override { co_return co_await dial(&stream_, &closed_, session_); }

  asio::awaitable<Result<void>> write(std::string_view text, SteadyTime deadline) override {
    stream_.expires_at(deadline);
    auto [error, size] = co_await asio::async_write(stream_, asio::buffer(text), kNoThrow);
    if (error) co_return fail("send: " + wire_cause(error));
    co_return Result<void>{};
  }

  asio::awaitable<Result<std::size_t>> read(asio::mutable_buffer into, SteadyTime deadline) override {
    stream_.expires_at(deadline);
    auto [error, size] = co_await stream_.async_read_some(into, kNoThrow);
    if (error == asio::error::eof) co_return 0;
    if (error) co_return fail("receive: " + wire_cause(error));
    co_return size;
  }

  bool quiet() override { return stream_.socket().is_open() && has_nothing_to_read(stream_.socket().native_handle()); }

  void close() override {
    closed_ = true;
    if (stream_.socket().is_open()) stream_.close();
  }

 private:
  boost::beast::tcp_stream stream_;
  std::shared_ptr<Session> session_;
  bool closed_ = false;
};

}  // namespace

Result<std::unique_ptr<Wire>> make_wire(asio::io_context& io, const std::shared_ptr<Session>& session) {
  if (session->config.tls) return make_tls_wire(io, session);
  return std::make_unique<PlainWire>(io, session);
}

}  // namespace underpass::k8s
