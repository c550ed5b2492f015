// SPDX-License-Identifier: Apache-2.0
// Who of several controllers holds the Lease, on clocks that are the test's, and of which no two agree.
#include "agent/controller/election.h"

#include <doctest/doctest.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace underpass::controller {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

Election::Time at(seconds time) { return Election::Time(time); }
Election::WallTime wall(int day) { return std::chrono::sys_days(std::chrono::year(2026) / 3 / day); }

// An API server that has one Lease, and refuses what was made from an older one.
struct Server {
  json::value lease;  // null: none
  int version = 0;

  bool write(const json::value& object) {
    const auto& metadata = object.at("metadata").as_object();
    const auto* based_on = metadata.if_contains("resourceVersion");
    const bool fresh =
        lease.is_null() ? based_on == nullptr : based_on != nullptr && based_on->as_string() == std::to_string(version);
    if (!fresh) return false;
    lease = object;
    lease.at("metadata").as_object()["resourceVersion"] = std::to_string(++version);
    return true;
  }
  [[nodiscard]] json::value spec(const char* name) const { return lease.at("spec").at(name); }
};

struct Candidate {
  Server& server;
  Election election;

  Candidate(Server& api, std::string name)
      : server(api), election({.lease = {"underpass-system", "underpass-controller"}, .identity = std::move(name)}) {}

  // Reads the Lease and writes it where it may.
  bool turn(seconds now, int day = 1) {
    const auto wanted = election.answer(server.lease, at(now), wall(day));
    if (wanted) election.wrote(server.write(*wanted), at(now));
    return election.leads(at(now));
  }
};

TEST_CASE("election: who comes first holds the Lease, and renews it") {
  Server server;
  Candidate a(server, "a");
  CHECK(!a.election.leads(at(seconds(0))));
  CHECK(a.turn(seconds(0)));
  CHECK(server.spec("holderIdentity") == "a");
  CHECK(server.spec("leaseDurationSeconds") == 15);
  CHECK(server.spec("leaseTransitions") == 0);
  CHECK(server.spec("acquireTime") == "2026-03-01T00:00:00.000000Z");
  CHECK(server.lease.at("metadata").at("namespace") == "underpass-system");
  CHECK(a.turn(seconds(2), 2));
  CHECK(server.spec("acquireTime") == "2026-03-01T00:00:00.000000Z");
  CHECK(server.spec("renewTime") == "2026-03-02T00:00:00.000000Z");
  CHECK(server.spec("leaseTransitions") == 0);
}

TEST_CASE("election: another takes over what was not renewed for its duration, by the other's own clock") {
  Server server;
  Candidate a(server, "a"), b(server, "b");
  CHECK(a.turn(seconds(0)));
  // Its clocks, of both kinds, are elsewhere.
  CHECK(!b.turn(seconds(1000), 31));
  CHECK(b.election.holder() == "a");
  CHECK(a.turn(seconds(2)));
  CHECK(!b.turn(seconds(1010), 31));
  CHECK(!b.turn(seconds(1024), 31));
  CHECK(b.turn(seconds(1025), 31));
  CHECK(server.spec("holderIdentity") == "b");
  CHECK(server.spec("leaseTransitions") == 1);
  // The one that held it has stopped long before, and does not come back by itself.
  CHECK(!a.election.leads(at(seconds(12))));
  CHECK(!a.turn(seconds(20)));
}

TEST_CASE("election: a leader that cannot write is none before another may be") {
  Server server;
  Candidate a(server, "a");
  CHECK(a.turn(seconds(0)));
  ++server.version;  // somebody else writes in between, each time
  server.lease.at("metadata").as_object()["resourceVersion"] = "other";
  for (int now = 2; now < 10; now += 2) CHECK(a.turn(seconds(now)));
  CHECK(!a.turn(seconds(10)));
}

TEST_CASE("election: a Lease that is released, or says nothing of use, is taken at once") {
  Server server;
  Candidate a(server, "a"), b(server, "b");
  CHECK(a.turn(seconds(0)));
  CHECK(!b.turn(seconds(0)));
  CHECK(!b.election.release(server.lease, wall(1)));
  const auto released = a.election.release(server.lease, wall(1));
  REQUIRE(released);
  CHECK(server.write(*released));
  CHECK(server.spec("holderIdentity") == "");
  CHECK(b.turn(seconds(1)));
  CHECK(server.spec("leaseTransitions") == 1);
  for (const json::value& odd : {json::value(json::object{}), json::value(json::object{{"spec", 7}}),
                                 json::value(json::object{{"spec", json::object{{"holderIdentity", nullptr}}}})}) {
    CAPTURE(json::serialize(odd));
    Candidate c(server, "c");
    const auto wanted = c.election.answer(odd, at(seconds(0)), wall(1));
    REQUIRE(wanted);
    CHECK(wanted->at("spec").at("holderIdentity") == "c");
  }
}

TEST_CASE("election: a leader that sees another's name in the Lease is none at once") {
  Server server;
  Candidate a(server, "a");
  CHECK(a.turn(seconds(0)));
  server.lease.at("spec").as_object()["holderIdentity"] = "somebody";
  CHECK(!a.turn(seconds(1)));
  // However long that one claims it for: for ever is not overflown.
  server.lease.at("spec").as_object()["leaseDurationSeconds"] = std::numeric_limits<std::int64_t>::max();
  CHECK(!a.turn(seconds(20)));
  CHECK(!a.turn(seconds(40)));
  // And no negative time.
  server.lease.at("spec").as_object()["leaseDurationSeconds"] = -7;
  CHECK(!a.turn(seconds(41)));
  CHECK(a.turn(seconds(56)));
}

TEST_CASE("election: of many with clocks of their own, never do two lead") {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    Server server;
    std::vector<Candidate> all;
    for (const char* name : {"a", "b", "c", "d"}) all.emplace_back(server, name);
    int led = 0;
    for (int now = 0; now < 300; ++now) {
      int leading = 0;
      for (int i = 0; i < 4; ++i) {
        const seconds own(1000 * i + now);
        // Each sleeps at times for longer than a Lease lasts.
        const bool awake = (now / 20 + i) % 3 != 0 && random() % 4 == 0;
        if (awake) all[i].turn(own);
      }
      for (int i = 0; i < 4; ++i) leading += all[i].election.leads(at(seconds(1000 * i + now))) ? 1 : 0;
      CHECK(leading <= 1);
      led += leading;
    }
    CHECK(led > 0);
  }
}

}  // namespace
}  // namespace underpass::controller
