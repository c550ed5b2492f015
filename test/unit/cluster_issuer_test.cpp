// SPDX-License-Identifier: Apache-2.0
// Certificates by CertificateSigningRequests: what is asked, and of the answers which ones are believed. The server's
// are a script's; that the controller's are good is a test of test/kube.
#include "agent/cluster_issuer.h"

#include <doctest/doctest.h>
#include <openssl/x509.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "agent/ca/issue.h"
#include "agent/ca/request.h"
#include "agent/k8s/base64.h"
#include "test/unit/k8s_api_server.h"

namespace underpass {
namespace {

namespace json = boost::json;
using ca::WallTime;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::http_answer;
using test::run_until;

const std::string kWeb = "spiffe://cluster.local/ns/shop/sa/web";
const std::string kDb = "spiffe://cluster.local/ns/shop/sa/db";
const std::string kMap = "ConfigMap underpass-system/underpass-trust";
const std::string kRequest = "CertificateSigningRequest underpass-x1";
const std::string kStream = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

WallTime now() { return std::chrono::floor<seconds>(std::chrono::system_clock::now()); }

std::string event(const std::string& type, const json::value& object) {
  const auto text = json::serialize(json::object{{"type", type}, {"object", object}});
  std::ostringstream out;
  out << std::hex << text.size() << "\r\n" << text << "\r\n";
  return out.str();
}

struct Authority {
  ca::KeyPair root = ca::make_root({.now = now(), .lasts = hours(1000)}).value();
  ca::KeyPair signer = ca::make_intermediate(root, {.now = now(), .lasts = hours(500)}).value();

  [[nodiscard]] std::string bundle() const { return ca::to_pem({&root.certificate, 1}); }
  [[nodiscard]] std::string chain(const std::string& identity, const ca::KeyPtr& key, WallTime from,
                                  seconds lasts = hours(24)) const {
    const auto leaf = ca::sign_svid(signer, identity, key, {.now = from, .lasts = lasts}).value();
    return ca::to_pem(std::vector{leaf, signer.certificate});
  }
};

// An API server with a ConfigMap, and requests that are signed as a test says.
struct Cluster {
  explicit Cluster(ClusterIssuerOptions changed = {}) : server(io, [this](const auto& text) { return serve(text); }) {
    auto opened = k8s::ApiClient::open(io, {.kubeconfig = server.kubeconfig(folder), .user_agent = "test"});
    REQUIRE(opened);
    client = std::move(*opened);
    changed.trust_bundle = {.ns = "underpass-system", .name = "underpass-trust"};
    changed.first_look = milliseconds(2);
    changed.longest_pause = milliseconds(10);
    issuer = make_cluster_issuer(io, *client, std::move(changed));
    map = map_with(json::object{{"root-cert.pem", authority.bundle()}});
  }

  static json::value map_with(const json::value& data, const std::string& version = "5") {
    return json::object{
        {"metadata", {{"namespace", "underpass-system"}, {"name", "underpass-trust"}, {"resourceVersion", version}}},
        {"data", data}};
  }

  std::string serve(const std::string& text) {
    if (text.starts_with("GET /api/v1/namespaces/underpass-system/configmaps?")) {
      CHECK(text.substr(0, text.find('\r')).contains("fieldSelector=metadata.name%3Dunderpass-trust"));
      if (text.contains("watch=1")) return kStream + std::exchange(events, "");
      return http_answer("200 OK",
                         json::serialize(json::object{{"kind", "ConfigMapList"},
                                                      {"apiVersion", "v1"},
                                                      {"metadata", {{"resourceVersion", "10"}}},
                                                      {"items", map.is_null() ? json::array() : json::array{map}}}));
    }
    if (text.starts_with("POST /apis/certificates.k8s.io/v1/certificatesigningrequests ")) {
      posted.push_back(json::parse(text.substr(text.find("\r\n\r\n") + 4)));
      if (!refusal.empty()) return refusal;
      asked = ca::parse_request(
                  k8s::decode_base64(std::string(posted.back().at_pointer("/spec/request").as_string())).value())
                  .value();
      return http_answer("201 Created", R"({"metadata": {"name": "underpass-x1"}})");
    }
    if (text.starts_with("GET /apis/certificates.k8s.io/v1/certificatesigningrequests/underpass-x1 ")) {
      ++looks;
      return answer(*asked);
    }
    return http_answer("404 Not Found", "{}");
  }

  // Until the ConfigMap has been seen.
  void start() {
    look();
    REQUIRE(run_until(io, [&] { return !issuer->trust_bundle().empty(); }));
    look();
  }
  bool look() { return issuer->look(now(), news); }

  Result<ca::Issued> ask(const std::string& identity = kWeb) {
    std::optional<Result<ca::Issued>> out;
    issuer->issue(identity, now(), [&](Result<ca::Issued> result) {
      CHECK_FALSE(out);
      out = std::move(result);
    });
    REQUIRE(run_until(io, [&] { return out.has_value(); }));
    return std::move(*out);
  }

  using Answer = std::function<std::string(const ca::Asked&)>;
  static std::string signed_with(const std::string& pem) {
    return http_answer("200 OK", json::serialize(json::object{{"metadata", {{"name", "underpass-x1"}}},
                                                              {"status", {{"certificate", k8s::encode_base64(pem)}}}}));
  }

  test::TempFolder folder;
  boost::asio::io_context io;
  Authority authority;
  json::value map;      // null: there is none
  std::string events;   // of the next watch
  std::string refusal;  // of what is posted; empty: it is taken
  Answer answer = [](const ca::Asked&) { return http_answer("200 OK", R"({"status": {}})"); };
  std::vector<json::value> posted;
  std::optional<ca::Asked> asked;
  int looks = 0;
  std::vector<std::string> news;
  test::ScriptedServer server;
  std::unique_ptr<k8s::ApiClient> client;
  std::unique_ptr<ca::Issuer> issuer;
};

TEST_CASE("cluster issuer: asked once, looked for until it is signed") {
  Cluster cluster({.svid_life = hours(2)});
  cluster.start();
  CHECK(cluster.issuer->trust_bundle() == cluster.authority.bundle());
  cluster.answer = [&](const ca::Asked& asked) {
    if (cluster.looks < 4) return http_answer("200 OK", R"({"status": {"conditions": [{"type": "Approved"}]}})");
    return Cluster::signed_with(cluster.authority.chain(asked.identity, asked.key, now()));
  };
  const auto before = now();
  const auto issued = cluster.ask();
  REQUIRE_MESSAGE(issued, issued.error().message);
  CHECK(cluster.looks == 4);
  REQUIRE(cluster.posted.size() == 1);
  auto spec = cluster.posted[0].at("spec").as_object();
  spec.erase("request");
  CHECK(spec == json::parse(R"({"signerName": "underpass.dev/workload", "expirationSeconds": 7200,
      "usages": ["digital signature", "client auth", "server auth"]})"));
  CHECK(cluster.posted[0].at("metadata") == json::parse(R"({"generateName": "underpass-"})"));
  CHECK(cluster.asked->identity == kWeb);

  CHECK(ca::describe(issued->pair.certificate).identity == kWeb);
  CHECK(X509_check_private_key(issued->pair.certificate.get(), issued->pair.key.get()) == 1);
  REQUIRE(issued->chain.size() == 2);  // without the root
  CHECK(ca::same(issued->chain[0], issued->pair.certificate));
  CHECK(ca::same(issued->chain[1], cluster.authority.signer.certificate));
  CHECK(issued->issued >= before);
  CHECK(cluster.issuer->problems(now()).empty());
  CHECK_FALSE(cluster.issuer->is_outdated(*issued, now()));
  // A new key each time.
  const auto again = cluster.ask();
  REQUIRE(again);
  CHECK(ca::to_pem(again->pair.key) != ca::to_pem(issued->pair.key));
}

TEST_CASE("cluster issuer: a word that is no certificate") {
  const auto condition = [](const std::string& type, const std::string& message) {
    return http_answer("200 OK", R"({"status": {"conditions": [{"type": "Approved", "message": "yes"},{"type": ")" +
                                     type + R"(", "message": ")" + message + R"("}]}})");
  };
  const std::pair<std::string, std::string> rows[] = {
      {condition("Denied", "node n1 runs no such pod"), kRequest + ": Denied: node n1 runs no such pod"},
      {condition("Failed", "the authority is not good"), kRequest + ": Failed: the authority is not good"},
      {http_answer("404 Not Found", R"({"reason": "NotFound"})"), kRequest + ": is gone without an answer"},
      {http_answer("200 OK", R"({"status": {"certificate": "*"}})"), kRequest + ": status.certificate: no base64"},
      {Cluster::signed_with("no PEM"), kRequest + ": status.certificate: no certificate"},
  };
  for (const auto& [answer, error] : rows) {
    CAPTURE(error);
    Cluster cluster;
    cluster.start();
    cluster.answer = [&answer](const ca::Asked&) { return answer; };
    const auto issued = cluster.ask();
    REQUIRE_FALSE(issued);
    CHECK(issued.error().message.starts_with(error));
    CHECK(cluster.looks == 1);
    CHECK(cluster.issuer->obstacle().empty());
  }
}

TEST_CASE("cluster issuer: certificates that are not believed") {
  using Make = std::function<std::string(const Authority&, const ca::Asked&)>;
  const auto time = [](WallTime at) { return ca::time_text(at); };
  const auto from = now();
  const struct {
    std::string error;
    Make make;
  } rows[] = {
      {"is of another key",
       [&](const Authority& authority, const ca::Asked& asked) {
         return authority.chain(asked.identity, ca::make_p256_key().value(), from);
       }},
      {"is of \"" + kDb + "\"",
       [&](const Authority& authority, const ca::Asked& asked) { return authority.chain(kDb, asked.key, from); }},
      {"leads to no root of " + kMap + ": ",
       [&](const Authority& /*authority*/, const ca::Asked& asked) {
         return Authority().chain(asked.identity, asked.key, from);
       }},
      {"leads to no root of " + kMap + ": ",
       [&](const Authority& authority, const ca::Asked& asked) {
         const auto leaf =
             ca::sign_svid(authority.signer, asked.identity, asked.key, {.now = from, .lasts = hours(1)}).value();
         return ca::to_pem({&leaf, 1});
       }},
      {"begins at " + time(from + hours(1) - ca::kBackdated) + ", and here it is ",
       [&](const Authority& authority, const ca::Asked& asked) {
         return authority.chain(asked.identity, asked.key, from + hours(1));
       }},
      {"ended at " + time(from - hours(1)) + ", and here it is ",
       [&](const Authority& /*authority*/, const ca::Asked& asked) {
         // Of an authority that is as old.
         Authority old;
         old.root = ca::make_root({.now = from - hours(9), .lasts = hours(99)}).value();
         old.signer = ca::make_intermediate(old.root, {.now = from - hours(9), .lasts = hours(99)}).value();
         return old.chain(asked.identity, asked.key, from - hours(3), hours(2));
       }},
  };
  for (const auto& row : rows) {
    CAPTURE(row.error);
    Cluster cluster;
    cluster.start();
    cluster.answer = [&](const ca::Asked& asked) { return Cluster::signed_with(row.make(cluster.authority, asked)); };
    const auto issued = cluster.ask();
    REQUIRE_FALSE(issued);
    CHECK_MESSAGE(issued.error().message.starts_with(kRequest + ": status.certificate: " + row.error),
                  issued.error().message);
    if (row.error.contains("here it is"))
      CHECK(issued.error().message.ends_with(": the clock of this node or of the controller's is wrong"));
  }
}

TEST_CASE("cluster issuer: a server that does not let us ask") {
  Cluster cluster;
  cluster.start();
  cluster.refusal = http_answer("403 Forbidden", R"({"reason": "Forbidden", "message": "you may not"})");
  CHECK(cluster.ask().error().message == "create certificatesigningrequests: 403 Forbidden: you may not");
  CHECK(cluster.posted.size() == 1);  // when to try again is the keeper's matter
  cluster.refusal = "close HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{";
  CHECK(cluster.ask().error().message.starts_with("create certificatesigningrequests: "));
  CHECK(cluster.issuer->obstacle().empty());
  CHECK(cluster.looks == 0);
}

TEST_CASE("cluster issuer: who does not answer is asked on, and it is said after a while") {
  Cluster cluster({.patience = seconds(0)});
  cluster.start();
  std::optional<Result<ca::Issued>> out;
  cluster.issuer->issue(kWeb, now(), [&](Result<ca::Issued> result) { out = std::move(result); });
  REQUIRE(run_until(cluster.io, [&] { return cluster.looks >= 5; }));
  CHECK(cluster.issuer->obstacle() == "the controller has not answered " + kRequest);
  REQUIRE(cluster.issuer->problems(now()).size() == 1);
  CHECK(cluster.issuer->problems(now())[0] == ca::Problem{.text = "ca the controller has not answered " + kRequest});

  // Nor may it look, or the server is broken: that is worth no new request.
  for (const std::string status : {"403 Forbidden", "500 Oops"}) {
    cluster.answer = [&](const ca::Asked&) { return http_answer(status, R"({"message": "because"})"); };
    const auto looks = cluster.looks;
    REQUIRE(run_until(cluster.io, [&] { return cluster.looks > looks + 2; }));
    CHECK(cluster.issuer->obstacle() == "get certificatesigningrequests: " + status.substr(0, 4) + ": because");
  }
  CHECK_FALSE(out);
  CHECK(cluster.posted.size() == 1);
  cluster.answer = [&](const ca::Asked& asked) {
    return Cluster::signed_with(cluster.authority.chain(asked.identity, asked.key, now()));
  };
  REQUIRE(run_until(cluster.io, [&] { return out.has_value(); }));
  CHECK(out->has_value());
  CHECK(cluster.issuer->obstacle().empty());
}

TEST_CASE("cluster issuer: without a ConfigMap nobody is asked, until it is there") {
  Cluster cluster;
  cluster.map = nullptr;
  CHECK_FALSE(cluster.look());
  CHECK(cluster.ask().error().message == kMap + ": is not there: no controller has run yet");
  CHECK(cluster.issuer->obstacle() == "it has no trust bundle yet");
  REQUIRE(cluster.issuer->problems(now()).size() == 1);
  CHECK(cluster.issuer->problems(now())[0] ==
        ca::Problem{.text = "ca " + kMap + ": is not there: no controller has run yet", .urgent = true});
  CHECK(cluster.posted.empty());
  cluster.events = event("ADDED", Cluster::map_with(json::object{{"root-cert.pem", cluster.authority.bundle()}}));
  REQUIRE(run_until(cluster.io, [&] { return !cluster.issuer->trust_bundle().empty(); }));
  CHECK(cluster.look());  // what failed may go well now
  CHECK_FALSE(cluster.look());
  CHECK(cluster.news.empty());
  CHECK(cluster.issuer->obstacle().empty());
  CHECK(cluster.issuer->problems(now()).empty());
  CHECK(cluster.issuer->rows(now()).size() == 1);
}

TEST_CASE("cluster issuer: a ConfigMap that says no roots, and one that goes") {
  const std::pair<json::value, std::string> rows[] = {
      {json::object{}, kMap + ": data: has no root-cert.pem"},
      {json::object{{"root-cert.pem", "roots"}}, kMap + ": root-cert.pem: no certificate"},
  };
  for (const auto& [data, problem] : rows) {
    CAPTURE(problem);
    // Of one that never said any, and of one that did.
    for (const bool knows : {false, true}) {
      Cluster cluster;
      if (knows)
        cluster.events = event("MODIFIED", Cluster::map_with(data, "11"));
      else
        cluster.map = Cluster::map_with(data);
      cluster.look();
      const auto has = [&] {
        return std::ranges::any_of(cluster.issuer->problems(now()),
                                   [&](const auto& one) { return one.text.starts_with("ca " + problem); });
      };
      REQUIRE(run_until(cluster.io, has));
      CHECK(cluster.issuer->trust_bundle() == (knows ? cluster.authority.bundle() : ""));
      CHECK(cluster.issuer->problems(now())[0].urgent == !knows);
      if (knows) CHECK(cluster.issuer->problems(now())[0].text.ends_with("; the roots that are known stay in use"));
    }
  }
  Cluster cluster;
  cluster.events = event("DELETED", cluster.map);
  cluster.look();
  REQUIRE(run_until(
      cluster.io, [&] { return !cluster.issuer->trust_bundle().empty() && !cluster.issuer->problems(now()).empty(); }));
  CHECK(cluster.issuer->problems(now())[0] ==
        ca::Problem{.text = "ca " + kMap + ": is gone; the roots that are known stay in use"});
  CHECK(cluster.issuer->obstacle().empty());
}

TEST_CASE("cluster issuer: roots that are known from before, and others that come") {
  const Authority old;
  Cluster cluster({.known_bundle = old.bundle()});
  CHECK(cluster.issuer->trust_bundle() == old.bundle());
  const auto key = ca::make_p256_key().value();
  const auto chain = ca::parse_certificates(old.chain(kWeb, key, now())).value();
  const ca::Issued issued{.pair = {.certificate = chain[0], .key = key}, .chain = chain, .issued = now()};
  CHECK_FALSE(cluster.issuer->is_outdated(issued, now()));
  CHECK(cluster.look());
  REQUIRE(run_until(cluster.io, [&] { return cluster.issuer->trust_bundle() == cluster.authority.bundle(); }));
  CHECK(cluster.look());
  CHECK(cluster.news == std::vector<std::string>{"trust-bundle-changed from=\"" + kMap + "\""});
  CHECK(cluster.issuer->is_outdated(issued, now()));
  CHECK(cluster.issuer->rotate_root(now()).error().message.contains("annotate its Secret"));
}

TEST_CASE("cluster issuer: it may go while it waits") {
  for (int steps = 0; steps < 100; steps += 1 + steps / 10) {
    CAPTURE(steps);
    Cluster cluster;
    cluster.start();
    cluster.issuer->issue(kWeb, now(), [&](const Result<ca::Issued>&) { FAIL("an answer to nobody"); });
    for (int i = 0; i < steps; ++i) cluster.io.poll_one();
    cluster.issuer.reset();
    cluster.io.poll();
  }
}

}  // namespace
}  // namespace underpass
