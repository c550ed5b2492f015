// SPDX-License-Identifier: Apache-2.0
// What each field and key of an AuthorizationPolicy matches of a request.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "test/unit/authz_world.h"

namespace underpass::authz {
namespace {

struct Row {
  Texts values;
  Texts not_values;
  std::string matching;
};

TEST_CASE("authz: paths match whole, by prefix, by suffix, by template, and if there is one") {
  const Texts all{"/", "/a", "/a/", "/a/b", "/ab", "/a/b.html", "/A"};
  const std::vector<Row> rows{
      {{"/a"}, {}, "/a"},
      {{"/a*"}, {}, "/a /a/ /a/b /ab /a/b.html"},
      {{"/a/*"}, {}, "/a/ /a/b /a/b.html"},
      {{"*.html"}, {}, "/a/b.html"},
      {{"*/"}, {}, "/ /a/"},
      {{"*"}, {}, "/ /a /a/ /a/b /ab /a/b.html /A"},
      {{"/a/{*}"}, {}, "/a/b /a/b.html"},
      {{"/{**}"}, {}, "/ /a /a/ /a/b /ab /a/b.html /A"},
      {{"/a", "/ab", "*.html"}, {}, "/a /ab /a/b.html"},
      {{}, {"/a*"}, "/ /A"},
      {{}, {"/a/{*}"}, "/ /a /a/ /ab /A"},
      {{"/a*"}, {"/a/*"}, "/a /ab"},
      {{"/a"}, {"/a"}, "none"},
      {{}, {"*"}, "none"},
      {{"/a*", "/a/*", "/a/b*"}, {"/a/b"}, "/a /a/ /ab /a/b.html"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.values);
    CAPTURE(row.not_values);
    CHECK(matching(to_paths(row.values, row.not_values), all, [](const auto& path) { return ask("GET", path); }) ==
          row.matching);
  }
  // CONNECT and such have none: no value matches, and all not-values hold.
  CHECK(!matches(to_paths({"*"}), ask("CONNECT", "")));
  CHECK(matches(to_paths({}, {"*"}), ask("CONNECT", "")));
  auto with_query = ask("GET", "/a");
  with_query.request.path = "/a?b";
  CHECK(matches(to_paths({"/a"}), with_query));
}

TEST_CASE("authz: methods match whole, in their case, and by wildcard") {
  const Texts all{"GET", "HEAD", "POST", "PUT", "get"};
  const std::vector<Row> rows{
      {{"GET"}, {}, "GET"},
      {{"get"}, {}, "get"},
      {{"P*"}, {}, "POST PUT"},
      {{"*T"}, {}, "GET POST PUT"},
      {{"GET", "HEAD"}, {}, "GET HEAD"},
      {{"*"}, {}, "GET HEAD POST PUT get"},
      {{}, {"GET", "P*"}, "HEAD get"},
      {{"P*"}, {"PUT"}, "POST"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.values);
    CAPTURE(row.not_values);
    CHECK(matching(to_methods(row.values, row.not_values), all, [](const auto& method) { return ask(method, "/"); }) ==
          row.matching);
  }
}

TEST_CASE("authz: hosts match in any case; a port counts where the policy names one") {
  const Texts all{"shop.example", "SHOP.example:8080", "api.shop.example", "api.shop.example:443",
                  "example",      "shop.example.evil", "[fd00::7]",        "[FD00::7]:8080"};
  const std::vector<Row> rows{
      {{"shop.example"}, {}, "shop.example SHOP.example:8080"},
      {{"Shop.Example"}, {}, "shop.example SHOP.example:8080"},
      {{"shop.example:8080"}, {}, "SHOP.example:8080"},
      {{"SHOP.EXAMPLE:*"}, {}, "SHOP.example:8080"},
      {{"shop.example:80*"}, {}, "SHOP.example:8080"},
      {{"*:443"}, {}, "api.shop.example:443"},
      {{"*.example:443"}, {}, "api.shop.example:443"},
      {{"*.example"}, {}, "shop.example SHOP.example:8080 api.shop.example api.shop.example:443"},
      {{"*.shop.example"}, {}, "api.shop.example api.shop.example:443"},
      {{"shop.*"}, {}, "shop.example SHOP.example:8080 shop.example.evil"},
      {{"*443"}, {}, "none"},
      {{"[fd00::7]"}, {}, "[fd00::7] [FD00::7]:8080"},
      {{"[fd00::7]:8080"}, {}, "[FD00::7]:8080"},
      {{"[fd00:*"}, {}, "[fd00::7] [FD00::7]:8080"},
      {{},
       {"shop.example"},
       "api.shop.example api.shop.example:443 example shop.example.evil [fd00::7] [FD00::7]:8080"},
      {{"*"}, {"*.example", "[*"}, "example shop.example.evil"},
      {{"shop.example"}, {"shop.example:8080"}, "shop.example"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.values);
    CAPTURE(row.not_values);
    CHECK(matching(to_hosts(row.values, row.not_values), all, to_host) == row.matching);
  }
  // HTTP/1.0 without Host.
  CHECK(!matches(to_hosts({"*"}), to_host("")));
  CHECK(matches(to_hosts({}, {"*"}), to_host("")));
}

TEST_CASE("authz: a header's fields are joined; one that is missing has no value") {
  const auto header = [](const Texts& values, const Texts& not_values = {}) {
    return when(Key::kHeader, strings(values, not_values), {"x-id"});
  };
  const auto with = [](const Texts& values) {
    std::vector<http::Field> fields{{"x-other", "1"}};
    for (const auto& value : values) fields.push_back({"X-Id", value});
    return with_fields(fields);
  };
  CHECK(matches(header({"1"}), with({"1"})));
  CHECK(!matches(header({"1"}), with({"2"})));
  CHECK(!matches(header({"a"}), with({"A"})));
  CHECK(matches(header({"ab*"}), with({"abc"})));
  CHECK(matches(header({"*bc"}), with({"abc"})));
  CHECK(matches(header({"*"}), with({"abc"})));
  CHECK(matches(header({"*"}), with({""})));
  CHECK(!matches(header({"*"}), with({})));
  CHECK(!matches(header({"1"}), with({})));
  CHECK(matches(header({}, {"1"}), with({})));
  CHECK(matches(header({}, {"*"}), with({})));
  CHECK(!matches(header({}, {"*"}), with({""})));
  CHECK(!matches(header({}, {"1"}), with({"1"})));
  CHECK(matches(header({"*"}, {"1"}), with({"2"})));

  CHECK(matches(header({"1,2"}), with({"1", "2"})));
  CHECK(!matches(header({"1"}), with({"1", "2"})));
  CHECK(matches(header({"1*"}), with({"1", "2"})));
  CHECK(matches(header({"*2"}), with({"1", "2"})));
  CHECK(matches(header({",,x"}), with({"", "", "x"})));

  PolicyRule both = header({"1"});  // and the one does not stand for the other
  both.when.push_back(when(Key::kHeader, strings({"2"}), {"x-other"}).when.front());
  CHECK(!matches(both, with_fields({{"x-id", "1"}})));
  CHECK(matches(both, with_fields({{"x-id", "1"}, {"x-other", "2"}})));
  PolicyRule twice = header({"1", "2"});
  twice.when.push_back(header({"2", "3"}).when.front());
  CHECK(!matches(twice, with({"1"})));
  CHECK(matches(twice, with({"2"})));
  CHECK(!matches(twice, with({"3"})));
}

TEST_CASE("authz: what is not among the fields can be asked for as a header all the same") {
  auto one = ask("POST", "/a");
  one.request.path = "/a?b=1";
  one.request.authority = "Shop.example:8080";
  one.request.protocol = "websocket";
  one.request.content_length = 12;
  one.request.expects_continue = true;
  const auto set = [](const std::string& name, const Texts& values) {
    return set_of({policy(Action::kAllow, {when(Key::kHeader, strings(values), {name})})});
  };
  const std::vector<std::pair<std::string, std::string>> rows{
      {"host", "Shop.example:8080"}, {":authority", "Shop.example:8080"},
      {":method", "POST"},           {":path", "/a?b=1"},
      {":scheme", "http"},           {"upgrade", "websocket"},
      {"expect", "100-continue"},    {"content-length", "12"}};
  for (const auto& [name, value] : rows) {
    CAPTURE(name);
    for (const auto& wanted : {value, std::string("*"), std::string("other")}) {
      const auto policies = set(name, {wanted});
      const Authorizer authorizer(policies, "cluster.local");
      const auto known = authorizer.know(one.peer);
      CHECK((authorizer.decide(known, one.subject()).kind == Kind::kAllow) == (wanted != "other"));
      auto none = ask("", "");
      none.request.authority = none.request.scheme = "";
      CHECK(authorizer.decide(known, none.subject()).kind == Kind::kDeny);
    }
  }
}

TEST_CASE("authz: a token's principal, audiences and presenter") {
  const auto principals = [](const Texts& values, const Texts& not_values = {}) {
    PolicySource out;
    out.request_principals = strings(values, not_values);
    return from(out);
  };
  const auto me = with_token("{}", "https://issuer/me");
  const Ask nobody;
  for (const auto& rule :
       {principals({"https://issuer/me"}), principals({"https://issuer/*"}), principals({"*/me"}), principals({"*"}),
        when(Key::kRequestPrincipal, strings({"https://issuer/me"})), principals({}, {"https://issuer/you"})}) {
    CHECK(matches(rule, me));
  }
  for (const auto& rule : {principals({"https://issuer/you"}), principals({"https://other/*"}), principals({}, {"*"}),
                           when(Key::kRequestPrincipal, strings({}, {"*/me"}))}) {
    CHECK(!matches(rule, me));
  }
  CHECK(!matches(principals({"*"}), nobody));
  CHECK(matches(principals({}, {"*"}), nobody));  // Istio's way to say "without a token"
  CHECK(!matches(principals({"*"}), with_token("{}", "")));

  // A subject with a slash is another than the issuer that is longer by as much, and no issuer is another's beginning.
  auto slashed = with_token("{}", "https://issuer/me");
  slashed.claims->principal = std::string("https://issuer") + jwt::kPrincipalSeparator + "a/me";
  const auto longer = with_token("{}", "https://issuer/a/me");
  CHECK(matches(principals({"https://issuer/*"}), slashed));
  CHECK(matches(principals({"https://issuer/a*"}), slashed));
  CHECK(!matches(principals({"https://issuer/a/me"}), slashed));
  CHECK(matches(principals({"https://issuer/a/me"}), longer));
  CHECK(!matches(principals({"https://issuer/*"}), longer));
  CHECK(matches(principals({"https://issuer/a/*"}), longer));
  CHECK(matches(principals({"*/a/me"}), longer));
  CHECK(!matches(principals({"*/a/me"}), slashed));
  CHECK(matches(principals({"*/me"}), longer));
  CHECK(!matches(principals({"*/me"}), slashed));
  // Without a slash a beginning is an issuer's and an end a subject's.
  const auto plain = with_token("{}", "issuer/me");
  CHECK(matches(principals({"iss*"}), plain));
  CHECK(matches(principals({"*e"}), plain));
  CHECK(!matches(principals({"issuer"}), plain));
  CHECK(!matches(principals({"*suer"}), plain));
  CHECK(!matches(principals({"m*"}), plain));

  const auto of_two = with_token("{}", "i/s", {"a", "b"}, "app");
  CHECK(matches(when(Key::kAudiences, strings({"b"})), of_two));
  CHECK(matches(when(Key::kAudiences, strings({"x", "a"})), of_two));
  CHECK(!matches(when(Key::kAudiences, strings({"x"})), of_two));
  CHECK(!matches(when(Key::kAudiences, strings({}, {"b"})), of_two));
  CHECK(matches(when(Key::kAudiences, strings({}, {"x"})), of_two));
  CHECK(!matches(when(Key::kAudiences, strings({"*"})), me));
  CHECK(matches(when(Key::kPresenter, strings({"app"})), of_two));
  CHECK(!matches(when(Key::kPresenter, strings({"*"})), me));
  CHECK(!matches(when(Key::kPresenter, strings({"app"})), nobody));
}

TEST_CASE("authz: claims are strings or lists with strings, however deep") {
  const auto claim = [](const Texts& members, const Texts& values, const Texts& not_values = {}) {
    return when(Key::kClaim, strings(values, not_values), members);
  };
  struct Claim {
    std::string payload;
    bool matches;
  };
  const std::vector<Claim> rows{
      {R"({"group":"admin"})", true},       {R"({"group":["user","admin"]})", true},
      {R"({"group":["user"]})", false},     {R"({"group":[]})", false},
      {R"({"group":"admins"})", false},     {R"({"group":1})", false},
      {R"({"group":true})", false},         {R"({"group":null})", false},
      {R"({"group":{"admin":1}})", false},  {R"({"group":[["admin"]]})", false},
      {R"({"group":[1,"admin"]})", true},   {R"({})", false},
      {R"({"group":"user admin"})", false},
  };
  for (const auto& row : rows) {
    CAPTURE(row.payload);
    CHECK(matches(claim({"group"}, {"admin"}), with_token(row.payload)) == row.matches);
    CHECK(matches(claim({"group"}, {}, {"admin"}), with_token(row.payload)) == !row.matches);
  }
  CHECK(!matches(claim({"group"}, {"admin"}), Ask()));
  CHECK(matches(claim({"group"}, {}, {"admin"}), Ask()));
  CHECK(matches(claim({"group"}, {"*"}), with_token(R"({"group":"x"})")));
  CHECK(!matches(claim({"group"}, {"*"}), with_token(R"({"group":""})")));

  const auto deep = with_token(R"({"realm":{"roles":["a","b"],"name":{"first":"x"}},"realm.roles":"c"})");
  CHECK(matches(claim({"realm", "roles"}, {"b"}), deep));
  CHECK(matches(claim({"realm", "name", "first"}, {"x"}), deep));
  CHECK(matches(claim({"realm.roles"}, {"c"}), deep));
  CHECK(!matches(claim({"realm"}, {"*"}), deep));
  CHECK(!matches(claim({"realm", "roles", "a"}, {"*"}), deep));
  CHECK(!matches(claim({"roles"}, {"b"}), deep));

  // RFC 6749 §3.3
  const auto scope = with_token(R"({"scope":"read  write","permission":"p q","deep":{"scope":"a b"}})");
  CHECK(matches(claim({"scope"}, {"write"}), scope));
  CHECK(matches(claim({"scope"}, {"read"}), scope));
  CHECK(!matches(claim({"scope"}, {"read  write"}), scope));
  CHECK(!matches(claim({"scope"}, {}, {"write"}), scope));
  CHECK(matches(claim({"permission"}, {"q"}), scope));
  CHECK(!matches(claim({"deep", "scope"}, {"a"}), scope));
}

TEST_CASE("authz: who connects, by identity") {
  const std::string web = "spiffe://cluster.local/ns/shop/sa/web";
  const std::string batch = "spiffe://example.org/ns/other/sa/batch";
  const std::string odd = "spiffe://example.org/node/7";
  const std::string nobody = "-";
  const Texts all{web, batch, odd, nobody};
  const auto make = [&](const std::string& who) { return as(who == nobody ? "" : who); };
  const auto of = [&](model::Match<StringMatch> PolicySource::* field, const Texts& values,
                      const Texts& not_values = {}) {
    PolicySource source;
    source.*field = strings(values, not_values);
    return matching(from(source), all, make);
  };
  CHECK(of(&PolicySource::principals, {"cluster.local/ns/shop/sa/web"}) == web);
  CHECK(of(&PolicySource::principals, {"example.org/*"}) == batch + " " + odd);
  CHECK(of(&PolicySource::principals, {"*/sa/batch"}) == batch);
  CHECK(of(&PolicySource::principals, {"*"}) == web + " " + batch + " " + odd);
  CHECK(of(&PolicySource::principals, {}, {"*"}) == nobody);
  CHECK(of(&PolicySource::namespaces, {"shop"}) == web);
  CHECK(of(&PolicySource::namespaces, {"sh*", "*er"}) == web + " " + batch);
  CHECK(of(&PolicySource::namespaces, {}, {"shop"}) == batch + " " + odd + " " + nobody);
  CHECK(of(&PolicySource::service_accounts, {"other/batch"}) == batch);
  CHECK(of(&PolicySource::service_accounts, {}, {"other/batch"}) == web + " " + odd + " " + nobody);
  CHECK(of(&PolicySource::trust_domains, {"example.org"}) == batch + " " + odd);
  CHECK(of(&PolicySource::trust_domains, {}, {"cluster.local"}) == batch + " " + odd + " " + nobody);
  CHECK(matching(when(Key::kSourceNamespace, strings({"shop"})), all, make) == web);
  CHECK(matching(when(Key::kSourcePrincipal, strings({"*/ns/shop/sa/web"})), all, make) == web);
}

TEST_CASE("authz: an identity of another form has a principal and a trust domain alone") {
  for (const auto* identity : {"spiffe://td/ns/shop/sa/web/", "spiffe://td/ns/shop/sa/web/more",
                               "spiffe://td/ns/shop/sa/", "spiffe://td/ns/shop", "spiffe://td/ns//sa/web",
                               "spiffe://td/x/ns/shop/sa/web", "spiffe://td/sa/web/ns/shop"}) {
    CAPTURE(identity);
    PolicySource principal, trust_domain, ns, account;
    principal.principals = strings({std::string(identity).substr(9)});
    trust_domain.trust_domains = strings({"td"});
    ns.namespaces = strings({"*"});
    account.service_accounts = strings({"*"});
    CHECK(matches(from(principal), as(identity)));
    CHECK(matches(from(trust_domain), as(identity)));
    CHECK(!matches(from(ns), as(identity)));
    CHECK(!matches(from(account), as(identity)));
  }
  PolicySource any;
  any.principals = strings({"*"});
  CHECK(!matches(from(any), as("cluster.local/ns/shop/sa/web")));
}

TEST_CASE("authz: from where and to where, by address and port") {
  const Texts all{"10.0.0.8", "10.1.0.8", "192.0.2.1", "fd00::8", "fd01::8"};
  const auto from_client = [](const std::string& address) {
    Ask out;
    out.peer.client_ip = ip(address);
    return out;
  };
  const auto source = [](const Texts& values, const Texts& not_values = {}) {
    PolicySource out;
    out.ip_blocks = blocks(values, not_values);
    return from(out);
  };
  CHECK(matching(source({"10.0.0.0/8"}), all, from_client) == "10.0.0.8 10.1.0.8");
  CHECK(matching(source({"10.0.0.8"}), all, from_client) == "10.0.0.8");
  CHECK(matching(source({"10.0.0.0/8"}, {"10.1.0.0/16"}), all, from_client) == "10.0.0.8");
  CHECK(matching(source({"0.0.0.0/0"}), all, from_client) == "10.0.0.8 10.1.0.8 192.0.2.1");
  CHECK(matching(source({"::/0"}), all, from_client) == "fd00::8 fd01::8");
  CHECK(matching(source({"fd00::/16", "192.0.2.0/31"}), all, from_client) == "192.0.2.1 fd00::8");
  CHECK(matching(source({}, {"::/0"}), all, from_client) == "10.0.0.8 10.1.0.8 192.0.2.1");

  Ask proxied;
  proxied.peer.client_ip = ip("10.0.0.9");
  proxied.peer.remote_ip = ip("192.0.2.1");
  PolicySource remote;
  remote.remote_ip_blocks = blocks({"192.0.2.0/24"});
  CHECK(matches(from(remote), proxied));
  CHECK(!matches(source({"192.0.2.0/24"}), proxied));
  const auto condition = [](Key key, const Texts& values) {
    PolicyCondition out{.key = key, .name = "key"};
    out.blocks = blocks(values);
    return PolicyRule{.from = {}, .to = {}, .when = {out}};
  };
  CHECK(matches(condition(Key::kSourceIp, {"10.0.0.9"}), proxied));
  CHECK(matches(condition(Key::kRemoteIp, {"192.0.2.1"}), proxied));
  CHECK(matches(condition(Key::kDestinationIp, {"10.0.0.7"}), proxied));
  CHECK(!matches(condition(Key::kDestinationIp, {"10.0.0.9"}), proxied));

  const auto at_port = [](const std::string& port) {
    Ask out;
    out.peer.server_port = static_cast<std::uint16_t>(std::stoi(port));
    return out;
  };
  const auto ports = [](std::vector<std::uint16_t> values, std::vector<std::uint16_t> not_values = {}) {
    PolicyOperation out;
    out.ports = {.values = std::move(values), .not_values = std::move(not_values)};
    return to(out);
  };
  CHECK(matching(ports({80, 8080}), {"80", "808", "8080"}, at_port) == "80 8080");
  CHECK(matching(ports({}, {80}), {"80", "808", "8080"}, at_port) == "808 8080");
  auto both = ports({80, 8080});
  both.when = {{.key = Key::kDestinationPort, .name = "destination.port"}};
  both.when.front().ports.values = {8080, 443};
  CHECK(matching(both, {"80", "443", "8080"}, at_port) == "8080");
}

TEST_CASE("authz: a rule matches with one source, one operation and all conditions") {
  PolicyRule rule;
  rule.from = {PolicySource{}, PolicySource{}};
  rule.from[0].principals = strings({"cluster.local/ns/default/sa/sleep"});
  rule.from[1].namespaces = strings({"test"});
  rule.to = {PolicyOperation{}, PolicyOperation{}};
  rule.to[0].methods = strings({"GET"});
  rule.to[0].paths = paths({"/info*"});
  rule.to[1].methods = strings({"POST"});
  rule.to[1].paths = paths({"/data"});
  rule.when = when(Key::kClaim, strings({"https://accounts.google.com"}), {"iss"}).when;

  const auto asks = [](const std::string& identity, const std::string& method, const std::string& path,
                       const std::string& issuer) {
    auto out = with_token(R"({"iss":")" + issuer + R"("})");
    out.peer.identity = "spiffe://cluster.local/ns/" + identity;
    out.request.method = method;
    out.path = path;
    return out;
  };
  const std::string google = "https://accounts.google.com";
  CHECK(matches(rule, asks("default/sa/sleep", "GET", "/info/x", google)));
  CHECK(matches(rule, asks("default/sa/sleep", "POST", "/data", google)));
  CHECK(matches(rule, asks("test/sa/any", "POST", "/data", google)));
  CHECK(!matches(rule, asks("default/sa/other", "GET", "/info", google)));
  CHECK(!matches(rule, asks("test/sa/any", "POST", "/info", google)));
  CHECK(!matches(rule, asks("test/sa/any", "GET", "/data", google)));
  CHECK(!matches(rule, asks("test/sa/any", "GET", "/info", "https://other")));
  CHECK(matches(PolicyRule{}, Ask()));
}

}  // namespace
}  // namespace underpass::authz
