// SPDX-License-Identifier: Apache-2.0
// TLS over a TCP socket as a Transport: the handshake is part of the first calls, and what it refuses is an error of
// theirs. The peer is who its certificate says, or there is no connection. SIGPIPE must be ignored.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "underpass/unique_fd.h"
#include "userspace_proxy/net/transport.h"
#include "userspace_proxy/tls/identity.h"

namespace underpass::tls {

// Whom one side lets in.
struct Expected {
  std::string id;            // this SPIFFE ID; empty: any
  std::string trust_domain;  // ... of this trust domain
};

class TlsTransport final : public net::Transport, private net::Watcher {
 public:
  // The socket may be connecting still, if nothing is called before it is connected.
  static std::unique_ptr<TlsTransport> connect(net::Loop& loop, UniqueFd fd, IdentityPtr identity, Expected expected);
  static std::unique_ptr<TlsTransport> accept(net::Loop& loop, UniqueFd fd, IdentityPtr identity, Expected expected);
  ~TlsTransport() override;

  // The callbacks that check peers and the protocol, for contexts that are used here.
  static void prepare(SSL_CTX& context);

  bool watch(std::uint32_t events, net::Watcher& watcher) override;
  bool rewatch(std::uint32_t events, net::Watcher& watcher) override;
  void unwatch() override;
  ssize_t receive(char* to, std::size_t most) override;
  ssize_t peek(char* to, std::size_t most) override;
  ssize_t send(const char* bytes, std::size_t size) override;
  int shut_write() override;
  int take_error() override;
  void close(bool in_order) override;

  [[nodiscard]] bool is_established() const { return is_established_; }
  // Of the certificate that was verified; empty before.
  [[nodiscard]] const std::string& peer_id() const { return peer_id_; }
  // What the last EPROTO was about; empty: there was none.
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  struct SslDeleter {
    void operator()(SSL* ssl) const;
  };

  TlsTransport(net::Loop& loop, UniqueFd fd, IdentityPtr identity, Expected expected);
  static std::unique_ptr<TlsTransport> make(net::Loop& loop, UniqueFd fd, IdentityPtr identity, Expected expected,
                                            SSL_CTX& context);
  void on_events(std::uint32_t events) override;
  static int verify(int preverified, X509_STORE_CTX* store);
  [[nodiscard]] bool check_peer(const X509& certificate);
  bool shake_hands();
  ssize_t read(int (*how)(SSL*, void*, int), char* to, std::size_t most);
  ssize_t fail(int result, int crossing);

  net::Loop& loop_;
  UniqueFd fd_;
  IdentityPtr identity_;  // whose context it is
  Expected expected_;
  std::unique_ptr<SSL, SslDeleter> ssl_;
  net::Watcher* watcher_ = nullptr;
  std::string peer_id_;
  std::string problem_;
  bool is_established_ = false;
  bool is_crossed_ = false;  // one direction waits for the other
  bool is_broken_ = false;
};

}  // namespace underpass::tls
