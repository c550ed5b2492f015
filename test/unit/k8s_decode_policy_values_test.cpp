// SPDX-License-Identifier: Apache-2.0
// What stands in the lists of an AuthorizationPolicy: strings with wildcards, blocks of addresses, ports, accounts,
// templates of paths, and keys of conditions.
#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "test/unit/k8s_policy_text.h"

namespace underpass::k8s {
namespace {

TEST_CASE("policy: strings with wildcards") {
  const auto match = [](const std::string& text) { return source("namespaces: ['" + text + "']").namespaces.values; };
  CHECK(match("a") == std::vector{exactly("a")});
  CHECK(match("a*") == std::vector{StringMatch{Kind::kPrefix, "a"}});
  CHECK(match("*a") == std::vector{StringMatch{Kind::kSuffix, "a"}});
  CHECK(match("*") == std::vector{StringMatch{Kind::kPresent, ""}});
  for (const char* wrong : {"*a*", "a*b", "**", "*a*b", "a**", "***"}) {
    const auto text = std::string("\"") + wrong + "\": one wildcard (*) may stand, at one end";
    CHECK(bad_source(std::string("principals: ['") + wrong + "']") ==
          "spec.rules[0].from[0].source.principals[0]: " + text);
    CHECK(bad_source(std::string("notNamespaces: [a, '") + wrong + "']") ==
          "spec.rules[0].from[0].source.notNamespaces[1]: " + text);
    CHECK(bad_source(std::string("trustDomains: ['") + wrong + "']") ==
          "spec.rules[0].from[0].source.trustDomains[0]: " + text);
    CHECK(bad_condition(std::string("key: source.namespace, values: ['") + wrong + "']") ==
          "spec.rules[0].when[0].values[0]: " + text);
    CHECK(bad_condition(std::string("key: source.principal, notValues: ['") + wrong + "']") ==
          "spec.rules[0].when[0].notValues[0]: " + text);
  }
}

TEST_CASE("policy: only what must not match") {
  CHECK(source("notPrincipals: [a]").principals == model::Match<StringMatch>{{}, {exactly("a")}});
  CHECK(source("notNamespaces: [a]").namespaces.values.empty());
  CHECK(source("notIpBlocks: [10.0.0.1], ipBlocks: []").ip_blocks.not_values == std::vector{block("10.0.0.1", 128)});
  CHECK(operation("notPorts: ['80']").ports == model::Match<std::uint16_t>{{}, {80}});
  CHECK(operation("notPaths: [/a]").paths.not_values == std::vector{exactly("/a")});
  CHECK(condition("key: source.namespace, notValues: [a]").strings.not_values == std::vector{exactly("a")});
  CHECK(source("requestPrincipals: [], namespaces: [a]").request_principals.empty());
}

TEST_CASE("policy: blocks of addresses") {
  const auto ip_block = [](const std::string& text) { return source("ipBlocks: ['" + text + "']").ip_blocks.values; };
  CHECK(ip_block("10.0.0.0/8") == std::vector{block("10.0.0.0", 104)});
  CHECK(ip_block("10.0.0.1/32") == std::vector{block("10.0.0.1", 128)});
  CHECK(ip_block("10.0.0.254/31") == std::vector{block("10.0.0.254", 127)});
  CHECK(ip_block("0.0.0.0/0") == std::vector{block("0.0.0.0", 96)});
  CHECK(ip_block("::/0") == std::vector{block("::", 0)});
  CHECK(ip_block("fd00:0:0:8000::/49") == std::vector{block("fd00:0:0:8000::", 49)});
  CHECK(ip_block("fd00::1/128") == std::vector{block("fd00::1", 128)});

  struct Row {
    const char* text;
    const char* cause;
  };
  const Row rows[] = {
      {"10.0.0.0/33", "prefix exceeds 32"},
      {"10.0.0.0/4294967304", "prefix exceeds 32"},
      {"fd00::/129", "prefix exceeds 128"},
      {"10.0.0.0/", "prefix is not a number"},
      {"10.0.0.0/-1", "prefix is not a number"},
      {"10.0.0.0/+8", "prefix is not a number"},
      {"10.0.0.0/08", "prefix is not a number"},
      {"10.0.0.0/8 ", "prefix is not a number"},
      {"10.0.0.0/8/8", "prefix is not a number"},
      {"10.0.0.0/255.0.0.0", "prefix is not a number"},
      {"10.0.0.1/8", "has bits behind its prefix: the block is 10.0.0.0/8"},
      {"10.0.0.255/31", "has bits behind its prefix: the block is 10.0.0.254/31"},
      {"10.0.0.1/0", "has bits behind its prefix: the block is 0.0.0.0/0"},
      {"fd00::1/64", "has bits behind its prefix: the block is fd00::/64"},
      {"fd00:0:0:8000::/48", "has bits behind its prefix: the block is fd00::/48"},
      {"::1/0", "has bits behind its prefix: the block is ::/0"},
      {"::ffff:10.0.0.0/104", "IPv4 in the form of IPv6: write it as IPv4"},
      {"::ffff:0:0/96", "IPv4 in the form of IPv6: write it as IPv4"},
      {"10.0.0", "not an IP address or block (10.0.0.0/8)"},
      {"10.0.0.0.0/8", "not an IP address or block (10.0.0.0/8)"},
      {"010.0.0.0/8", "not an IP address or block (10.0.0.0/8)"},
      {"/8", "not an IP address or block (10.0.0.0/8)"},
      {" 10.0.0.1", "not an IP address or block (10.0.0.0/8)"},
      {"fe80::1%eth0", "not an IP address or block (10.0.0.0/8)"},
      {"[fd00::1]", "not an IP address or block (10.0.0.0/8)"},
      {"web.example.com", "not an IP address or block (10.0.0.0/8)"},
      {"*", "not an IP address or block (10.0.0.0/8)"},
  };
  for (const auto& row : rows) {
    const auto message = std::string(": \"") + row.text + "\": " + row.cause;
    for (const char* list : {"ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks"}) {
      CHECK(bad_source(std::string(list) + ": [10.0.0.1, '" + row.text + "']") ==
            "spec.rules[0].from[0].source." + std::string(list) + "[1]" + message);
    }
    for (const char* key : {"source.ip", "remote.ip", "destination.ip"}) {
      CHECK(bad_condition(std::string("key: ") + key + ", notValues: ['" + row.text + "']") ==
            "spec.rules[0].when[0].notValues[0]" + message);
    }
  }
  CHECK(bad("rules: [{}, {}, {}, {from: [{source: {ipBlocks: [10.0.0.1, 10.0.0.2, 10.0.0.3/33]}}]}]") ==
        "spec.rules[3].from[0].source.ipBlocks[2]: \"10.0.0.3/33\": prefix exceeds 32");
}

TEST_CASE("policy: ports") {
  CHECK(operation("ports: ['1', '65535']").ports.values == std::vector<std::uint16_t>{1, 65535});
  for (const char* wrong :
       {"0", "65536", "-1", "+80", "080", "80-90", "http", "8 0", "80.0", "0x50", "*", "99999999999999999999"}) {
    const auto message = std::string(": \"") + wrong + "\": must be 1 to 65535";
    CHECK(bad_operation(std::string("ports: ['80', '") + wrong + "']") ==
          "spec.rules[0].to[0].operation.ports[1]" + message);
    CHECK(bad_operation(std::string("notPorts: ['") + wrong + "']") ==
          "spec.rules[0].to[0].operation.notPorts[0]" + message);
    CHECK(bad_condition(std::string("key: destination.port, values: ['") + wrong + "']") ==
          "spec.rules[0].when[0].values[0]" + message);
  }
  CHECK(bad_operation("ports: [80]") ==
        "spec.rules[0].to[0].operation.ports[0]: 80: must be a string (put it in quotes)");
}

TEST_CASE("policy: service accounts") {
  CHECK(source("serviceAccounts: [web]").service_accounts.values == std::vector{exactly("shop/web")});
  CHECK(source("notServiceAccounts: [other/web]").service_accounts.not_values == std::vector{exactly("other/web")});
  CHECK(condition("key: source.serviceAccount, values: [web, other/api.v1]").strings.values ==
        std::vector{StringMatch{Kind::kSuffix, "/ns/shop/sa/web"}, StringMatch{Kind::kSuffix, "/ns/other/sa/api.v1"}});
  for (const char* wrong : {"/web", "web/", "a/b/c", "*", "web*", "other/*", "*/web", "Web", "a b", "/"}) {
    const auto message =
        std::string(": \"") + wrong + "\": must be a service account or namespace/service account, without wildcards";
    CHECK(bad_source(std::string("serviceAccounts: ['") + wrong + "']") ==
          "spec.rules[0].from[0].source.serviceAccounts[0]" + message);
    CHECK(bad_source(std::string("notServiceAccounts: ['") + wrong + "']") ==
          "spec.rules[0].from[0].source.notServiceAccounts[0]" + message);
    CHECK(bad_condition(std::string("key: source.serviceAccount, notValues: ['") + wrong + "']") ==
          "spec.rules[0].when[0].notValues[0]" + message);
  }
  for (const char* other : {"principals: [a]", "notPrincipals: [a]", "namespaces: [a]", "notNamespaces: [a]"}) {
    CHECK(bad_source(std::string("serviceAccounts: [web], ") + other) ==
          "spec.rules[0].from[0].source: serviceAccounts cannot stand beside principals or namespaces");
    CHECK(bad_source(std::string("notServiceAccounts: [web], ") + other) ==
          "spec.rules[0].from[0].source: serviceAccounts cannot stand beside principals or namespaces");
  }
}

TEST_CASE("policy: keys of conditions") {
  struct Row {
    const char* key;
    Key decoded;
    const char* value;
  };
  const Row rows[] = {
      {"source.ip", Key::kSourceIp, "10.0.0.1"},
      {"remote.ip", Key::kRemoteIp, "10.0.0.1"},
      {"source.namespace", Key::kSourceNamespace, "a"},
      {"source.principal", Key::kSourcePrincipal, "a"},
      {"destination.ip", Key::kDestinationIp, "10.0.0.1"},
      {"destination.port", Key::kDestinationPort, "80"},
      {"request.headers[x]", Key::kHeader, "a"},
      {"request.experimental.inline.headers[x]", Key::kUnsupported, "a"},
      {"request.auth.principal", Key::kRequestPrincipal, "a"},
      {"request.auth.audiences", Key::kAudiences, "a"},
      {"request.auth.presenter", Key::kPresenter, "a"},
      {"request.auth.claims[iss]", Key::kClaim, "a"},
      {"request.auth.claims[a][b]", Key::kClaim, "a*"},
      {"connection.sni", Key::kUnsupported, "*.example.com"},
      {"experimental.envoy.filters.a.b[c]", Key::kUnsupported, "[d]"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.key);
    const auto key = "key: '" + std::string(row.key) + "'";
    const auto value = ": ['" + std::string(row.value) + "']";
    const auto decoded = condition(key + ", values" + value);
    CHECK(decoded.key == row.decoded);
    CHECK(decoded.name == row.key);
    CHECK(condition(key + ", values: [], notValues" + value).key == row.decoded);
    CHECK(bad_condition(key) == "spec.rules[0].when[0]: needs values or notValues");
    CHECK(bad_condition(key + ", values: [], notValues: null") == "spec.rules[0].when[0]: needs values or notValues");
    CHECK(bad_condition(key + ", values: ['']") == "spec.rules[0].when[0].values[0]: \"\": must not be empty");
    CHECK(bad_condition(key + ", notValues: [null]") == "spec.rules[0].when[0].notValues[0]: missing");
    CHECK(bad_condition(key + ", values: [5]") ==
          "spec.rules[0].when[0].values[0]: 5: must be a string (put it in quotes)");
    CHECK(bad_condition(key + ", values: a") == "spec.rules[0].when[0].values: \"a\": must be a list");
    CHECK(bad_condition(key + ", not_values: [a]") == "spec.rules[0].when[0].not_values: unknown field");
  }
  CHECK(condition("key: destination.port, values: ['80'], notValues: ['81']").ports ==
        model::Match<std::uint16_t>{{80}, {81}});
  CHECK(condition("key: source.principal, values: ['*/sa/a']").strings.values ==
        std::vector{StringMatch{Kind::kSuffix, "/sa/a"}});
  CHECK(condition("key: destination.ip, values: [10.0.0.0/8]").blocks.values == std::vector{block("10.0.0.0", 104)});
  for (const char* wrong : {"source.IP",
                            "source.ip ",
                            "source",
                            "source.labels[a]",
                            "destination.labels[version]",
                            "destination.name",
                            "destination.namespace",
                            "destination.user",
                            "request.headers",
                            "request.headers[]",
                            "request.headers[x",
                            "request.headers.x",
                            "request.headersx[y]",
                            "request.auth",
                            "request.auth.claims",
                            "request.auth.principal[x]",
                            "request.method",
                            "experimental.envoy.filters.a",
                            "experimental.envoy.filters.a[]",
                            "experimental.x[y]",
                            "connection.sni[a]",
                            "*"}) {
    CHECK(bad_condition(std::string("key: '") + wrong + "', values: [a]") ==
          std::string("spec.rules[0].when[0].key: \"") + wrong + "\": unknown key");
  }
}

TEST_CASE("policy: hosts in lower case, methods as they are") {
  CHECK(operation("hosts: [Shop.Example.COM, '*.Example.com', 'API-*', '*']").hosts.values ==
        std::vector{exactly("shop.example.com"), StringMatch{Kind::kSuffix, ".example.com"},
                    StringMatch{Kind::kPrefix, "api-"}, StringMatch{Kind::kPresent, ""}});
  CHECK(operation("methods: [Get]").methods.values == std::vector{exactly("Get")});
  for (const char* list : {"hosts", "notHosts", "methods", "notMethods"}) {
    CHECK(bad_operation(std::string(list) + ": ['a{*}']") ==
          "spec.rules[0].to[0].operation." + std::string(list) +
              "[0]: \"a{*}\": one wildcard (*) may stand, at one end");
  }
}

TEST_CASE("policy: templates of paths, as Istio takes them") {
  for (const char* path : {"/{*}", "/{**}", "/a/{*}", "/a/{*}/", "/{*}/{*}/a", "/a/{**}/b.c", "/{*}/b/{**}",
                           "/a~b_c-d.e/%20/!$&'()+,;:@=/{*}"}) {
    CAPTURE(path);
    const auto list = std::string("[\"") + path + "\"]";
    CHECK(operation("paths: " + list).paths.values == std::vector{StringMatch{Kind::kTemplate, path}});
    CHECK(operation("notPaths: " + list).paths.not_values == std::vector{StringMatch{Kind::kTemplate, path}});
  }
  const std::string braces = "of { and } only {*} and {**} may stand, each as a whole segment";
  const std::string alone = "*, { and } may stand in {*} and {**} alone, and other characters must be a path's";
  const std::string whole = "{*} and {**} must be whole segments";
  const std::string empty = "has an empty segment";
  const std::string last = "{**} must be the last operator";
  const std::pair<const char*, std::string> rows[] = {
      {"{*}", "a template must begin with /"},
      {"a/{*}", "a template must begin with /"},
      {"*/{*}", "a template must begin with /"},
      {"/a{*}", whole},
      {"/{*}a", whole},
      {"/{*}{*}", whole},
      {"/{*}/{a}", alone},
      {"/{*}/{***}", alone},
      {"/{*}/}", alone},
      {"/{**}{*}/a", whole},
      {"/{a}", braces},
      {"/a/{", braces},
      {"/}*", braces},
      {"/{**}/{**}", last},
      {"/{**}/{*}", last},
      {"/{**}/a/{*}", last},
      {"/{*}/*", alone},
      {"/{*}/a*", alone},
      {"/*/{*}", alone},
      {"//{*}", empty},
      {"/{*}//a", empty},
      {"/{*}//", empty},
      {"/a b/{*}", alone},
      {"/{*}/a?b", alone},
      {"/{*}/a#b", alone},
      {"/{*}/a|b", alone},
  };
  for (const auto& [path, cause] : rows) {
    for (const std::string list : {"paths", "notPaths"}) {
      CHECK(bad_operation(list + ": [/ok, \"" + path + "\"]") ==
            "spec.rules[0].to[0].operation." + list + "[1]: \"" + path + "\": " + cause);
    }
  }
}

TEST_CASE("policy: what stands in the brackets of a key") {
  using Texts = std::vector<std::string>;
  const auto members = [](const std::string& key) { return condition("key: '" + key + "', values: [a]").members; };
  CHECK(members("request.headers[X-Id]") == Texts{"x-id"});
  CHECK(members("request.headers[x_id.v2]") == Texts{"x_id.v2"});
  CHECK(members("request.auth.claims[Groups]") == Texts{"Groups"});
  CHECK(members("request.auth.claims[a][b.c][d e]") == Texts{"a", "b.c", "d e"});
  CHECK(members("request.auth.claims[https://example.com/role]") == Texts{"https://example.com/role"});
  CHECK(members("request.auth.presenter").empty());
  const auto refused = [](const std::string& key, const std::string& cause) {
    CHECK(bad_condition("key: '" + key + "', values: [a]") == "spec.rules[0].when[0].key: \"" + key + "\": " + cause);
  };
  for (const char* name : {":authority", ":method", ":path", ":scheme", "host", "Host"}) {
    refused("request.headers[" + std::string(name) + "]",
            "not supported: ask for hosts, methods or paths of the operation");
  }
  for (const char* name : {"a b", "a:b", "a,b"}) {
    refused("request.headers[" + std::string(name) + "]", "not a name of a header in brackets");
  }
  for (const char* key :
       {"request.headers[a][b]", "request.headers[a[b]", "request.headers[[a]]", "request.headers[a]b",
        "request.auth.claims[]", "request.auth.claims[a][]", "request.auth.claims[a]b]", "request.auth.claims[a][b",
        "request.auth.claims[a].b", "request.auth.claims[[a]"}) {
    refused(key, "unknown key");
  }
}

}  // namespace
}  // namespace underpass::k8s
