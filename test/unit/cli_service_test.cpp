// SPDX-License-Identifier: Apache-2.0
// underpassctl services, explain and flows, against a real admin server that answers as the agent would.
#include <doctest/doctest.h>
#include <pthread.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <csignal>
#include <vector>

#include "test/unit/admin_server_fixture.h"
#include "test/unit/cli_outcome.h"

using namespace underpass;
using test::Outcome;
using test::run_ctl;
namespace json = boost::json;

namespace {

admin::Answer result(std::string_view text) { return json::parse(text); }

// Gives its answers one after the other, the last one again and again.
class FakeAgent {
 public:
  // `asked_often`: called with the number of the question, on the agent's thread.
  explicit FakeAgent(std::vector<admin::Answer> answers, std::function<void(std::size_t)> asked_often = {})
      : answers_(std::move(answers)),
        asked_often_(std::move(asked_often)),
        server_([this](const json::object& request, const admin::Reply& reply) {
          asked_.push_back(request);
          if (asked_often_) asked_often_(asked_.size());
          reply(answers_[std::min(asked_.size(), answers_.size()) - 1]);
        }) {}

  Outcome run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--run-dir", server_.run_dir()});
    return run_ctl(std::move(arguments));
  }
  [[nodiscard]] std::vector<json::object> asked() {
    return server_.thread.run([this] { return asked_; });
  }

 private:
  std::vector<admin::Answer> answers_;
  std::vector<json::object> asked_;
  std::function<void(std::size_t)> asked_often_;
  test::AdminServer server_;
};

const std::string kOneFlow =
    R"({"flows":[{"seq":1,"time":"2026-03-01T09:00:00.000Z","event":"opened","way":"direct"}],"next":2,"lost":0})";

}  // namespace

TEST_CASE("underpassctl services, explain, flows: usage") {
  for (const std::vector<std::string>& wrong : std::vector<std::vector<std::string>>{
           {"services", "web"},
           {"flows", "web"},
           {"flows", "-n"},
           {"explain"},
           {"explain", "--from", "shop/web"},
           {"explain", "--to", "db:80"},
           {"explain", "--from", "web", "--to", "db:80"},
           {"explain", "--from", "shop/web/x", "--to", "db:80"},
           {"explain", "--from", "shop/web", "--to", "db"},
           {"explain", "--from", "shop/web", "--to", "db:0"},
           {"explain", "--from", "shop/web", "--to", "fd00::1:80"},
           {"explain", "--from", "shop/web", "--to", "db:80", "--protocol", "sctp"},
           {"explain", "--from", "shop/web", "--to", "db:80", "--header", "nonsense"},
       }) {
    CAPTURE(wrong.back());
    const Outcome outcome = run_ctl(wrong);
    CHECK(outcome.code == 2);
    CHECK(outcome.out.empty());
    CHECK(!outcome.err.empty());
  }
}

TEST_CASE("underpassctl services, explain, flows: help") {
  for (const char* command : {"services", "explain", "flows"}) {
    const Outcome outcome = run_ctl({command, "--help"});
    CAPTURE(outcome.out);
    CHECK(outcome.code == 0);
    for (const char* part : {"Examples:", "Exit status:", "The JSON is", "see `underpassctl --help`"})
      CHECK(outcome.out.contains(part));
  }
  CHECK(run_ctl({"explain", "--help"}).out.contains("Tokens are not looked at"));
}

TEST_CASE("underpassctl services") {
  const std::string rows =
      R"([{"namespace":"shop","name":"web","port":80,"protocol":"tcp","frontends":["10.96.0.1:80"],"backends":[]}])";
  FakeAgent agent({result(rows)});
  CHECK(agent.run({"services", "-o", "json"}).out == rows + "\n");
  CHECK(agent.run({"services"}).out.contains("\nshop       web   80/tcp  -       10.96.0.1:80  0"));
  CHECK(agent.asked().back() == json::object{{"command", "services"}});

  FakeAgent empty({result("[]")});
  CHECK(empty.run({"services"}).err == "no Services\n");
  CHECK(empty.run({"services"}).code == 0);
  FakeAgent odd({result("{}")});
  CHECK(odd.run({"services"}).code == 1);
  test::TempFolder folder;
  for (const char* command : {"services", "flows"}) CHECK(run_ctl({command, "--run-dir", folder.path()}).code == 3);
}

TEST_CASE("underpassctl explain: the exit code is the verdict") {
  const auto ask = [](admin::Answer answer) {
    return FakeAgent({std::move(answer)}).run({"explain", "--from", "shop/web", "--to", "db:80"});
  };
  CHECK(ask(result(R"({"verdict":"allow","way":"direct"})")).code == 0);
  CHECK(ask(result(R"({"verdict":"allow","way":"direct"})")).out.starts_with("VERDICT     allow\n"));
  CHECK(ask(result(R"({"verdict":"deny","reason":"why"})")).code == 1);
  CHECK(ask(result(R"({"verdict":"deny","reason":"why"})")).out.contains("REASON      why\n"));
  const auto by = R"({"verdict":"deny","decidedBy":{"kind":"AuthorizationPolicy","namespace":"shop","name":"web",)"
                  R"("rule":"rules[0].from[1]"}})";
  CHECK(ask(result(by)).out.contains("DECIDED BY  AuthorizationPolicy shop/web rules[0].from[1]\n"));
  CHECK(ask(result("{}")).code == 1);
  CHECK(ask(admin::refuse(admin::ErrorCode::kUsage, "to: odd")).code == 2);
  CHECK(ask(admin::refuse(admin::ErrorCode::kNotFound, "Pod shop/web: not found on this node")).code == 4);
  test::TempFolder folder;
  CHECK(run_ctl({"explain", "--from", "shop/web", "--to", "db:80", "--run-dir", folder.path()}).code == 3);
}

TEST_CASE("underpassctl explain: what the agent is asked") {
  FakeAgent agent({result(R"({"verdict":"allow"})")});
  CHECK(agent.run({"explain", "--from", "shop/web", "--to", "db:80", "-o", "json"}).out == "{\"verdict\":\"allow\"}\n");
  CHECK(agent.asked().back() ==
        json::object{{"command", "explain"}, {"from", "shop/web"}, {"to", "db:80"}, {"protocol", "tcp"}});
  CHECK(agent
            .run({"explain", "--from", "shop/web", "--to", "[fd00::1]:53", "--protocol", "udp", "--method", "GET",
                  "--path", "/a", "--header", "x: y", "--header", "z:"})
            .code == 0);
  CHECK(agent.asked().back() == json::object{{"command", "explain"},
                                             {"from", "shop/web"},
                                             {"to", "[fd00::1]:53"},
                                             {"protocol", "udp"},
                                             {"method", "GET"},
                                             {"path", "/a"},
                                             {"headers", {"x: y", "z:"}}});
}

TEST_CASE("underpassctl policies") {
  const std::string rows =
      R"([{"kind":"AuthorizationPolicy","namespace":"shop","name":"web","state":"active","path":null,"cause":null,)"
      R"("since":null,"denied":12,"dryRunDenied":3,"audited":4},)"
      R"({"kind":"PeerAuthentication","namespace":"shop","name":"default","state":"refused","path":"spec.mtls.mode",)"
      R"("cause":"unknown","since":null,"denied":0,"dryRunDenied":0,"audited":0}])";
  FakeAgent agent({result(rows)});
  CHECK(agent.run({"policies", "-o", "json"}).out == rows + "\n");
  CHECK(agent.run({"policies"}).out ==
        "KIND                 NAMESPACE  NAME     STATE    DENIED  DRY RUN  AUDIT  WHY\n"
        "AuthorizationPolicy  shop       web      active       12        3      4  -\n"
        "PeerAuthentication   shop       default  refused       0        0      0  spec.mtls.mode: unknown\n");
  CHECK(agent.asked().back() == json::object{{"command", "policies"}});
  FakeAgent none({result("[]")});
  CHECK(none.run({"policies"}).err == "no policies\n");
  CHECK(run_ctl({"policies", "--help"}).out.contains("dryRunDenied, audited}]"));
}

TEST_CASE("underpassctl flows: those there are") {
  FakeAgent agent({result(kOneFlow)});
  const Outcome table = agent.run({"flows"});
  CHECK(table.code == 0);
  CHECK(table.out.starts_with("TIME                      EVENT    PROTO"));
  CHECK(table.out.contains("\n2026-03-01T09:00:00.000Z  opened   -"));
  CHECK(table.err.empty());
  CHECK(agent.asked().size() == 1);
  CHECK(agent.asked().back() == json::object{{"command", "flows"}, {"since", 0}});
  CHECK(agent.run({"flows", "-o", "json"}).out ==
        R"({"seq":1,"time":"2026-03-01T09:00:00.000Z","event":"opened","way":"direct"})"
        "\n");
  FakeAgent empty({result(R"({"flows":[],"next":1,"lost":0})")});
  CHECK(empty.run({"flows"}).err == "no flows\n");
  CHECK(empty.run({"flows", "-o", "json"}).out.empty());
  FakeAgent odd({result("[]")});
  CHECK(odd.run({"flows"}).code == 1);
}

TEST_CASE("underpassctl flows -f: those to come, what was lost, and Ctrl-C") {
  const pthread_t reader = ::pthread_self();
  FakeAgent agent({result(kOneFlow), result(R"({"flows":[],"next":2,"lost":0})"),
                   result(R"({"flows":[{"seq":14,"event":"closed"}],"next":15,"lost":12})")},
                  // Blocked by the reader since before its first question, so that it ends nothing but the following.
                  [reader](std::size_t number) {
                    if (number == 3) ::pthread_kill(reader, SIGINT);
                  });
  const Outcome outcome = agent.run({"flows", "-f", "-o", "json"});
  CHECK(outcome.code == 0);
  CHECK(outcome.out.ends_with("{\"seq\":14,\"event\":\"closed\"}\n"));
  CHECK(outcome.err == "underpassctl: 12 flows were lost: they came faster than they were taken\n");
  const auto asked = agent.asked();
  REQUIRE(asked.size() == 3);
  CHECK(asked[1].at("since") == 2);
  CHECK(asked[2].at("since") == 2);
}

TEST_CASE("underpassctl flows -f: an agent that fails ends it") {
  FakeAgent agent({result(kOneFlow), admin::refuse(admin::ErrorCode::kFailed, "detached")});
  const Outcome outcome = agent.run({"flows", "-f"});
  CHECK(outcome.code == 1);
  CHECK(outcome.err == "underpassctl: detached\n");
  CHECK(outcome.out.contains("opened"));
}

TEST_CASE("underpassctl flows: a request in one line, whatever is in it") {
  FakeAgent agent({result(
      R"({"flows":[{"seq":1,"kind":"request","event":"denied","durationMs":1.26,"verdict":"deny","policy":"shop/deny",
          "method":"GET","authority":"api","path":"/a\nb","code":403,"grpcStatus":null,"flags":"RBAC"}],
          "next":2,"lost":0})")});
  const Outcome outcome = agent.run({"flows"});
  CHECK(outcome.code == 0);
  CHECK(std::ranges::count(outcome.out, '\n') == 2);
  CHECK(outcome.out.contains("1.3ms"));
  CHECK(outcome.out.ends_with("shop/deny  GET api/a?b 403 RBAC\n"));
}

TEST_CASE("underpassctl flows: filters") {
  const char* flows = R"({"flows":[
    {"seq":1,"verdict":"allow","source":{"namespace":"shop","pod":"web"},"destination":{"namespace":"data","pod":"db"}},
    {"seq":2,"verdict":"deny","source":{"namespace":"shop","pod":"web"},"destination":{"namespace":null,"pod":null}},
    {"seq":3,"kind":"request","verdict":"allow","code":404,"source":{"namespace":null,"pod":null},
     "destination":{"namespace":"shop","pod":"api"}},
    {"seq":4,"kind":"request","verdict":"allow","code":503,"source":null,"destination":null}],"next":5,"lost":0})";
  const auto shown = [&](std::vector<std::string> arguments) {
    FakeAgent agent({result(flows)});
    arguments.insert(arguments.begin(), {"flows", "-o", "json"});
    const auto outcome = agent.run(arguments);
    CHECK(outcome.code == 0);
    std::string out;
    for (std::size_t at = 0; at < outcome.out.size(); at = outcome.out.find('\n', at) + 1) {
      const auto line = outcome.out.substr(at, outcome.out.find('\n', at) - at);
      out += json::serialize(json::parse(line).at("seq"));
    }
    return out;
  };
  CHECK(shown({}) == "1234");
  CHECK(shown({"--namespace", "shop"}) == "123");
  CHECK(shown({"--namespace", "data"}) == "1");
  CHECK(shown({"--pod", "shop/web"}) == "12");
  CHECK(shown({"--pod", "data/web"}) == "");
  CHECK(shown({"--verdict", "denied"}) == "2");
  CHECK(shown({"--verdict", "allowed"}) == "134");
  CHECK(shown({"--code", "404"}) == "3");
  CHECK(shown({"--code", "4xx"}) == "3");
  CHECK(shown({"--code", "5xx"}) == "4");
  CHECK(shown({"--code", "2xx"}) == "");
  CHECK(shown({"--namespace", "shop", "--verdict", "allowed", "--code", "4xx"}) == "3");
  for (const char* wrong : {"", "4x", "x04", "4xxx", "40", "0xx", "4x4"}) {
    FakeAgent agent({result(flows)});
    CHECK_MESSAGE(agent.run({"flows", "--code", wrong}).code == 2, wrong);
  }
  FakeAgent agent({result(flows)});
  CHECK(agent.run({"flows", "--verdict", "maybe"}).code == 2);
  CHECK(agent.run({"flows", "--pod", "web"}).code == 2);
}
