// SPDX-License-Identifier: Apache-2.0
// What a jwks_uri may say and which addresses it may lead to: whoever may write a RequestAuthentication must not reach
// through the agent what he cannot reach himself.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "agent/jwks/address_guard.h"
#include "agent/jwks/key_set_text.h"
#include "agent/jwks/uri.h"

namespace underpass::jwks {
namespace {

std::string text_of(const std::string& uri) {
  const auto parsed = parse_uri(uri);
  if (!parsed) return "refused: " + parsed.error().message;
  return (parsed->tls ? "tls " : "plain ") + parsed->host + " " + parsed->port + " " + parsed->target;
}

TEST_CASE("jwks uri: what it comes to") {
  const struct {
    std::string uri;
    std::string expected;
  } rows[] = {
      {"https://issuer.example/keys", "tls issuer.example 443 /keys"},
      {"HTTPS://Issuer.Example./keys?p=1&q", "tls issuer.example 443 /keys?p=1&q"},
      {"http://keys.shop.svc:8080", "plain keys.shop.svc 8080 /"},
      {"https://issuer.example?p=1", "tls issuer.example 443 /?p=1"},
      {"https://203.0.113.1:8443/a", "tls 203.0.113.1 8443 /a"},
      {"https://[2001:db8::1]:8443/a", "tls 2001:db8::1 8443 /a"},
      {"https://[2001:DB8::1]/a", "tls 2001:DB8::1 443 /a"},
      {"https://a/b@c:d", "tls a 443 /b@c:d"},
  };
  for (const auto& [uri, expected] : rows) CHECK(text_of(uri) == expected);
  for (const char* bad : {"",
                          "issuer.example/keys",
                          "ftp://issuer.example/",
                          "file:///etc/passwd",
                          "https:/issuer.example",
                          "https://",
                          "https:///keys",
                          "https://user@issuer.example/",
                          "https://user:word@issuer.example/",
                          "https://issuer.example@127.0.0.1/",
                          "https://issuer.example\\@127.0.0.1/",
                          "https://issuer.example/#a",
                          "https://issuer.example#@127.0.0.1/",
                          "https://issuer example/",
                          "https://issuer.example/a b",
                          "https://issuer.example/\r\nx: y",
                          "https://issuer.ex\xc3\xa4mple/",
                          "https://issuer.example:/",
                          "https://issuer.example:0/",
                          "https://issuer.example:65536/",
                          "https://issuer.example:+80/",
                          "https://issuer.example:80:80/",
                          "https://.example/",
                          "https://a..example/",
                          "https://a%2eexample/",
                          "https://2130706433/",
                          "https://0x7f000001/",
                          "https://0x7f.1/",
                          "https://127.1/",
                          "https://0177.0.0.1/",
                          "https://127.0.0.01/",
                          "https://127.0.0.0x1/",
                          "https://1.2.3.4.5/",
                          "https://256.1.1.1/",
                          "https://[::1/",
                          "https://[::1]x/",
                          "https://[127.0.0.1]/",
                          "https://[fe80::1%25eth0]/",
                          "https://[]/",
                          "https://::1/"})
    CHECK_MESSAGE(text_of(bad).starts_with("refused: "), bad);
  CHECK(text_of("https://a/" + std::string(2048, 'a')).starts_with("refused: longer"));
}

TEST_CASE("jwks guard: which addresses are dialled") {
  // + always, s for a Service's name or with allow_private, - never.
  const struct {
    const char* address;
    char expected;
  } rows[] = {
      {"93.184.216.34", '+'},
      {"1.1.1.1", '+'},
      {"172.15.255.255", '+'},
      {"172.32.0.0", '+'},
      {"11.0.0.0", '+'},
      {"100.128.0.0", '+'},
      {"169.253.255.255", '+'},
      {"223.255.255.255", '+'},
      {"2606:4700::1111", '+'},
      {"2001:4860::8888", '+'},
      {"10.0.0.1", 's'},
      {"10.255.255.255", 's'},
      {"172.16.0.1", 's'},
      {"172.31.255.255", 's'},
      {"192.168.1.1", 's'},
      {"100.64.0.1", 's'},
      {"198.18.0.1", 's'},
      {"fd00::1", 's'},
      {"fc12:3456::1", 's'},
      {"fec0::1", 's'},
      {"127.0.0.1", '-'},
      {"127.255.255.254", '-'},
      {"0.0.0.0", '-'},
      {"0.1.2.3", '-'},
      {"169.254.169.254", '-'},
      {"169.254.0.1", '-'},
      {"169.254.170.2", '-'},
      {"100.100.100.200", '-'},
      {"192.0.0.192", '-'},
      {"168.63.129.16", '-'},
      {"224.0.0.1", '-'},
      {"239.255.255.255", '-'},
      {"240.0.0.1", '-'},
      {"255.255.255.255", '-'},
      {"::", '-'},
      {"::1", '-'},
      {"fe80::1", '-'},
      {"febf::1", '-'},
      {"ff02::1", '-'},
      {"fd00:ec2::254", '-'},
      {"2001:0:4136:e378::1", '-'},
      {"::ffff:127.0.0.1", '-'},
      {"::ffff:169.254.169.254", '-'},
      {"::ffff:10.0.0.1", 's'},
      {"::ffff:1.1.1.1", '+'},
      {"::127.0.0.1", '-'},
      {"::10.0.0.1", 's'},
      {"64:ff9b::169.254.169.254", '-'},
      {"64:ff9b::10.0.0.1", 's'},
      {"64:ff9b::1.1.1.1", '+'},
      {"64:ff9b:1::a", 's'},
      {"2002:7f00:1::1", '-'},
      {"2002:a9fe:a9fe::1", '-'},
      {"2002:a00:1::", 's'},
      {"2002:101:101::1", '+'},
      {"203.0.113.77", '-'},
      {"::ffff:203.0.113.77", '-'},
      {"64:ff9b::203.0.113.77", '-'},
      {"2001:db8::77", '-'},
      {"192.168.7.7", '-'},  // the node's own
  };
  const auto own = [] {
    return std::vector{*IpAddress::parse("203.0.113.77"), *IpAddress::parse("2001:db8::77"),
                       *IpAddress::parse("192.168.7.7")};
  };
  const GuardOptions strict{.cluster_domain = "mesh.local", .own = own};
  const GuardOptions open{.cluster_domain = "mesh.local", .allow_private = true, .own = own};
  for (const auto& [text, expected] : rows) {
    CAPTURE(text);
    const auto address = *IpAddress::parse(text);
    const bool always = expected == '+';
    const bool inside = expected != '-';
    CHECK(may_dial(strict, "issuer.example", address).has_value() == always);
    CHECK(may_dial(strict, text, address).has_value() == always);
    CHECK(may_dial(strict, "svc", address).has_value() == always);
    CHECK(may_dial(strict, "keys.shop.svc.example", address).has_value() == always);
    CHECK(may_dial(strict, "keys.shop.svc.cluster.local", address).has_value() == always);
    CHECK(may_dial(strict, "keys.shop.svc", address).has_value() == inside);
    CHECK(may_dial(strict, "keys.shop.svc.mesh.local", address).has_value() == inside);
    CHECK(may_dial(open, "issuer.example", address).has_value() == inside);
  }
  CHECK(may_dial(strict, "issuer.example", *IpAddress::parse("169.254.169.254")).error().message ==
        "169.254.169.254 is link-local, which is not asked for keys");
}

TEST_CASE("jwks guard: the node's own addresses are those of its interfaces") {
  const auto own = interface_addresses();
  CHECK(std::ranges::find(own, *IpAddress::parse("127.0.0.1")) != own.end());
}

TEST_CASE("jwks text: what looks like a key set") {
  const auto problem = [](std::string_view text) {
    const auto good = check_key_set(text);
    return good ? std::string() : good.error().message;
  };
  CHECK(problem(R"({"keys":[{"kty":"RSA"}],"more":1})").empty());
  CHECK(problem(R"({"keys":[]})") == "a key set without keys");
  CHECK(problem(R"({"keys":[1]})") == "a key set without keys");
  CHECK(problem(R"({"keys":{}})") == "no key set: \"keys\" is missing, or not a list");
  CHECK(problem(R"([])") == "no key set: \"keys\" is missing, or not a list");
  CHECK(problem(R"({"issuer":"x"})") == "no key set: \"keys\" is missing, or not a list");
  CHECK(problem("<html>").starts_with("not JSON"));
  CHECK(problem(R"({"keys":)" + std::string(1000, '[') + std::string(1000, ']') + "}").starts_with("not JSON"));
  CHECK(problem(std::string(kMaxSetBytes + 1, ' ')) == "longer than 1048576 bytes");
}

}  // namespace
}  // namespace underpass::jwks
