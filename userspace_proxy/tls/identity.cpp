// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/tls/identity.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <ctime>
#include <utility>
#include <vector>

#include "userspace_proxy/tls/tls_transport.h"

namespace underpass::tls {
namespace {

// Bytes of records that are read at once.
constexpr std::size_t kReadAhead = 64UL * 1024;

template <auto free>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    free(object);
  }
};
using Bio = std::unique_ptr<BIO, Deleter<BIO_free>>;
using X509Ptr = std::unique_ptr<X509, Deleter<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using StorePtr = std::unique_ptr<X509_STORE, Deleter<X509_STORE_free>>;

std::unexpected<Error> fail_tls(const std::string& what) {
  const auto code = ERR_get_error();
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(code);
  return fail(what + ": " + (reason == nullptr ? "no such PEM" : reason));
}

Bio bio_of(const std::string& text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

// No passphrase is ever asked for.
int no_passphrase(char*, int, int, void*) { return -1; }

Result<std::vector<X509Ptr>> read_certificates(const std::string& pem, const std::string& what) {
  std::vector<X509Ptr> out;
  const auto bio = bio_of(pem);
  for (;;) {
    X509Ptr one(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
    if (!one) break;
    out.push_back(std::move(one));
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (out.empty() || !at_end) return fail_tls(what);
  ERR_clear_error();
  return out;
}

Result<StorePtr> make_store(const std::string& bundle) {
  auto roots = read_certificates(bundle, "trust bundle");
  if (!roots) return std::unexpected(roots.error());
  StorePtr store(X509_STORE_new());
  for (const auto& root : *roots)
    if (X509_STORE_add_cert(store.get(), root.get()) != 1) return fail_tls("trust bundle");
  return store;
}

Result<Context> make_context(const SSL_METHOD* method, const Certificate& certificate, X509_STORE& roots) {
  Context context(SSL_CTX_new(method));
  auto* ctx = context.get();
  SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION);
  SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(ctx, 0);
  SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(ctx, 1);
  SSL_CTX_set_default_read_buffer_len(ctx, kReadAhead);
  SSL_CTX_set1_verify_cert_store(ctx, &roots);
  TlsTransport::prepare(*ctx);

  auto chain = read_certificates(certificate.chain, "certificate");
  if (!chain) return std::unexpected(chain.error());
  if (SSL_CTX_use_certificate(ctx, chain->front().get()) != 1) return fail_tls("certificate");
  for (auto next = chain->begin() + 1; next != chain->end(); ++next)
    if (SSL_CTX_add1_chain_cert(ctx, next->get()) != 1) return fail_tls("intermediate certificate");
  const auto bio = bio_of(certificate.key);
  const KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  if (!key) return fail_tls("key");
  if (SSL_CTX_use_PrivateKey(ctx, key.get()) != 1) return fail_tls("key");
  return context;
}

std::chrono::system_clock::time_point end_of(const X509& certificate) {
  std::tm when{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(&certificate), &when) != 1) return {};
  return std::chrono::system_clock::from_time_t(::timegm(&when));
}

Result<IdentityPtr> make_identity(const std::string& id, const Certificate& certificate, X509_STORE& roots) {
  auto client = make_context(TLS_client_method(), certificate, roots);
  if (!client) return std::unexpected(client.error());
  auto server = make_context(TLS_server_method(), certificate, roots);
  if (!server) return std::unexpected(server.error());
  const auto ends = end_of(*SSL_CTX_get0_certificate(client->get()));
  return std::make_shared<Identity>(id, std::move(*client), std::move(*server), ends);
}

}  // namespace

void ContextDeleter::operator()(SSL_CTX* context) const { SSL_CTX_free(context); }

Result<Identities> IdentityMaker::make(RoutingTable& table) {
  if (table.trust_bundle.empty()) table.trust_bundle = bundle_;
  for (const auto& pod : table.pods) {
    const auto before = made_.find(pod.identity);
    if (pod.tunnels && before != made_.end() && before->second.identity->is_valid())
      table.certificates.try_emplace(pod.identity, before->second.of);
  }
  Identities out;
  std::map<std::string, Made> made;
  if (!table.certificates.empty()) {
    const auto store = make_store(table.trust_bundle);
    if (!store) return std::unexpected(store.error());
    for (const auto& [id, certificate] : table.certificates) {
      auto& one = made[id];
      const auto before = made_.find(id);
      if (table.trust_bundle == bundle_ && before != made_.end() && before->second.of == certificate) {
        one = before->second;
      } else {
        auto identity = make_identity(id, certificate, **store);
        if (!identity) return fail_in(id, identity.error());
        one = {.of = certificate, .identity = std::move(*identity)};
      }
      out.emplace(id, one.identity);
    }
  }
  bundle_ = table.trust_bundle;
  made_ = std::move(made);
  return out;
}

}  // namespace underpass::tls
