// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/tls/tls_transport.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "underpass/spiffe_id.h"
#include "userspace_proxy/net/tcp.h"
#include "userspace_proxy/tls/spiffe.h"

namespace underpass::tls {
namespace {

constexpr unsigned char kH2[] = {2, 'h', '2'};

// Where an SSL says whose it is.
int index_of_owner() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

int choose_h2(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* offered, unsigned int length,
              void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, size, kH2, sizeof(kH2), offered, length) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

int cut(std::size_t size) { return static_cast<int>(std::min<std::size_t>(size, INT_MAX)); }

}  // namespace

void TlsTransport::SslDeleter::operator()(SSL* ssl) const { SSL_free(ssl); }

void TlsTransport::prepare(SSL_CTX& context) {
  SSL_CTX_set_verify(&context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, &TlsTransport::verify);
  SSL_CTX_set_alpn_protos(&context, kH2, sizeof(kH2));
  SSL_CTX_set_alpn_select_cb(&context, choose_h2, nullptr);
}

TlsTransport::TlsTransport(net::Loop& loop, UniqueFd fd, IdentityPtr identity, Expected expected)
    : loop_(loop), fd_(std::move(fd)), identity_(std::move(identity)), expected_(std::move(expected)) {}

TlsTransport::~TlsTransport() { close(false); }

std::unique_ptr<TlsTransport> TlsTransport::make(net::Loop& loop, UniqueFd fd, IdentityPtr identity, Expected expected,
                                                 SSL_CTX& context) {
  std::unique_ptr<TlsTransport> made(new TlsTransport(loop, std::move(fd), std::move(identity), std::move(expected)));
  made->ssl_.reset(SSL_new(&context));
  SSL_set_fd(made->ssl_.get(), made->fd_.get());
  SSL_set_ex_data(made->ssl_.get(), index_of_owner(), made.get());
  return made;
}

std::unique_ptr<TlsTransport> TlsTransport::connect(net::Loop& loop, UniqueFd fd, IdentityPtr identity,
                                                    Expected expected) {
  auto& context = *identity->client;
  auto made = make(loop, std::move(fd), std::move(identity), std::move(expected), context);
  SSL_set_connect_state(made->ssl_.get());
  return made;
}

std::unique_ptr<TlsTransport> TlsTransport::accept(net::Loop& loop, UniqueFd fd, IdentityPtr identity,
                                                   Expected expected) {
  auto& context = *identity->server;
  auto made = make(loop, std::move(fd), std::move(identity), std::move(expected), context);
  SSL_set_accept_state(made->ssl_.get());
  return made;
}

// --- who is it? -----------------------------------------------------------------------------------------------------

// Called for each certificate of the chain, the peer's own last.
int TlsTransport::verify(int preverified, X509_STORE_CTX* store) {
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* self = static_cast<TlsTransport*>(SSL_get_ex_data(ssl, index_of_owner()));
  if (preverified != 1) {
    self->problem_ = X509_verify_cert_error_string(X509_STORE_CTX_get_error(store));
    return 0;
  }
  if (X509_STORE_CTX_get_error_depth(store) > 0 || self->check_peer(*X509_STORE_CTX_get_current_cert(store))) return 1;
  X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
  return 0;
}

bool TlsTransport::check_peer(const X509& certificate) {
  auto id = spiffe_id_of(certificate);
  if (!id) {
    problem_ = id.error().message;
    return false;
  }
  const auto parsed = parse_spiffe_id(*id);
  if (!expected_.id.empty() && *id != expected_.id)
    problem_ = "it is " + *id + ", not " + expected_.id;
  else if (parsed->trust_domain != expected_.trust_domain)
    problem_ = *id + " is not of trust domain " + expected_.trust_domain;
  else
    peer_id_ = std::move(*id);
  return !peer_id_.empty();
}

bool TlsTransport::shake_hands() {
  ERR_clear_error();
  const int done = SSL_do_handshake(ssl_.get());
  if (done != 1) {
    fail(done, SSL_ERROR_NONE);
    return false;
  }
  const unsigned char* protocol = nullptr;
  unsigned int length = 0;
  SSL_get0_alpn_selected(ssl_.get(), &protocol, &length);
  if (length != sizeof(kH2) - 1 || std::memcmp(protocol, kH2 + 1, length) != 0) {
    problem_ = "the peer does not speak h2";
    is_broken_ = true;
    errno = EPROTO;
    return false;
  }
  is_established_ = true;
  return true;
}

// Sets errno; -1. `crossing`: what it would wait for only as the other direction does.
ssize_t TlsTransport::fail(int result, int crossing) {
  const int error = errno;
  const int why = SSL_get_error(ssl_.get(), result);
  switch (why) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      is_crossed_ = is_crossed_ || why == crossing;
      errno = EAGAIN;
      return -1;
    case SSL_ERROR_SYSCALL:
      is_broken_ = true;
      errno = error == 0 ? ECONNRESET : error;
      break;
    default:
      is_broken_ = true;
      if (problem_.empty()) {
        const char* reason = ERR_reason_error_string(ERR_peek_error());
        problem_ = reason == nullptr ? "protocol error" : reason;
      }
      errno = EPROTO;
  }
  ERR_clear_error();
  return -1;
}

// --- bytes ----------------------------------------------------------------------------------------------------------

ssize_t TlsTransport::receive(char* to, std::size_t most) { return read(&SSL_read, to, most); }
ssize_t TlsTransport::peek(char* to, std::size_t most) { return read(&SSL_peek, to, most); }

ssize_t TlsTransport::read(int (*how)(SSL*, void*, int), char* to, std::size_t most) {
  if (!is_established_ && !shake_hands()) return -1;
  ERR_clear_error();
  const int got = how(ssl_.get(), to, cut(most));
  if (got > 0) return got;
  if (SSL_get_error(ssl_.get(), got) == SSL_ERROR_ZERO_RETURN) return 0;
  return fail(got, SSL_ERROR_WANT_WRITE);
}

ssize_t TlsTransport::send(const char* bytes, std::size_t size) {
  if (!is_established_ && !shake_hands()) return -1;
  ERR_clear_error();
  const int sent = SSL_write(ssl_.get(), bytes, cut(size));
  return sent > 0 ? sent : fail(sent, SSL_ERROR_WANT_READ);
}

int TlsTransport::shut_write() {
  if (is_established_ && !is_broken_) (void)SSL_shutdown(ssl_.get());
  ERR_clear_error();
  return ::shutdown(fd_.get(), SHUT_WR);
}

int TlsTransport::take_error() { return net::take_error(fd_.get()); }

void TlsTransport::close(bool in_order) {
  if (!fd_) return;
  if (in_order) {
    if (is_established_ && !is_broken_) (void)SSL_shutdown(ssl_.get());
    ERR_clear_error();
    net::finish_on_close(fd_.get());
  } else {
    net::reset_on_close(fd_.get());
  }
  ssl_.reset();
  fd_.reset();
}

// --- readiness ------------------------------------------------------------------------------------------------------

bool TlsTransport::watch(std::uint32_t events, net::Watcher& watcher) {
  watcher_ = &watcher;
  // Either direction may wait for the other.
  return loop_.watch(fd_.get(), events | EPOLLIN | EPOLLOUT, *this);
}

bool TlsTransport::rewatch(std::uint32_t events, net::Watcher& watcher) {
  watcher_ = &watcher;
  return loop_.rewatch(fd_.get(), events | EPOLLIN | EPOLLOUT, *this);
}

void TlsTransport::unwatch() { loop_.unwatch(fd_.get()); }

void TlsTransport::on_events(std::uint32_t events) {
  if (!is_established_ || std::exchange(is_crossed_, false)) events |= EPOLLIN | EPOLLOUT;
  watcher_->on_events(events);
}

}  // namespace underpass::tls
