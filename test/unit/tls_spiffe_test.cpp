// SPDX-License-Identifier: Apache-2.0
// Which texts are SPIFFE IDs, and which certificates have one.
#include <doctest/doctest.h>
#include <openssl/pem.h>

#include <memory>
#include <string>

#include "test/support/test_ca.h"
#include "underpass/spiffe_id.h"
#include "userspace_proxy/tls/spiffe.h"

namespace underpass::test {
namespace {

std::string id_of(const Svid& svid) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
      BIO_new_mem_buf(svid.chain.data(), static_cast<int>(svid.chain.size())), &BIO_free);
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr),
                                                                &X509_free);
  REQUIRE(certificate != nullptr);
  const auto id = tls::spiffe_id_of(*certificate);
  return id ? *id : "(" + id.error().message + ")";
}

TEST_CASE("spiffe: an ID in its parts") {
  const auto id = parse_spiffe_id("spiffe://cluster.local/ns/shop-1/sa/web_2.x");
  REQUIRE(id);
  CHECK(id->trust_domain == "cluster.local");
  CHECK(id->ns == "shop-1");
  CHECK(id->account == "web_2.x");
}

TEST_CASE("spiffe: what only looks like an ID is none") {
  for (const std::string text : {"",
                                 "spiffe://",
                                 "spiffe:///ns/a/sa/b",
                                 "SPIFFE://td/ns/a/sa/b",
                                 "spiffe://TD/ns/a/sa/b",
                                 "spiffe://td:1/ns/a/sa/b",
                                 "spiffe://u@td/ns/a/sa/b",
                                 "spiffe://td/ns/a/sa/b/",
                                 "spiffe://td/ns/a/sa/b/c",
                                 "spiffe://td/ns/a/sa/",
                                 "spiffe://td/ns//sa/b",
                                 "spiffe://td//ns/a/sa/b",
                                 "spiffe://td/ns/../sa/b",
                                 "spiffe://td/ns/a/sa/.",
                                 "spiffe://td/ns/a%2e/sa/b",
                                 "spiffe://td/ns/a/sa/b?c",
                                 "spiffe://td/ns/a/sa/b#c",
                                 "spiffe://td/NS/a/sa/b",
                                 "spiffe://td/ns/a/sa/b c",
                                 "https://td/ns/a/sa/b",
                                 " spiffe://td/ns/a/sa/b",
                                 "spiffe://td/sa/a/ns/b"})
    CHECK_MESSAGE(!parse_spiffe_id(text), text);
  CHECK_FALSE(parse_spiffe_id(std::string("spiffe://td/ns/a/sa/b\0", 22)));
  CHECK_FALSE(parse_spiffe_id("spiffe://td/ns/a/sa/" + std::string(2048, 'b')));
}

TEST_CASE("spiffe: a certificate has the one URI that it names, and nothing else counts") {
  const TestCa ca;
  CHECK(id_of(ca.svid("shop", "web")) == "spiffe://cluster.local/ns/shop/sa/web");
  CHECK(id_of(ca.issue(
            {.uris = {"spiffe://td/ns/a/sa/b"}, .dns = {"web.shop"}, .common_name = "spiffe://td/ns/x/sa/y"})) ==
        "spiffe://td/ns/a/sa/b");
  CHECK(id_of(ca.issue({.common_name = "spiffe://td/ns/a/sa/b"})) == "(no subjectAltName)");
  CHECK(id_of(ca.issue({.uris = {"spiffe://td/ns/a/sa/b"}, .is_ca = true})) == "(it is an authority's certificate)");
  CHECK(id_of(ca.issue({.dns = {"spiffe://td/ns/a/sa/b"}})) == "(no URI in subjectAltName)");
  CHECK(id_of(ca.issue({.uris = {"spiffe://td/ns/a/sa/b", "spiffe://td/ns/a/sa/c"}})) ==
        "(more than one URI in subjectAltName)");
  CHECK(id_of(ca.issue({.uris = {std::string("spiffe://td/ns/a/sa/b\0.evil", 27)}})) ==
        "(the URI in subjectAltName is no spiffe://TRUST-DOMAIN/ns/…/sa/…)");
}

}  // namespace
}  // namespace underpass::test
