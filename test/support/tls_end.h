// SPDX-License-Identifier: Apache-2.0
// One end of a TLS connection by OpenSSL alone, as tests' own peers are: it says what it was told to say, good or bad,
// and it reports how the other end took it. It shares no code with what it tests.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/eventually.h"
#include "test/support/test_ca.h"
#include "underpass/unique_fd.h"

namespace underpass::test {

// What an end shows and asks for. As it is by default, with `svid` and `roots`, it is what HBONE wants.
struct TlsManners {
  Svid svid{};          // no chain: shows no certificate
  std::string roots{};  // PEM: whom it trusts; empty: everybody
  int highest = TLS1_3_VERSION;
  int lowest = TLS1_2_VERSION;  // the other end is to insist on 1.3
  std::string alpn = "h2";      // empty: none is offered
};

class TlsEnd {
 public:
  enum class Role : std::uint8_t { kClient, kServer };

  // The socket is made non-blocking.
  TlsEnd(UniqueFd fd, Role role, const TlsManners& manners);
  TlsEnd(const TlsEnd&) = delete;
  TlsEnd& operator=(const TlsEnd&) = delete;

  // Throws with what OpenSSL says. A server's refusal of a client's certificate comes after the client's own handshake
  // is over (RFC 8446, 4.4.2.4): it is the end of its first read.
  void handshake(milliseconds deadline = seconds(10));

  enum class Moved : std::uint8_t { kBytes, kNothing, kEnd };
  // Whatever is there to be read; kEnd: why_ended() says how.
  Moved read(std::string& into);
  // Takes written bytes off the front of `bytes`.
  Moved write(std::string& bytes);
  // close_notify.
  void bye() { SSL_shutdown(ssl_.get()); }

  // "close_notify", "end without close_notify", "reset", or OpenSSL's words of the other end's alert.
  [[nodiscard]] const std::string& why_ended() const { return why_ended_; }
  [[nodiscard]] std::string protocol() const { return SSL_get_version(ssl_.get()); }  // "TLSv1.3"
  [[nodiscard]] std::string alpn() const;
  [[nodiscard]] bool was_resumed() const { return SSL_session_reused(ssl_.get()) == 1; }
  // URIs among the peer's SANs, byte for byte; none: it shows no certificate, or one without.
  [[nodiscard]] std::vector<std::string> peer_uris() const;
  [[nodiscard]] std::string peer_serial() const;  // in hexadecimal; empty: no certificate
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  Moved ended(int result);

  UniqueFd fd_;
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
  std::string alpn_wire_;
  std::string why_ended_;
};

}  // namespace underpass::test
