// SPDX-License-Identifier: Apache-2.0
// Certificates as they are made, seen by openssl(1).
#include "agent/ca/issue.h"

#include <doctest/doctest.h>

#include <set>

#include "agent/ca/details.h"
#include "test/unit/ca_scene.h"
#include "underpass/spiffe_id.h"

using namespace underpass;
using namespace underpass::test;
using namespace std::chrono;

namespace {

struct Made {
  WallTime now = some_day();
  ca::KeyPair root = ca::make_root({.now = now, .lasts = days(3652)}).value();
  ca::KeyPair intermediate = ca::make_intermediate(root, {.now = now, .lasts = days(365)}).value();
  TempFolder folder;

  [[nodiscard]] ca::KeyPair svid(seconds lasts = hours(24)) const {
    return ca::make_svid(intermediate, kWeb, {.now = now, .lasts = lasts}).value();
  }
};

std::string pem(const std::vector<ca::CertificatePtr>& certificates) { return ca::to_pem(certificates); }

}  // namespace

TEST_CASE("ca: openssl reads an SVID as the SPIFFE standard has it") {
  const Made made;
  const auto text = text_of(made.folder, pem({made.svid().certificate}));
  CAPTURE(text);
  CHECK(text.contains("Subject: \n"));
  CHECK(text.contains("Subject Alternative Name: critical\n                URI:" + kWeb + "\n"));
  CHECK(count_of(text, "URI:") == 1);
  CHECK(text.contains("Key Usage: critical\n                Digital Signature\n"));
  CHECK(
      text.contains("Extended Key Usage: \n                TLS Web Server Authentication, TLS Web Client "
                    "Authentication\n"));
  CHECK(text.contains("Basic Constraints: critical\n                CA:FALSE\n"));
  CHECK(text.contains("ASN1 OID: prime256v1"));
  CHECK(text.contains("Signature Algorithm: ecdsa-with-SHA256"));
  CHECK(text.contains("Authority Key Identifier"));
  CHECK(text.contains("Not Before: May 17 08:55:00 2031 GMT"));
  CHECK(text.contains("Not After : May 18 09:00:00 2031 GMT"));
}

TEST_CASE("ca: openssl believes the chain, in both roles, and only from its own root") {
  const Made made;
  const auto chain = pem({made.svid().certificate, made.intermediate.certificate});
  const auto bundle = pem({made.root.certificate});
  for (const char* purpose : {"sslserver", "sslclient"}) {
    const auto verified = verify(made.folder, bundle, chain, made.now, purpose);
    CAPTURE(verified.err);
    CHECK(verified.exit.ok());
  }
  CHECK(verify(made.folder, bundle, chain, made.now - minutes(4)).exit.ok());
  CHECK_FALSE(verify(made.folder, bundle, chain, made.now - minutes(6)).exit.ok());
  CHECK_FALSE(verify(made.folder, bundle, chain, made.now + hours(25)).exit.ok());
  const Made foreign;
  CHECK_FALSE(verify(made.folder, pem({foreign.root.certificate}), chain, made.now).exit.ok());
  // An SVID signs nothing, an intermediate no other authority.
  const auto forged = ca::make_svid(made.svid(), kDb, {.now = made.now, .lasts = hours(1)}).value();
  CHECK_FALSE(verify(made.folder, bundle,
                     pem({forged.certificate, made.svid().certificate, made.intermediate.certificate}), made.now)
                  .exit.ok());
  const auto below = ca::make_intermediate(made.intermediate, {.now = made.now, .lasts = hours(1)}).value();
  const auto leaf = ca::make_svid(below, kDb, {.now = made.now, .lasts = hours(1)}).value();
  CHECK_FALSE(
      verify(made.folder, bundle, pem({leaf.certificate, below.certificate, made.intermediate.certificate}), made.now)
          .exit.ok());
}

TEST_CASE("ca: authorities, as openssl reads them") {
  const Made made;
  const auto root = text_of(made.folder, pem({made.root.certificate}));
  CHECK(root.contains("Basic Constraints: critical\n                CA:TRUE\n"));
  CHECK(root.contains("Key Usage: critical\n                Certificate Sign, CRL Sign\n"));
  const auto intermediate = text_of(made.folder, pem({made.intermediate.certificate}));
  CHECK(intermediate.contains("CA:TRUE, pathlen:0\n"));
  CHECK(ca::describe(made.root.certificate).subject != ca::describe(Made().root.certificate).subject);
}

TEST_CASE("ca: nothing lasts longer than who signed it") {
  const Made made;
  CHECK(ca::not_after(made.svid(days(400)).certificate) == ca::not_after(made.intermediate.certificate));
  const auto long_one = ca::make_intermediate(made.root, {.now = made.now, .lasts = days(9999)}).value();
  CHECK(ca::not_after(long_one.certificate) == ca::not_after(made.root.certificate));
}

TEST_CASE("ca: serials are random, and of up to 128 bits") {
  const Made made;
  std::set<std::string> serials;
  std::size_t longest = 0;
  for (int i = 0; i < 200; ++i) {
    const auto serial = ca::describe(made.svid().certificate).serial;
    serials.insert(serial);
    longest = std::max(longest, serial.size());
    CHECK(serial.size() > 16);  // hexadecimal digits: all below 2^64 do not happen
  }
  CHECK(serials.size() == 200);
  CHECK(longest == 32);
}

TEST_CASE("ca: keys are PKCS #8, and of the certificate") {
  const Made made;
  const auto svid = made.svid();
  const auto key = ca::to_pem(svid.key);
  CHECK(key.starts_with("-----BEGIN PRIVATE KEY-----\n"));
  made.folder.write("key", key);
  made.folder.write("certificate", pem({svid.certificate}));
  CHECK(openssl({"pkey", "-in", made.folder / "key", "-pubout"}) ==
        openssl({"x509", "-in", made.folder / "certificate", "-noout", "-pubkey"}));
  CHECK(ca::to_pem(made.svid().key) != key);
}

TEST_CASE("ca: identities that are none get no certificate") {
  const Made made;
  CHECK(parse_spiffe_id("spiffe://my-td.example_1/ns/Shop.1/sa/web-2_b"));
  for (const std::string identity : {
           "",
           "spiffe://",
           "http://cluster.local/ns/shop/sa/web",
           "spiffe:///ns/shop/sa/web",
           "spiffe://Cluster.local/ns/shop/sa/web",
           "spiffe://cluster.local:80/ns/shop/sa/web",
           "spiffe://user@cluster.local/ns/shop/sa/web",
           "spiffe://cluster.local/ns//sa/web",
           "spiffe://cluster.local/ns/shop/sa/",
           "spiffe://cluster.local/ns/shop",
           "spiffe://cluster.local/ns/../sa/web",
           "spiffe://cluster.local/ns/shop/sa/a/b",
           "spiffe://cluster.local/ns/a/b/sa/web",
           "spiffe://cluster.local/ns/shop/sa/web,DNS:example.org",
           "spiffe://cluster.local/ns/shop/sa/web\n",
           "spiffe://cluster.local/ns/shop/sa/w%65b",
           "spiffe://cluster.local/ns/shop/sa/web?x",
           "spiffe://a/ns/b/sa/c#d",
       }) {
    CAPTURE(identity);
    CHECK_FALSE(parse_spiffe_id(identity));
    CHECK_FALSE(ca::make_svid(made.intermediate, identity, {.now = made.now, .lasts = hours(1)}));
  }
  CHECK_FALSE(parse_spiffe_id(std::string("spiffe://a/ns/b/sa/c\0d", 22)));
  CHECK_FALSE(parse_spiffe_id("spiffe://a/ns/b/sa/" + std::string(2100, 'c')));
}

TEST_CASE("ca: PEM that is damaged, or is something else") {
  const Made made;
  const auto good = pem({made.root.certificate});
  CHECK(ca::parse_certificates("text\n" + good + "more\n" + good)->size() == 2);
  auto damaged = good;
  damaged[60] = '!';
  CHECK(ca::parse_certificates("nothing").error().message == "no certificate in it");
  CHECK(ca::parse_certificates(good + damaged).error().message.starts_with("certificate 2: damaged PEM: "));
  CHECK(ca::parse_certificates(good.substr(0, good.size() / 2)).error().message.starts_with("certificate 1: damaged"));
  CHECK(ca::parse_certificates(good + ca::to_pem(made.root.key)).error().message ==
        "certificate 2: is a PRIVATE KEY: only certificates belong here");
  CHECK(ca::parse_key(good).error().message.starts_with("no private key in PEM"));
  made.folder.write("key", ca::to_pem(made.root.key));
  const auto encrypted = openssl({"pkey", "-in", made.folder / "key", "-aes256", "-passout", "pass:secret"});
  CHECK_FALSE(ca::parse_key(encrypted));
}
