// SPDX-License-Identifier: Apache-2.0
// The source over real connections: its first word, what it does when it is told nonsense, and that it may go at any
// moment. How it lives with a server that is like a real one is in test/fake.
#include <doctest/doctest.h>

#include <map>
#include <sstream>
#include <string>

#include "agent/k8s/api/api_source.h"
#include "test/unit/k8s_api_server.h"

namespace underpass::k8s {
namespace {

using std::chrono::milliseconds;
using test::http_answer;
using test::run_until;
using test::ScriptedServer;
using test::TempFolder;

const std::string kNotFound = http_answer("404 Not Found", R"({"kind":"Status","reason":"NotFound","message":"none"})");
const std::string kStreamHead =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

std::string chunk(const std::string& text) {
  std::ostringstream out;
  out << std::hex << text.size() << "\r\n" << text << "\r\n";
  return out.str();
}

std::string list_of(const std::string& kind, const std::string& objects) {
  return R"({"kind":")" + kind + R"(List","apiVersion":"v1","metadata":{"resourceVersion":"10"},"items":[)" + objects +
         "]}";
}

// Namespace shop, Node n, and the definition of AuthorizationPolicies, of which there is none.
std::string serve_cluster(const std::string& head) {
  if (head.starts_with("GET /version ")) return http_answer("200 OK", R"({"gitVersion":"v1.34.2"})");
  const auto path = head.substr(4, head.find_first_of("? ", 4) - 4);
  const bool custom = path.contains("istio") || path.contains("underpass");
  if (custom && !path.ends_with("v1/authorizationpolicies")) return kNotFound;
  if (head.contains("watch=1")) return kStreamHead;
  const std::map<std::string, std::string> objects{
      {"/api/v1/namespaces", R"({"metadata":{"name":"shop","resourceVersion":"1"}})"},
      {"/api/v1/nodes", R"({"metadata":{"name":"n","resourceVersion":"2"}})"},
      {"/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
       R"({"metadata":{"name":"authorizationpolicies.security.istio.io","resourceVersion":"3"}})"},
  };
  const std::map<std::string, std::string> kinds{{"namespaces", "Namespace"},
                                                 {"nodes", "Node"},
                                                 {"pods", "Pod"},
                                                 {"services", "Service"},
                                                 {"endpointslices", "EndpointSlice"},
                                                 {"authorizationpolicies", "AuthorizationPolicy"},
                                                 {"customresourcedefinitions", "PartialObjectMetadata"}};
  const auto found = objects.find(path);
  const auto& kind = kinds.at(path.substr(path.rfind('/') + 1));
  return http_answer("200 OK", list_of(kind, found == objects.end() ? "" : found->second));
}

struct Mirrored {
  explicit Mirrored(ScriptedServer::Script script, ApiTuning tuning = {}) : server(io, std::move(script)) {
    auto opened = ApiClient::open(io, {.kubeconfig = server.kubeconfig(folder), .user_agent = "test"});
    REQUIRE(opened);
    client = std::move(*opened);
    source = ApiSource::make(io, *client, {.tuning = tuning}, [this](const Contents& contents) {
      ++told;
      files.clear();
      for (const auto& file : contents.files) files += file->path + " ";
      lost = contents.lost ? contents.lost->cause : "";
    });
  }

  [[nodiscard]] KindState kind(const std::string& name) const {
    for (auto& state : source->kinds()) {
      if (state.kind == name) return state;
    }
    return {};
  }

  TempFolder folder;
  boost::asio::io_context io;
  ScriptedServer server;
  std::unique_ptr<ApiClient> client;
  std::unique_ptr<ApiSource> source;
  int told = 0;
  std::string files;
  std::string lost;
};

TEST_CASE("api source: all kinds are listed before anything is told") {
  Mirrored mirrored(serve_cluster);
  mirrored.source->start();
  REQUIRE(run_until(mirrored.io, [&] { return mirrored.told > 0; }));
  CHECK(mirrored.source->synced());
  CHECK(mirrored.files == "/api/v1/namespaces/shop /api/v1/nodes/n ");
  CHECK(mirrored.lost == "");
  CHECK(mirrored.kind("AuthorizationPolicy").path == "/apis/security.istio.io/v1/authorizationpolicies");
  CHECK(mirrored.kind("PeerAuthentication").path == "");
  CHECK(mirrored.kind("PeerAuthentication").synced);
  REQUIRE(run_until(mirrored.io, [&] { return mirrored.client->version() == "v1.34.2"; }));
  bool pods = false;
  for (const auto& head : mirrored.server.heads()) {
    pods |= head.starts_with("GET /api/v1/pods?limit=500&resourceVersion=0 ");
  }
  CHECK(pods);
}

TEST_CASE("api source: one kind that is not to be had keeps all from being told") {
  Mirrored mirrored([](const std::string& head) {
    return head.starts_with("GET /api/v1/services")
               ? http_answer("403 Forbidden", R"({"kind":"Status","message":"services is forbidden"})")
               : serve_cluster(head);
  });
  mirrored.source->start();
  REQUIRE(run_until(mirrored.io, [&] { return mirrored.kind("Service").lists > 2; }));
  CHECK(mirrored.told == 0);
  CHECK_FALSE(mirrored.source->synced());
  CHECK(mirrored.kind("Service").problem ==
        "list: 403 Forbidden: services is forbidden: we need the right to list services");
}

TEST_CASE("api source: nonsense is said, tried again with pauses, and told to nobody") {
  const struct {
    std::string answer;
    std::string problem;
  } rows[] = {
      {http_answer("200 OK", "<html>", "text/html"),
       "list: not an API server's answer: its type is \"text/html\", not application/json"},
      {http_answer("200 OK", "{}"), "list: SERVER: not a list: it has no items"},
      {http_answer("200 OK", list_of("Node", "")), "list: SERVER: a \"NodeList\", not a list of namespaces"},
      {http_answer("200 OK", "\xff\xfe garbage"), "list: SERVER: not JSON: syntax error"},
      {http_answer("200 OK", list_of("Namespace", R"({"metadata":{}})")),
       "list: SERVER: an object has no metadata.name"},
      {http_answer("200 OK", "xyz", "application/json", "Content-Encoding: gzip\r\n"),
       "list: SERVER: gzip: incorrect header check"},
      {http_answer("302 Found", "", "text/html", "Location: http://x/\r\n"),
       "list: 302 Found: redirects to \"http://x/\", which is not followed"},
      {"close HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"kin\r\n",
       "list: SERVER: the connection was closed in the middle of an answer"},
      {kStreamHead + "zz\r\n", "list: SERVER: not an HTTP answer: bad chunk"},
      {kNotFound, "list: 404 Not Found: none"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.answer);
    Mirrored mirrored(
        [&](const std::string& head) {
          return head.starts_with("GET /api/v1/namespaces") ? row.answer : serve_cluster(head);
        },
        {.backoff = {.first = milliseconds(20)}});
    mirrored.source->start();
    REQUIRE(run_until(mirrored.io, [&] { return mirrored.kind("Namespace").lists == 3; }));
    auto problem = mirrored.kind("Namespace").problem;
    if (const auto at = problem.find(mirrored.client->server()); at != std::string::npos) {
      problem.replace(at, mirrored.client->server().size(), "SERVER");
    }
    CHECK(problem == row.problem);
    CHECK(mirrored.told == 0);
    CHECK(mirrored.server.heads().size() < 40);
  }
}

TEST_CASE("api source: what is served stays until a new list is complete") {
  int lists = 0;
  const std::string gone =
      R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}})";
  Mirrored mirrored(
      [&](const std::string& head) {
        if (!head.starts_with("GET /api/v1/namespaces")) return serve_cluster(head);
        if (head.contains("watch=1")) {
          return kStreamHead + (lists == 1 ? chunk(gone) : "");
        }
        ++lists;
        if (lists < 4 && lists > 1) return http_answer("500 Oops", R"({"kind":"Status","message":"broken"})");
        return http_answer("200 OK", list_of("Namespace", R"({"metadata":{"name":"new","resourceVersion":"20"}})"));
      },
      {.stale_after = milliseconds(100)});
  mirrored.source->start();
  REQUIRE(run_until(mirrored.io, [&] { return mirrored.lost == "Namespace: list: 500 Oops: broken"; }));
  CHECK(mirrored.files == "/api/v1/namespaces/new /api/v1/nodes/n ");
  REQUIRE(run_until(mirrored.io, [&] { return mirrored.lost.empty(); }));
  CHECK(lists == 4);
}

TEST_CASE("api source: where to watch on leads nowhere, a list is asked for") {
  const std::string cases[] = {
      kStreamHead + chunk(R"({"type":"ERROR","object":{"code":410,"message":"too old"}})"),
      kStreamHead + chunk(R"({"type":"ADDED","object":{"metadata":{"name":"x" y)"),
      kStreamHead + chunk(R"({"type":"ADDED","object":{"metadata":{}}})"),
      kStreamHead + chunk(R"({"type":"STRANGE","object":{"metadata":{"name":"x"}}})"),
      http_answer("410 Gone", "{}"),
      http_answer("504 Gateway Timeout", R"({"message":"Timeout: Too large resource version: 10, current: 5"})"),
      kNotFound,
  };
  for (const auto& answer : cases) {
    CAPTURE(answer);
    int watches = 0;
    Mirrored mirrored(
        [&](const std::string& head) {
          const bool first = head.starts_with("GET /api/v1/services?watch=1") && ++watches == 1;
          return first ? answer : serve_cluster(head);
        },
        {.backoff = {.first = milliseconds(20)}});
    mirrored.source->start();
    REQUIRE(run_until(mirrored.io, [&] { return watches == 2; }));
    CHECK(mirrored.kind("Service").lists == 2);
  }
}

TEST_CASE("api source: a stream that is cut goes on without a list") {
  const std::string cases[] = {
      "close " + kStreamHead + chunk(R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"77"}}})") +
          "5\r\n{\"t",
      "close " + kStreamHead + chunk(R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"77"}}})") +
          "0\r\n\r\n",
      kStreamHead + chunk(R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"77"}}})") + "zz\r\n",
      kStreamHead + chunk(R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"77"}}})") +
          chunk(R"({"type":"ERROR","object":{"code":500,"message":"oops"}})"),
  };
  for (const auto& answer : cases) {
    CAPTURE(answer);
    int watches = 0;
    std::string second;
    Mirrored mirrored(
        [&](const std::string& head) {
          if (!head.starts_with("GET /api/v1/services?watch=1")) return serve_cluster(head);
          if (++watches == 2) second = head;
          return watches == 1 ? answer : serve_cluster(head);
        },
        {.backoff = {.first = milliseconds(20)}});
    mirrored.source->start();
    REQUIRE(run_until(mirrored.io, [&] { return watches == 2; }));
    CHECK(mirrored.kind("Service").lists == 1);
    CHECK(second.contains("&resourceVersion=77&"));
  }
}

TEST_CASE("api source: it may go at any moment, and its io_context too") {
  for (int steps = 0; steps < 300; steps += 1 + steps / 20) {
    CAPTURE(steps);
    for (const bool drains : {false, true}) {
      Mirrored mirrored(serve_cluster);
      mirrored.source->start();
      for (int i = 0; i < steps; ++i) mirrored.io.poll_one();
      const int told = mirrored.told;
      mirrored.source.reset();
      if (drains) mirrored.io.poll();
      mirrored.client.reset();
      if (drains) mirrored.io.poll();
      CHECK(mirrored.told == told);
    }
  }
}

TEST_CASE("api source: nothing goes on when it is gone") {
  Mirrored mirrored(serve_cluster);
  mirrored.source->start();
  REQUIRE(run_until(mirrored.io, [&] { return mirrored.kind("Service").watches == 1; }));
  mirrored.source.reset();
  mirrored.client.reset();
  REQUIRE(run_until(mirrored.io, [&] { return mirrored.server.open_connections() == 0; }));
  const auto asked = mirrored.server.heads().size();
  CHECK_FALSE(run_until(mirrored.io, [&] { return mirrored.server.heads().size() > asked; }, milliseconds(300)));
}

TEST_CASE("api source: a kind is not there when its definition is not, and not because somebody says 404") {
  const struct {
    std::string definitions;
    bool told;
    std::string problem;  // of the kind
  } rows[] = {
      {http_answer("200 OK", list_of("PartialObjectMetadata", "")), true, ""},
      {http_answer("403 Forbidden", "{}"), true, ""},
      {http_answer("200 OK", list_of("PartialObjectMetadata",
                                     R"({"metadata":{"name":"peerauthentications.security.istio.io"}})")),
       false, "list: 404 Not Found: none (it is not served, or not yet)"},
      {http_answer("500 Oops", "{}"), false, "list: 404 Not Found: none (it is not served, or not yet)"},
      {kNotFound, false, "list: 404 Not Found: none (it is not served, or not yet)"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.definitions);
    Mirrored mirrored(
        [&](const std::string& head) {
          return head.contains("customresourcedefinitions?") && !head.contains("watch=1") ? row.definitions
                                                                                          : serve_cluster(head);
        },
        {.backoff = {.first = milliseconds(20)}});
    mirrored.source->start();
    const auto tried = [&] { return mirrored.kind("PeerAuthentication").lists >= 8; };
    REQUIRE(run_until(mirrored.io, [&] { return row.told ? mirrored.told > 0 : tried(); }));
    CHECK(mirrored.told == (row.told ? 1 : 0));
    CHECK(mirrored.kind("PeerAuthentication").synced == row.told);
    CHECK(mirrored.kind("PeerAuthentication").problem == row.problem);
  }
}

TEST_CASE("api source: its listener may end it") {
  Mirrored mirrored(serve_cluster);
  bool told = false;
  mirrored.source = ApiSource::make(mirrored.io, *mirrored.client, {}, [&](const Contents&) {
    told = true;
    mirrored.source.reset();
  });
  mirrored.source->start();
  REQUIRE(run_until(mirrored.io, [&] { return told; }));
  mirrored.io.poll();
}

}  // namespace
}  // namespace underpass::k8s
