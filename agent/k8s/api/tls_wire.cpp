// SPDX-License-Identifier: Apache-2.0
// https://: TLS 1.2 or newer, the server's certificate checked against the configured CA and no other, and against the
// name or the address by which we know the server. All that is OpenSSL's is in here.
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <utility>

#include "agent/k8s/api/tcp_dial.h"
#include "agent/k8s/api/wire.h"

namespace underpass::k8s {
namespace asio = boost::asio;
namespace ssl = asio::ssl;
using boost::system::error_code;

namespace {

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);

std::string name_of(const Pem& pem, std::string_view what) {
  return std::string(what) + (pem.file.empty() ? "" : " " + pem.file);
}

// Reads a PEM and gives it to `use`.
template <typename Use>
Result<void> with_pem(const Pem& pem, std::string_view what, const Use& use) {
  const auto text = read_pem(pem);
  if (!text) return fail_in(what, text.error());
  error_code error;
  use(asio::buffer(*text), error);
  ::ERR_clear_error();
  if (error) return fail(name_of(pem, what) + ": " + error.message());
  return {};
}

Result<void> trust(ssl::context& context, const ApiConfig& config) {
  if (!config.verify) return {};
  if (config.ca.empty()) {
    error_code error;
    context.set_default_verify_paths(error);
    if (error) return fail("the system's certificate authorities: " + error.message());
    return {};
  }
  // As Go does: a CA that is given is trusted, whoever signed it.
  ::X509_VERIFY_PARAM_set_flags(::SSL_CTX_get0_param(context.native_handle()), X509_V_FLAG_PARTIAL_CHAIN);
  return with_pem(config.ca, "certificate authority",
                  [&](asio::const_buffer text, error_code& error) { context.add_certificate_authority(text, error); });
}

Result<void> identify(ssl::context& context, const ApiConfig& config) {
  if (config.client_certificate.empty()) return {};
  auto done = with_pem(config.client_certificate, "client certificate",
                       [&](asio::const_buffer text, error_code& e) { context.use_certificate_chain(text, e); });
  if (!done) return done;
  return with_pem(config.client_key, "client key",
                  [&](asio::const_buffer text, error_code& e) { context.use_private_key(text, ssl::context::pem, e); });
}

Result<void> prepare(ssl::context& context, const ApiConfig& config) {
  ::SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
  // A key that wants a password is refused; OpenSSL would ask for it at the terminal.
  ::SSL_CTX_set_default_passwd_cb(context.native_handle(), [](char*, int, int, void*) { return -1; });
  if (auto trusted = trust(context, config); !trusted) return trusted;
  return identify(context, config);
}

class TlsWire : public Wire {
 public:
  TlsWire(asio::io_context& io, ssl::context context, std::shared_ptr<Session> session)
      : context_(std::move(context)), stream_(io, context_), session_(std::move(session)) {}

  asio::awaitable<Result<void>> connect() override {
    const auto& config = session_->config;
    if (auto dialled = co_await dial(&tcp(), &closed_, session_); !dialled) co_return dialled;
    error_code not_an_address;
    asio::ip::make_address(config.server_name, not_an_address);
    if (not_an_address) ::SSL_set_tlsext_host_name(stream_.native_handle(), config.server_name.c_str());
    if (config.verify) {
      stream_.set_verify_mode(ssl::verify_peer);
      stream_.set_verify_callback(ssl::host_name_verification(config.server_name));
    } else {
      stream_.set_verify_mode(ssl::verify_none);
    }
    tcp().expires_after(session_->timeouts.handshake);
    auto [error] = co_await stream_.async_handshake(ssl::stream_base::client, kNoThrow);
    if (error) co_return fail("TLS: " + handshake_cause(error));
    co_return Result<void>{};
  }

  asio::awaitable<Result<void>> write(std::string_view text, SteadyTime deadline) override {
    tcp().expires_at(deadline);
    auto [error, size] = co_await asio::async_write(stream_, asio::buffer(text), kNoThrow);
    if (error) co_return fail("send: " + wire_cause(error));
    co_return Result<void>{};
  }

  asio::awaitable<Result<std::size_t>> read(asio::mutable_buffer into, SteadyTime deadline) override {
    tcp().expires_at(deadline);
    auto [error, size] = co_await stream_.async_read_some(into, kNoThrow);
    // HTTP says itself where an answer ends, so a close without TLS's own goodbye cuts nothing off unseen.
    if (error == asio::error::eof || error == ssl::error::stream_truncated) co_return 0;
    if (error) co_return fail("receive: " + wire_cause(error));
    co_return size;
  }

  bool quiet() override {
    return tcp().socket().is_open() && ::SSL_pending(stream_.native_handle()) == 0 &&
           has_nothing_to_read(tcp().socket().native_handle());
  }

  void close() override {
    closed_ = true;
    if (tcp().socket().is_open()) tcp().close();
  }

 private:
  boost::beast::tcp_stream& tcp() { return stream_.next_layer(); }

  std::string handshake_cause(const error_code& error) {
    const auto verdict = ::SSL_get_verify_result(stream_.native_handle());
    const auto name = "the certificate is not good for " + session_->config.server_name;
    if (session_->config.verify && verdict != X509_V_OK) return name + ": " + ::X509_verify_cert_error_string(verdict);
    const bool refused = error.category() == asio::error::get_ssl_category() &&
                         ERR_GET_REASON(static_cast<unsigned long>(error.value())) == SSL_R_CERTIFICATE_VERIFY_FAILED;
    return refused ? name : wire_cause(error);
  }

  ssl::context context_;
  ssl::stream<boost::beast::tcp_stream> stream_;
  std::shared_ptr<Session> session_;
  bool closed_ = false;
};

}  // namespace

Result<std::unique_ptr<Wire>> make_tls_wire(asio::io_context& io, const std::shared_ptr<Session>& session) {
  ssl::context context(ssl::context::tls_client);
  if (auto prepared = prepare(context, session->config); !prepared) return std::unexpected(prepared.error());
  return std::make_unique<TlsWire>(io, std::move(context), session);
}

}  // namespace underpass::k8s
