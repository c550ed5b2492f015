// SPDX-License-Identifier: Apache-2.0
// Certificate signing requests: ours, openssl(1)'s, and what is none that an authority may sign.
#include "agent/ca/request.h"

#include <doctest/doctest.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "agent/ca/issue.h"
#include "test/unit/ca_scene.h"

using namespace underpass;
using namespace underpass::test;
using namespace std::chrono;

namespace {

const std::vector<std::string> kP256{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"};

// `openssl req` with a new key, and without openssl.cnf's additions.
struct Scene {
  TempFolder folder;

  [[nodiscard]] std::string request(const std::string& name, const std::vector<std::string>& key = kP256,
                                    const std::string& subject = "/", const std::vector<std::string>& more = {}) const {
    folder.write("config", "[req]\ndistinguished_name=name\n[name]\n");
    std::vector<std::string> argv{"req",   "-new",  "-config", folder / "config", "-nodes",
                                  "-subj", subject, "-keyout", folder / "key",    "-batch"};
    argv.insert(argv.end(), key.begin(), key.end());
    if (!name.empty()) argv.insert(argv.end(), {"-addext", "subjectAltName=critical," + name});
    argv.insert(argv.end(), more.begin(), more.end());
    return openssl(argv);
  }
};

// The same request with one attribute more.
std::string with_password(const ca::Request& made) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> in(BIO_new_mem_buf(made.pem.data(), -1), BIO_free);
  const std::unique_ptr<X509_REQ, decltype(&X509_REQ_free)> request(
      PEM_read_bio_X509_REQ(in.get(), nullptr, nullptr, nullptr), X509_REQ_free);
  const unsigned char secret[] = "secret";
  REQUIRE(X509_REQ_add1_attr_by_NID(request.get(), NID_pkcs9_challengePassword, MBSTRING_ASC, secret, 6) == 1);
  REQUIRE(X509_REQ_sign(request.get(), made.key.get(), EVP_sha256()) > 0);
  const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), BIO_free);
  REQUIRE(PEM_write_bio_X509_REQ(out.get(), request.get()) == 1);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

std::string refusal(const std::string& pem) {
  const auto asked = ca::parse_request(pem);
  return asked ? "none" : asked.error().message;
}

std::string public_key(const TempFolder& folder, const char* command, const std::string& pem) {
  folder.write("pem", pem);
  return openssl({command, "-noout", "-pubkey", "-in", folder / "pem"});
}

}  // namespace

TEST_CASE("ca request: says a key and an identity, and nothing else") {
  const TempFolder folder;
  const auto made = ca::make_request(kWeb).value();
  folder.write("request", made.pem);
  const auto text = openssl({"req", "-noout", "-text", "-verify", "-in", folder / "request"});
  CAPTURE(text);
  CHECK(text.contains("Subject: \n"));
  CHECK(text.contains("ASN1 OID: prime256v1"));
  CHECK(text.contains("Subject Alternative Name: critical\n"));
  CHECK(text.contains("URI:" + kWeb + "\n"));
  CHECK(count_of(text, "X509v3") == 1);
  const auto asked = ca::parse_request(made.pem).value();
  CHECK(asked.identity == kWeb);
  CHECK(ca::make_request(kWeb).value().pem != made.pem);
  CHECK(!ca::make_request("spiffe://cluster.local/web"));
}

TEST_CASE("ca request: one that another program made is signed for its key") {
  const Scene scene;
  const WallTime now = some_day();
  const auto root = ca::make_root({.now = now, .lasts = days(3652)}).value();
  const auto pem = scene.request("URI:" + kWeb);
  const auto asked = ca::parse_request(pem).value();
  CHECK(asked.identity == kWeb);
  const auto certificate = ca::sign_svid(root, asked.identity, asked.key, {.now = now, .lasts = hours(24)}).value();
  const auto chain = ca::to_pem(std::vector{certificate}), bundle = ca::to_pem(std::vector{root.certificate});
  CHECK(public_key(scene.folder, "x509", chain) == public_key(scene.folder, "req", pem));
  for (const char* purpose : {"sslserver", "sslclient"})
    CHECK(verify(scene.folder, bundle, chain, now, purpose).exit.ok());
  const auto text = text_of(scene.folder, chain);
  CHECK(text.contains("Subject Alternative Name: critical\n                URI:" + kWeb + "\n"));
}

TEST_CASE("ca request: what asks for more, or other, is refused and told why") {
  const Scene scene;
  const std::string uri = "URI:" + kWeb;
  const std::vector<std::string> p384{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"};
  std::vector<std::string> in_full = kP256;
  in_full.insert(in_full.end(), {"-pkeyopt", "ec_param_enc:explicit"});
  CHECK(refusal(scene.request(uri)) == "none");
  CHECK(refusal(scene.request(uri, {"-newkey", "rsa:2048"})) == "its key is not of P-256");
  CHECK(refusal(scene.request(uri, p384)) == "its key is not of P-256");
  CHECK(refusal(scene.request(uri, {"-newkey", "ed25519"})) == "its key is not of P-256");
  CHECK(refusal(scene.request(uri, in_full)) == "its key is not of P-256");
  CHECK(refusal(scene.request(uri, kP256, "/CN=web")) == "it has a subject");
  const std::string more = "it asks for more, or other, than a subject alternative name";
  CHECK(refusal(scene.request("")) == more);
  CHECK(refusal(scene.request(uri, kP256, "/", {"-addext", "keyUsage=keyCertSign"})) == more);
  CHECK(refusal(scene.request(uri, kP256, "/", {"-addext", "basicConstraints=CA:TRUE"})) == more);
  CHECK(refusal(with_password(ca::make_request(kWeb).value())) == more);
  CHECK(refusal(scene.request("", kP256, "/", {"-addext", "basicConstraints=CA:TRUE"})) ==
        "it has no subject alternative name");
  CHECK(refusal(scene.request(uri + ",URI:" + kDb)) == "it has not one name");
  CHECK(refusal(scene.request(uri + ",DNS:web.shop")) == "it has not one name");
  CHECK(refusal(scene.request("DNS:web.shop")) == "its name is no URI");
  CHECK(refusal(scene.request("URI:https://web.shop/")).contains("does not begin with spiffe://"));
  CHECK(refusal(scene.request("URI:" + kWeb + "/..")).contains("not a service account"));
}

TEST_CASE("ca request: damaged, and something else") {
  const auto made = ca::make_request(kWeb).value();
  CHECK(refusal("").contains("no certificate request"));
  CHECK(refusal(ca::to_pem(made.key)).contains("no certificate request"));
  const auto root = ca::make_root({.now = some_day(), .lasts = days(1)}).value();
  CHECK(refusal(ca::to_pem(std::vector{root.certificate})).contains("no certificate request"));
  CHECK(refusal(made.pem + made.pem) == "something follows the request");
  CHECK(refusal("\n" + made.pem).contains("it begins otherwise"));
  CHECK(refusal(ca::to_pem(made.key) + made.pem).contains("it begins otherwise"));
  CHECK(refusal(std::string(20 << 10, 'x') + made.pem).contains("too long"));
  // A byte of base64 more or less is another key, name or signature, or none.
  const auto body = made.pem.find('\n') + 1, end = made.pem.find("-----END");
  for (auto at = body; at < end; ++at) {
    std::string other = made.pem;
    if (other[at] == '\n' || other[at] == '=') continue;
    other[at] = other[at] == 'A' ? 'B' : 'A';
    const auto asked = ca::parse_request(other);
    // The last bits of a block of base64 mean nothing.
    CHECK_MESSAGE((!asked || asked->identity == kWeb), other);
    if (at < end - 6) CHECK_MESSAGE(!asked, at);
  }
}
