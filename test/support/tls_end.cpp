// SPDX-License-Identifier: Apache-2.0
#include "test/support/tls_end.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <stdexcept>
#include <utility>

#include "test/support/sockets.h"

namespace underpass::test {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

// And empties the thread's queue of errors.
std::string last_error() {
  std::array<char, 256> text{};
  unsigned long code = 0;
  for (unsigned long next = 0; (next = ERR_get_error()) != 0;) code = next;
  if (code == 0) return "";
  ERR_error_string_n(code, text.data(), text.size());
  return text.data();
}

void check(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(std::string("TLS: ") + what + ": " + last_error());
}

Bio reader_of(const std::string& text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free};
}

template <typename Take>
void for_each_certificate(const std::string& pem, Take take) {
  const Bio bio = reader_of(pem);
  while (X509* one = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) take(Certificate(one, X509_free));
  ERR_clear_error();  // the end of the text
}

void use(SSL_CTX* context, const Svid& svid) {
  bool is_first = true;
  for_each_certificate(svid.chain, [&](const Certificate& one) {
    check((is_first ? SSL_CTX_use_certificate(context, one.get()) : SSL_CTX_add1_chain_cert(context, one.get())) == 1,
          "certificate");
    is_first = false;
  });
  const Bio bio = reader_of(svid.key);
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  check(key != nullptr && SSL_CTX_use_PrivateKey(context, key.get()) == 1, "key");
}

int choose_alpn(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* offered,
                unsigned int offered_size, void* own) {
  const auto& wire = *static_cast<const std::string*>(own);
  unsigned char* chosen = nullptr;
  if (wire.empty() ||
      SSL_select_next_proto(&chosen, size, reinterpret_cast<const unsigned char*>(wire.data()),
                            static_cast<unsigned>(wire.size()), offered, offered_size) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_NOACK;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

// Of a chain alone: whose name stands in it is for the test to say.
void trust(SSL_CTX* context, const std::string& roots) {
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for_each_certificate(roots,
                       [&](const Certificate& one) { check(X509_STORE_add_cert(store, one.get()) == 1, "root"); });
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
}

}  // namespace

TlsEnd::TlsEnd(UniqueFd fd, Role role, const TlsManners& manners)
    : fd_(std::move(fd)),
      context_(SSL_CTX_new(role == Role::kClient ? TLS_client_method() : TLS_server_method()), SSL_CTX_free),
      ssl_(nullptr, SSL_free) {
  SSL_CTX* context = context_.get();
  check(context != nullptr, "context");
  check(SSL_CTX_set_min_proto_version(context, manners.lowest) == 1, "lowest version");
  check(SSL_CTX_set_max_proto_version(context, manners.highest) == 1, "highest version");
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (!manners.svid.chain.empty()) use(context, manners.svid);
  // A server without anybody to trust asks for a certificate all the same, to tell of it.
  if (!manners.roots.empty())
    trust(context, manners.roots);
  else if (role == Role::kServer)
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
  if (!manners.alpn.empty()) alpn_wire_ = static_cast<char>(manners.alpn.size()) + manners.alpn;
  if (role == Role::kServer) SSL_CTX_set_alpn_select_cb(context, choose_alpn, &alpn_wire_);
  ssl_.reset(SSL_new(context));
  check(ssl_ != nullptr, "SSL_new");
  if (role == Role::kClient && !alpn_wire_.empty())
    SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(alpn_wire_.data()),
                        static_cast<unsigned>(alpn_wire_.size()));
  set_nonblocking(fd_.get(), true);
  check(SSL_set_fd(ssl_.get(), fd_.get()) == 1, "SSL_set_fd");
  role == Role::kClient ? SSL_set_connect_state(ssl_.get()) : SSL_set_accept_state(ssl_.get());
}

void TlsEnd::handshake(milliseconds deadline) {
  const auto end = Clock::now() + deadline;
  for (;;) {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_.get());
    if (result == 1) return;
    const int error = SSL_get_error(ssl_.get(), result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
      ended(result);
      throw std::runtime_error("TLS handshake: " + why_ended_);
    }
    const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now()).count();
    pollfd wait{
        .fd = fd_.get(), .events = static_cast<short>(error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT), .revents = 0};
    if (left <= 0 || ::poll(&wait, 1, static_cast<int>(left)) != 1) throw std::runtime_error("TLS handshake: no end");
  }
}

TlsEnd::Moved TlsEnd::ended(int result) {
  const int error = SSL_get_error(ssl_.get(), result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return Moved::kNothing;
  const int number = errno;
  if (error == SSL_ERROR_ZERO_RETURN)
    why_ended_ = "close_notify";
  else if (error == SSL_ERROR_SYSCALL && (number == ECONNRESET || number == EPIPE))
    why_ended_ = "reset";
  else
    why_ended_ = last_error();
  if (why_ended_.empty() || why_ended_.contains("unexpected eof")) why_ended_ = "end without close_notify";
  return Moved::kEnd;
}

TlsEnd::Moved TlsEnd::read(std::string& into) {
  std::array<char, 16384> bytes{};
  ERR_clear_error();
  errno = 0;
  const int got = SSL_read(ssl_.get(), bytes.data(), bytes.size());
  if (got <= 0) return ended(got);
  into.append(bytes.data(), static_cast<std::size_t>(got));
  return Moved::kBytes;
}

TlsEnd::Moved TlsEnd::write(std::string& bytes) {
  if (bytes.empty()) return Moved::kNothing;
  ERR_clear_error();
  errno = 0;
  const int sent = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(std::min<std::size_t>(bytes.size(), 1 << 20)));
  if (sent <= 0) return ended(sent);
  bytes.erase(0, static_cast<std::size_t>(sent));
  return Moved::kBytes;
}

std::string TlsEnd::alpn() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_.get(), &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

std::vector<std::string> TlsEnd::peer_uris() const {
  const Certificate certificate(SSL_get1_peer_certificate(ssl_.get()), X509_free);
  if (!certificate) return {};
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)),
      GENERAL_NAMES_free);
  std::vector<std::string> out;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    int type = 0;
    const auto* value =
        static_cast<ASN1_STRING*>(GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &type));
    if (type == GEN_URI)
      out.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                       static_cast<std::size_t>(ASN1_STRING_length(value)));
  }
  return out;
}

std::string TlsEnd::peer_serial() const {
  const Certificate certificate(SSL_get1_peer_certificate(ssl_.get()), X509_free);
  if (!certificate) return "";
  const std::unique_ptr<BIGNUM, decltype(&BN_free)> number(
      ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate.get()), nullptr), BN_free);
  char* text = BN_bn2hex(number.get());
  std::string out = text;
  OPENSSL_free(text);
  return out;
}

}  // namespace underpass::test
