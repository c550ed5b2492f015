// SPDX-License-Identifier: Apache-2.0
// underpassctl as a whole, against a real admin server that answers as the agent would.
#include "agent/cli/app.h"

#include <doctest/doctest.h>

#include <boost/json/parse.hpp>

#include "agent/admin/detached_marker.h"
#include "test/unit/admin_server_fixture.h"
#include "test/unit/cli_outcome.h"
#include "underpass/abi_names.h"

using namespace underpass;
using test::Outcome;
using test::run_ctl;
namespace json = boost::json;

namespace {

admin::Answer result(std::string_view text) { return json::parse(text); }

// What the agent was asked last, and what it is to answer.
class FakeAgent {
 public:
  explicit FakeAgent(admin::Answer answer)
      : answer_(std::move(answer)), server_([this](const json::object& request, const admin::Reply& reply) {
          asked_ = request;
          reply(answer_);
        }) {}

  Outcome run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--run-dir", server_.run_dir(), "--state-dir", server_.run_dir()});
    return run_ctl(std::move(arguments));
  }
  [[nodiscard]] json::object asked() {
    return server_.thread.run([this] { return asked_; });
  }

 private:
  admin::Answer answer_;
  json::object asked_;
  test::AdminServer server_;
};

}  // namespace

TEST_CASE("underpassctl: usage") {
  CHECK(run_ctl({}).code == 2);
  CHECK(run_ctl({}).err == "A subcommand is required\nRun with --help for more information.\n");
  for (const std::vector<std::string>& wrong : std::vector<std::vector<std::string>>{
           {"nonsense"},
           {"pods", "status"},
           {"pods", "extra"},
           {"--nonsense", "pods"},
           {"pods", "-o", "xml"},
           {"pods", "-o", "pem"},
           {"certs", "rotate-root", "-o", "pem"},
           {"certs", "nonsense"},
           {"pods", "-o"},
           {"map"},
           {"map", "dump"},
           {"map", "dump", "a", "b"},
           {"map", "list", "all"},
           {"detach", "--node", "--namespace", "a"},
           {"detach", "--namespace", ""},
           {"detach", "--timeout", "soon"},
           {"attach", "--timeout", "1s"},
           {"relearn"},
           {"relearn", "web"},
           {"relearn", "/web"},
           {"relearn", "shop/"},
           {"relearn", "shop/web/x"},
           {"relearn", "shop/web", "shop/db"},
           {"proxy"},
           {"proxy", "config"},
           {"proxy", "config", "web"},
       }) {
    CAPTURE(wrong.size() > 0 ? wrong.back() : "");
    const Outcome outcome = run_ctl(wrong);
    CHECK(outcome.code == 2);
    CHECK(outcome.out.empty());
    CHECK(!outcome.err.empty());
  }
}

TEST_CASE("underpassctl: help and version") {
  const Outcome help = run_ctl({"--help"});
  CHECK(help.code == 0);
  for (const char* part : {"Usage: underpassctl [OPTIONS] SUBCOMMAND", "--run-dir DIR (/run/underpass)",
                           "Exit status:", "Examples:", "connections", "detach"}) {
    CHECK(help.out.contains(part));
  }
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{{"status"},
                                                                                       {"check"},
                                                                                       {"pods"},
                                                                                       {"connections"},
                                                                                       {"map", "list"},
                                                                                       {"map", "dump"},
                                                                                       {"detach"},
                                                                                       {"attach"},
                                                                                       {"proxy", "config"},
                                                                                       {"relearn"}}) {
    std::vector<std::string> arguments = command;
    arguments.emplace_back("--help");
    const Outcome outcome = run_ctl(arguments);
    CAPTURE(outcome.out);
    CHECK(outcome.code == 0);
    CHECK(outcome.err.empty());
    CHECK(outcome.out.contains("Examples:"));
    CHECK(outcome.out.contains("Exit status:"));
    CHECK(outcome.out.contains("see `underpassctl --help`"));
  }
  CHECK(run_ctl({"--version"}).out == "underpassctl " UNDERPASS_VERSION "\n");
  CHECK(run_ctl({"version"}).out == "underpassctl " UNDERPASS_VERSION "\n");
  CHECK(run_ctl({"version", "-o", "json"}).out == "{\"version\":\"" UNDERPASS_VERSION "\"}\n");
}

TEST_CASE("underpassctl: help explains every reason that can be shown") {
  const std::string help = run_ctl({"connections", "--help"}).out;
  for (int why = UP_WHY_NONE + 1; why < UP_WHY_COUNT; ++why) {
    const auto name = std::string(name_of(static_cast<up_why>(why)));
    CAPTURE(name);
    CHECK((help.contains("  " + name + " ") || help.contains(" " + name + ",") || help.contains("  " + name + ",") ||
           help.contains(", " + name + "\n") || help.contains(", " + name + " ")));
  }
}

TEST_CASE("underpassctl: without an agent") {
  test::TempFolder folder;
  for (const char* command : {"status", "pods", "connections"}) {
    const Outcome outcome = run_ctl({command, "--run-dir", folder.path()});
    CHECK(outcome.code == 3);
    CHECK(outcome.out.empty());
    CHECK(outcome.err ==
          "underpassctl: no agent answers: connect to " + (folder / "admin.sock").string() +
              ": No such file or directory\n"
              "Is underpassd running on this node? If it has another --run-dir, give the same one here.\n"
              "Without an agent these still work: check, map list, map dump, detach --node, attach.\n");
  }
  const Outcome outcome =
      run_ctl({"detach", "--namespace", "shop", "--run-dir", folder.path(), "--state-dir", folder.path()});
  CHECK(outcome.code == 3);
  CHECK(outcome.err.ends_with("underpassctl: only --node can be detached without an agent\n"));
  CHECK(admin::load_detached_marker(folder.path()).value().is_empty());
}

TEST_CASE("underpassctl: what the agent refuses") {
  using admin::ErrorCode;
  const auto code_of = [](ErrorCode code) {
    const Outcome outcome = FakeAgent(admin::Answer(admin::refuse(code, "Namespace \x1b[2Jx: not found")))
                                .run({"detach", "--namespace", "x"});
    CHECK(outcome.err == "underpassctl: Namespace ?[2Jx: not found\n");
    CHECK(outcome.out.empty());
    return outcome.code;
  };
  CHECK(code_of(ErrorCode::kFailed) == 1);
  CHECK(code_of(ErrorCode::kUsage) == 2);
  CHECK(code_of(ErrorCode::kNotFound) == 4);
}

TEST_CASE("underpassctl: json is the agent's own") {
  const std::string rows = R"([{"id":"1","x":null}])";
  for (const char* command : {"pods", "connections", "check"}) {
    FakeAgent agent(result(rows));
    CHECK(agent.run({"-o", "json", command}).out == rows + "\n");
    CHECK(agent.run({command, "-o", "json"}).out == rows + "\n");
    CHECK(agent.run({command, "--output=json"}).out == rows + "\n");
    CHECK(agent.asked() == json::object{{"command", command}});
  }
  CHECK(FakeAgent(result(R"({"state":"stale"})")).run({"status", "-o", "json"}).out == "{\"state\":\"stale\"}\n");
}

TEST_CASE("underpassctl: empty tables have a header, and a word on standard error") {
  FakeAgent agent(result("[]"));
  const Outcome connections = agent.run({"connections"});
  CHECK(connections.code == 0);
  CHECK(connections.out.starts_with("ID  FROM  SOURCE  TO  DESTINATION  SERVICE  WAY"));
  CHECK(connections.err == "no connections\n");
  CHECK(agent.run({"pods"}).err == "no pods on this node\n");
  CHECK(agent.run({"pods", "-o", "json"}).err.empty());
  CHECK(agent.run({"pods", "-o", "json"}).out == "[]\n");
}

TEST_CASE("underpassctl: an answer that is no list is an error") {
  const Outcome outcome = FakeAgent(result("{}")).run({"pods"});
  CHECK(outcome.code == 1);
  CHECK(outcome.err == "underpassctl: the agent's answer to pods is not a list: is it of another version?\n");
}

TEST_CASE("underpassctl check: the exit code is the verdict") {
  const auto code_of = [](std::string_view rows) { return FakeAgent(result(rows)).run({"check"}).code; };
  CHECK(code_of(R"([{"name":"a","result":"exact"},{"name":"b","result":"guarded"}])") == 0);
  CHECK(code_of(R"([{"name":"a","result":"exact"},{"name":"b","result":"tcp"}])") == 1);
  CHECK(code_of(R"([{"name":"a","result":null}])") == 1);
  CHECK(code_of(R"([{"name":"a"}])") == 1);
}

TEST_CASE("underpassctl detach: through the agent") {
  FakeAgent agent(result(R"({"cut":[],"removed":["up_pods","link_sockops"]})"));
  SUBCASE("the node, said or not") {
    for (const std::vector<std::string>& arguments : {std::vector<std::string>{"detach"}, {"detach", "--node"}}) {
      const Outcome outcome = agent.run(arguments);
      CHECK(outcome.code == 0);
      CHECK(outcome.out == "node detached, 2 pins removed; it stays so until `underpassctl attach`\n");
      CHECK(outcome.err.empty());
      CHECK(agent.asked() == json::object{{"command", "detach"}, {"timeout", 30000}, {"node", true}});
    }
  }
  SUBCASE("a namespace") {
    const Outcome outcome = agent.run({"detach", "--namespace", "shop", "--timeout", "500ms"});
    CHECK(outcome.out.starts_with("namespace shop detached"));
    CHECK(outcome.out.ends_with("until `underpassctl attach --namespace shop`\n"));
    CHECK(agent.asked() == json::object{{"command", "detach"}, {"timeout", 500}, {"namespace", "shop"}});
  }
  SUBCASE("json") {
    CHECK(agent.run({"detach", "-o", "json"}).out == "{\"cut\":[],\"removed\":[\"up_pods\",\"link_sockops\"]}\n");
  }
}

TEST_CASE("underpassctl detach: what was cut is listed, and the answer negative") {
  FakeAgent agent(result(R"({"cut":[{"id":"7","description":"10.0.0.1:4711 -> 10.0.0.2:80"}],"removed":[]})"));
  const Outcome outcome = agent.run({"detach"});
  CHECK(outcome.code == 1);
  CHECK(outcome.out ==
        "node detached; it stays so until `underpassctl attach`\n"
        "\n"
        "ID  CONNECTION\n"
        "7   10.0.0.1:4711 -> 10.0.0.2:80\n");
  CHECK(outcome.err ==
        "underpassctl: 1 connection had to be cut: the receiver did not read what was queued for it in time\n");
  CHECK(agent.run({"detach", "-o", "json"}).code == 1);
}

TEST_CASE("underpassctl relearn") {
  const std::string answer =
      R"({"workload":{"namespace":"shop","owner":"Deployment/web","images":["web:1"]},"was":"off","pods":["shop/a","shop/b"]})";
  FakeAgent agent(result(answer));
  const Outcome outcome = agent.run({"relearn", "shop/a"});
  CHECK(outcome.code == 0);
  CHECK(outcome.out == "shop/Deployment/web is learned anew (it was off); its pods here: shop/a,shop/b\n");
  CHECK(outcome.err.empty());
  CHECK(agent.asked() == json::object{{"command", "relearn"}, {"namespace", "shop"}, {"pod", "a"}});
  CHECK(agent.run({"relearn", "shop/a", "-o", "json"}).out == answer + "\n");

  FakeAgent refusing(admin::refuse(admin::ErrorCode::kNotFound, "Pod shop/c: not found on this node"));
  CHECK(refusing.run({"relearn", "shop/c"}).code == 4);
  CHECK(refusing.run({"relearn", "shop/c"}).err == "underpassctl: Pod shop/c: not found on this node\n");
  test::TempFolder folder;
  CHECK(run_ctl({"relearn", "shop/a", "--run-dir", folder.path()}).code == 3);
}

TEST_CASE("underpassctl proxy config") {
  const std::string answer = R"({"namespace":"shop","pod":"web","worker":{"name":"shop","state":"ready"}})";
  FakeAgent agent(result(answer));
  const Outcome outcome = agent.run({"proxy", "config", "shop/web"});
  CHECK(outcome.code == 0);
  CHECK(outcome.out.starts_with("POD           shop/web\n"));
  CHECK(agent.asked() == json::object{{"command", "proxy-config"}, {"namespace", "shop"}, {"pod", "web"}});
  CHECK(agent.run({"proxy", "config", "shop/web", "-o", "json"}).out == answer + "\n");

  FakeAgent refusing(admin::refuse(admin::ErrorCode::kNotFound, "Pod shop/db has no worker: it is not captured"));
  CHECK(refusing.run({"proxy", "config", "shop/db"}).code == 4);
  CHECK(refusing.run({"proxy", "config", "shop/db"}).err ==
        "underpassctl: Pod shop/db has no worker: it is not captured\n");
}

TEST_CASE("underpassctl attach: through the agent") {
  FakeAgent agent(result("{}"));
  const Outcome outcome = agent.run({"attach", "--namespace", "shop"});
  CHECK(outcome.code == 0);
  CHECK(outcome.out == "namespace shop attached\n");
  CHECK(agent.asked().at("namespace") == "shop");
  CHECK(agent.run({"attach"}).out == "node attached\n");
}

TEST_CASE("underpassctl attach: without an agent the marker goes") {
  test::TempFolder folder;
  const auto attach = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"attach", "--run-dir", folder.path(), "--state-dir", folder.path()});
    return run_ctl(std::move(more));
  };
  REQUIRE(admin::save_detached_marker(folder.path(), {.node = true, .namespaces = {"a", "b"}, .since = "then"}));

  CHECK(attach({"--namespace", "a"}).out ==
        "namespace a no longer detached; no agent is running: it attaches when it starts\n");
  CHECK(admin::load_detached_marker(folder.path()).value() ==
        admin::DetachedMarker{.node = true, .namespaces = {"b"}, .since = "then"});
  CHECK(attach({}).out == "node no longer detached; no agent is running: it attaches when it starts\n");
  CHECK(attach({}).out == "node was not detached; no agent is running: it attaches when it starts\n");
  CHECK(attach({"--namespace", "b", "-o", "json"}).out ==
        "{\"attached\":false,\"reason\":\"no agent is running: it attaches when it starts\"}\n");
  CHECK(!std::filesystem::exists(admin::detached_marker_path(folder.path())));

  folder.write("detached", "nonsense");
  CHECK(attach({"--namespace", "a"}).code == 1);
  CHECK(attach({}).code == 0);
  CHECK(!std::filesystem::exists(admin::detached_marker_path(folder.path())));
}

TEST_CASE("underpassctl certs: as a table, and as PEM") {
  FakeAgent agent(result(R"([
    {"kind": "root", "identity": null, "subject": "CN=Root", "issuer": "CN=Root", "serial": "01", "notBefore": "A",
     "notAfter": "B", "renewalAt": null, "state": "valid", "problem": null, "pem": "ROOT\n"},
    {"kind": "intermediate", "identity": null, "subject": "CN=Signer", "issuer": "CN=Root", "serial": "02",
     "notBefore": "A", "notAfter": "B", "renewalAt": "C", "state": "expired", "problem": "why", "pem": "SIGNER\n"},
    {"kind": "svid", "identity": "spiffe://a/ns/b/sa/c", "subject": null, "issuer": "CN=Signer", "serial": "03",
     "notBefore": "A", "notAfter": "B", "renewalAt": "C", "state": "valid", "problem": null, "pem": "LEAF\nSIGNER\n"},
    {"kind": "svid", "identity": "spiffe://a/ns/b/sa/d", "subject": null, "issuer": null, "serial": null,
     "notBefore": null, "notAfter": null, "renewalAt": null, "state": "missing", "problem": "no folder", "pem": null}])"));
  CHECK(agent.run({"certs"}).out ==
        "KIND          NAME                  ISSUER     SERIAL  FROM  UNTIL  RENEWAL  STATE    PROBLEM\n"
        "root          CN=Root               CN=Root    01      A     B      -        valid    -\n"
        "intermediate  CN=Signer             CN=Root    02      A     B      C        expired  why\n"
        "svid          spiffe://a/ns/b/sa/c  CN=Signer  03      A     B      C        valid    -\n"
        "svid          spiffe://a/ns/b/sa/d  -          -       -     -      -        missing  no folder\n");
  CHECK(agent.asked() == json::object{{"command", "certs"}, {"pem", false}});
  CHECK(agent.run({"certs", "-o", "pem"}).out == "# svid spiffe://a/ns/b/sa/c\nLEAF\nSIGNER\n# root CN=Root\nROOT\n");
  CHECK(agent.asked() == json::object{{"command", "certs"}, {"pem", true}});
  CHECK(agent.run({"-o", "pem", "certs"}).code == 0);
  CHECK(json::parse(agent.run({"certs", "-o", "json"}).out).as_array().size() == 4);
  CHECK(run_ctl({"certs", "--run-dir", "/nowhere"}).code == 3);
}

TEST_CASE("underpassctl certs rotate-root") {
  FakeAgent good(result("{}"));
  CHECK(good.run({"certs", "rotate-root"}).out.starts_with("begun: "));
  CHECK(good.asked() == json::object{{"command", "rotate-root"}});
  FakeAgent bad(admin::refuse(admin::ErrorCode::kFailed, "/ca: has no root-key.pem"));
  const auto outcome = bad.run({"certs", "rotate-root"});
  CHECK(outcome.code == 1);
  CHECK(outcome.err.contains("has no root-key.pem"));
  CHECK(outcome.out.empty());
}
