// SPDX-License-Identifier: Apache-2.0
// From RequestAuthentications to what is fetched, and from what was fetched to workers, status and metrics.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "agent/key_sets.h"
#include "test/unit/k8s_api_server.h"

namespace underpass {
namespace {

using std::chrono::milliseconds;

model::RequestAuthentication asking(const std::vector<std::pair<std::string, std::string>>& rules) {
  model::RequestAuthentication object{.id = {"shop", "jwt"}};
  for (const auto& [uri, jwks] : rules)
    object.rules.push_back({.issuer = "a", .jwks_uri = uri, .jwks = jwks, .fetch_timeout = milliseconds(700)});
  return object;
}

TEST_CASE("jwks: what is fetched for policies") {
  const std::vector objects{asking({{"https://a/", ""}, {"https://b/", "{}"}, {"", ""}}), asking({{"https://a/", ""}})};
  CHECK(wanted_sets(objects) == std::set<jwks::Wanted>{{.uri = "https://a/", .timeout = milliseconds(700)}});
}

TEST_CASE("jwks: a worker is given the sets that its policies name") {
  const auto set_of = [](const model::RequestAuthentication& object) {
    return std::make_shared<const HttpPolicySet>(HttpPolicySet{.authentications = {object}});
  };
  const std::vector sets{set_of(asking({{"https://a/", ""}, {"https://never/", ""}})),
                         set_of(asking({{"https://c/", ""}, {"https://d/", "{}"}}))};
  CHECK(key_sets_of({{"https://a/", "A"}, {"https://b/", "B"}, {"https://c/", "C"}, {"https://d/", "D"}}, sets) ==
        std::map<std::string, std::string>{{"https://a/", "A"}, {"https://c/", "C"}});
}

// "name{label} value" line by line.
std::string text_of(const std::vector<prometheus::MetricFamily>& families) {
  std::string out;
  for (const auto& family : families)
    for (const auto& metric : family.metric) {
      const auto value = family.type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value;
      out += family.name + (metric.label.empty() ? "" : "{" + metric.label[0].value + "}") + " " +
             std::to_string(static_cast<int>(value)) + "\n";
    }
  return out;
}

TEST_CASE("jwks: what is told of sets") {
  boost::asio::io_context io;
  test::ScriptedServer server(io, [](const std::string& head) {
    return head.starts_with("GET /good ") ? test::http_answer("200 OK", R"({"keys":[{"kty":"RSA"}]})")
                                          : test::http_answer("404 Not Found", "");
  });
  jwks::FetcherOptions options;
  options.may_dial = [](const std::string&, const IpAddress&) { return Result<void>{}; };
  jwks::Fetcher fetcher(io, options, nullptr);
  const auto base = "http://127.0.0.1:" + std::to_string(server.port());
  fetcher.set_wanted({{.uri = base + "/good"}, {.uri = base + "/bad"}, {.uri = "ftp://a/"}});
  REQUIRE(test::run_until(io, [&] { return fetcher.counts().succeeded + fetcher.counts().failed == 2; }));
  CHECK(text_of(collect_key_sets(fetcher)) ==
        "underpass_jwks_fetches_total{success} 1\nunderpass_jwks_fetches_total{failure} 1\n"
        "underpass_jwks_sets{fresh} 1\nunderpass_jwks_sets{stale} 0\nunderpass_jwks_sets{missing} 2\n"
        "underpass_jwks_unencrypted_sets 2\n");
  const auto problems = key_set_problems(fetcher);
  REQUIRE(problems.size() == 2);
  CHECK(problems[0].starts_with("jwks ftp://a/: neither https:// nor http://, since 20"));
  CHECK(problems[1].starts_with("jwks " + base + "/bad: 404 Not Found, since 20"));
  CHECK(problems[1].ends_with("Z; its tokens are refused"));
}

}  // namespace
}  // namespace underpass
