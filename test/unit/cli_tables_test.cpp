// SPDX-License-Identifier: Apache-2.0
// The tables of underpassctl, as golden texts.
#include "agent/cli/tables.h"

#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <sstream>

#include "agent/cli/service_tables.h"

using namespace underpass;
using namespace underpass::cli;
using namespace std::chrono;
namespace json = boost::json;

namespace {

std::string dump_text(std::string_view entries,
                      MapSummary map = {.name = "m", .type = "hash", .entries = {}, .capacity = 8},
                      const std::string& note = "") {
  const json::array rows = json::parse(entries).as_array();
  if (map.capacity != 0) map.entries = rows.size();
  std::ostringstream out;
  print_map_dump(out, map, note, [&](const TakeEntry& take) {
    for (const json::value& row : rows) CHECK(take(row.as_object()));
  });
  return out.str();
}

}  // namespace

TEST_CASE("cli tables: status") {
  CHECK(status_text(json::parse(R"({
    "node": "node-a", "version": "0.1.0", "state": "degraded", "reasons": ["capability x: missing", "Pod a/b: refused"],
    "staleSince": null, "detached": {"node": false, "namespaces": ["a", "b"], "since": "2026-03-01T08:00:00.000Z"},
    "denyErrno": null, "listen": {"metrics": "0.0.0.0:15020", "ready": "[::]:15021"},
    "capabilities": [{"name": "btf", "result": "exact", "reason": null}, {"name": "y", "result": "exact"},
                     {"name": "x", "result": "tcp", "reason": null}],
    "pods": {"enrolled": 2, "refused": 1}, "memory": {"used": 16384, "limit": 67108864}})")) ==
        "NODE          node-a\n"
        "VERSION       0.1.0\n"
        "STATE         degraded\n"
        "REASON        capability x: missing\n"
        "REASON        Pod a/b: refused\n"
        "STALE SINCE   -\n"
        "DETACHED      namespaces a,b, since 2026-03-01T08:00:00.000Z\n"
        "PODS          2 enrolled, 1 refused\n"
        "MEMORY        16.0 KiB of 64.0 MiB\n"
        "DENY ERRNO    -\n"
        "METRICS       0.0.0.0:15020\n"
        "READY         [::]:15021\n"
        "CAPABILITIES  2 exact, 1 tcp\n");
  CHECK(status_text(json::parse(R"({"detached": {"node": true, "namespaces": []}})")).contains("DETACHED      node\n"));
}

TEST_CASE("cli tables: capabilities") {
  CHECK(capabilities_table(json::parse(R"([{"name": "btf", "result": "exact", "reason": "kernel 6.1"},
                                           {"name": "recv-tracepoint", "result": "tcp", "reason": null}])"))
            .to_text() ==
        "NAME             RESULT  REASON\n"
        "btf              exact   kernel 6.1\n"
        "recv-tracepoint  tcp     -\n");
}

TEST_CASE("cli tables: pods") {
  CHECK(pods_table(json::parse(R"([
    {"namespace": "shop", "name": "web", "ip": "10.0.0.7", "ips": ["10.0.0.7", "fd00::7"],
     "identity": "spiffe://cluster.local/ns/shop/sa/web", "netnsCookie": "4027", "enrolled": true, "reason": null,
     "capture": "always", "shortCircuit": "on", "shortCircuitReason": "annotation on Namespace"},
    {"namespace": "shop", "name": "old", "ip": null, "ips": [], "identity": null, "netnsCookie": null,
     "enrolled": false, "reason": "netns /var/run/netns/old: not found", "capture": "none",
     "shortCircuit": "off", "shortCircuitReason": "not enrolled"}])"))
            .to_text() ==
        "NAMESPACE  NAME  IPS               ENROLLED  CAPTURE  SHORT-CIRCUIT  WHY                                  "
        "IDENTITY                               NETNS\n"
        "shop       web   10.0.0.7,fd00::7  yes       always   on             annotation on Namespace              "
        "spiffe://cluster.local/ns/shop/sa/web  4027\n"
        "shop       old   -                 no        none     off            netns /var/run/netns/old: not found  "
        "-                                      -\n");
}

TEST_CASE("cli tables: connections") {
  const auto now = sys_days(2026y / March / 1) + 9h + 3min + 12s;
  CHECK(connections_table(json::parse(R"([
    {"id": "4711", "source": {"ip": "10.0.0.7", "port": 40000, "namespace": "shop", "pod": "web"},
     "destination": {"ip": "fd00::9", "port": 80, "namespace": null, "pod": null, "service": "shop/api:80"},
     "way": "short-circuit",
     "state": "established", "bytesSent": 1258291, "bytesReceived": 12, "bytesShortCircuited": 1258303,
     "fallbackReason": "first-message", "startedAt": "2026-03-01T09:00:00.000Z"},
    {"id": "5", "way": "direct", "state": null, "source": null, "bytesSent": -1, "startedAt": "nonsense"}])"),
                          now)
            .to_text() ==
        "ID    FROM      SOURCE          TO  DESTINATION   SERVICE      WAY            STATE           SENT  RECEIVED  "
        "SHORT-CIRCUITED  FALLBACK         AGE\n"
        "4711  shop/web  10.0.0.7:40000  -   [fd00::9]:80  shop/api:80  short-circuit  established  1.2 MiB      12 B  "
        "        "
        "1.2 MiB  first-message  3m12s\n"
        "5     -         -               -   -             -            direct         -                  -         -  "
        "              "
        "-  -                  -\n");
}

TEST_CASE("cli tables: what an agent of another version sends is shown as far as it goes") {
  for (const char* odd : {"null", "7", "[]", "{}", R"("text")", "[1, null, [], {}]"}) {
    CAPTURE(odd);
    const json::value value = json::parse(odd);
    CHECK(!status_text(value).empty());
    CHECK(!pods_table(value).to_text().empty());
    CHECK(!connections_table(value, {}).to_text().empty());
    CHECK(!capabilities_table(value).to_text().empty());
    CHECK(!cut_table(value).to_text().empty());
    CHECK(!services_table(value).to_text().empty());
    CHECK(!explain_text(value).empty());
    CHECK(!flow_line(value).empty());
    CHECK(!proxy_config_text(value).empty());
  }
}

TEST_CASE("cli tables: services") {
  CHECK(services_table(json::parse(R"([
    {"namespace": "shop", "name": "web", "port": 80, "protocol": "tcp", "family": "IPv4",
     "frontends": ["10.96.0.1:80", "*:30080"],
     "backends": [{"ip": "10.0.0.7", "port": 8080, "weight": 1, "pod": "shop/web-1"},
                  {"ip": "10.0.0.8", "port": 8080}, {"ip": "10.0.0.9", "port": 8080}],
     "loadBalancing": "maglev", "affinitySeconds": 10800, "state": "active", "cause": null},
    {"namespace": "shop", "name": "none", "port": 53, "protocol": "udp", "family": "IPv6",
     "frontends": ["[fd00::1]:53"], "backends": [], "loadBalancing": "random", "affinitySeconds": 0, "state": "active",
     "cause": null},
    {"namespace": "shop", "name": "late", "port": null, "protocol": null, "family": null, "frontends": [],
     "backends": [], "loadBalancing": null, "affinitySeconds": 0, "state": "refused", "cause": "taken"}])"))
            .to_text() ==
        "NAMESPACE  NAME  PORT    FAMILY  FRONTENDS             BACKENDS                            LB      AFFINITY  "
        "STATE    WHY\n"
        "shop       web   80/tcp  IPv4    10.96.0.1:80,*:30080  3: 10.0.0.7:8080,10.0.0.8:8080,...  maglev  3h        "
        "active   -\n"
        "shop       none  53/udp  IPv6    [fd00::1]:53          0                                   random  -         "
        "active   -\n"
        "shop       late  -       -       -                     -                                   -       -         "
        "refused  taken\n");
}

TEST_CASE("cli tables: an explanation") {
  CHECK(explain_text(json::parse(R"({"verdict": "deny", "way": "direct", "reason": "none is ready",
    "decidedBy": {"kind": "Service", "namespace": "shop", "name": "web", "rule": null}, "service": "shop/web:80",
    "dialled": "10.96.0.1:80", "backends": ["10.0.0.7:8080", "10.0.0.8:8080"]})")) ==
        "VERDICT     deny\n"
        "WAY         direct\n"
        "REASON      none is ready\n"
        "DECIDED BY  Service shop/web\n"
        "SERVICE     shop/web:80\n"
        "DIALLED     10.96.0.1:80\n"
        "BACKENDS    10.0.0.7:8080,10.0.0.8:8080\n");
  CHECK(explain_text(json::parse(R"({"decidedBy": {"kind": "K", "namespace": "a", "name": "b", "rule": "rules[1]"}})"))
            .contains("DECIDED BY  K a/b rules[1]\n"));
}

TEST_CASE("cli tables: a worker") {
  CHECK(proxy_config_text(json::parse(R"({
    "namespace": "shop", "pod": "web", "captureReason": "annotation on Namespace",
    "worker": {"name": "shop", "state": "ready", "since": "2026-03-01T09:00:00.000Z", "problem": null,
               "pid": 4711, "version": "0.1.0", "restarts": 1, "cgroup": "/sys/fs/cgroup/underpass/workers/shop"},
    "listeners": [{"direction": "outbound", "family": "IPv4", "address": "127.0.0.1", "port": 15001},
                  {"direction": "inbound", "family": "IPv6", "address": "::1", "port": 15006}],
    "dialSockets": {"ipv4": 64, "ipv6": 3},
    "config": {"revision": 2, "threads": 1, "connectTimeoutMs": 5400500, "idleTimeoutMs": 0, "drainTimeoutMs": 0,
               "pods": [{"namespace": "shop", "name": "web", "netnsCookie": "12",
                         "identity": "spiffe://cluster.local/ns/shop/sa/web"}],
               "identities": [{"number": 2, "identity": "spiffe://cluster.local/ns/shop/sa/web"}]}})")) ==
        "POD           shop/web\n"
        "CAPTURED BY   annotation on Namespace\n"
        "WORKER        shop\n"
        "STATE         ready, since 2026-03-01T09:00:00.000Z\n"
        "PROBLEM       -\n"
        "PID           4711\n"
        "VERSION       0.1.0\n"
        "RESTARTS      1\n"
        "CGROUP        /sys/fs/cgroup/underpass/workers/shop\n"
        "LISTENER      outbound 127.0.0.1:15001\n"
        "LISTENER      inbound [::1]:15006\n"
        "DIAL SOCKETS  64 IPv4, 3 IPv6\n"
        "CONFIG        revision 2, threads 1, connect timeout 1h30m500ms, idle timeout for ever, drain timeout 0\n"
        "\n"
        "NAMESPACE  NAME  IDENTITY                               NETNS\n"
        "shop       web   spiffe://cluster.local/ns/shop/sa/web  12\n"
        "\n"
        "NUMBER  IDENTITY\n"
        "     2  spiffe://cluster.local/ns/shop/sa/web\n");
}

TEST_CASE("cli tables: flows have columns that do not move") {
  CHECK(flows_header() ==
        "TIME                      EVENT    PROTO  FROM                  SOURCE                 TO                    "
        "DESTINATION            SERVICE               WAY                 SENT   RECEIVED  DURATION  FALLBACK  POLICY  "
        "  REQUEST\n");
  CHECK(flow_line(json::parse(R"({"seq": 1, "time": "2026-03-01T09:00:00.000Z", "event": "closed", "protocol": "tcp",
    "way": "direct", "source": {"ip": "10.0.0.7", "port": 40000, "namespace": "shop", "pod": "web-1"},
    "destination": {"ip": "10.0.0.9", "port": 5432, "namespace": null, "pod": null, "service": "shop/db:5432"},
    "bytesSent": 10, "bytesReceived": 1258291, "durationMs": 3999, "fallbackReason": "not-local"})")) ==
        "2026-03-01T09:00:00.000Z  closed   tcp    shop/web-1            10.0.0.7:40000         -                     "
        "10.0.0.9:5432          shop/db:5432          direct              10 B    1.2 MiB        3s  not-local  -\n");
  const std::string refused = flow_line(json::parse(R"({"event": "refused", "dialled": "10.96.0.1:80", "way": null,
    "destination": {"ip": null, "port": null, "service": "a/name-that-is-longer-than-its-column:80"},
    "durationMs": null})"));
  CHECK(refused.contains("  10.96.0.1:80           a/name-that-is-longer-than-its-column:80  -  "));
  CHECK(refused.ends_with("         -  -         -\n"));
  CHECK(flow_line(json::parse(R"({"event": "denied", "policy": "AuthorizationPolicy shop/web rules[0]"})"))
            .ends_with("  -         AuthorizationPolicy shop/web rules[0]\n"));
  CHECK(flow_line(json::parse(R"({"durationMs": 850, "source": {"pod": "x\u001b"}})")).contains("850ms"));
}

TEST_CASE("cli tables: maps") {
  const std::vector<MapSummary> maps{
      {.name = "up_pods", .type = "hash", .entries = 2, .capacity = 4096, .key_size = 8, .value_size = 336},
      {.name = "up_sk", .type = "sk_storage", .entries = {}, .capacity = 0, .key_size = 4, .value_size = 16}};
  CHECK(maps_table(maps).to_text() ==
        "NAME     TYPE        ENTRIES  CAPACITY  KEY  VALUE\n"
        "up_pods  hash              2      4096  8 B  336 B\n"
        "up_sk    sk_storage        -         -  4 B   16 B\n");
}

TEST_CASE("cli tables: a dump with short rows is a table") {
  CHECK(dump_text(R"([{"key": {"addr": "10.0.0.7"}, "value": {"netns_cookie": "12"}},
                      {"key": {"addr": "fd00::7"}, "value": {"netns_cookie": "345"}}])") ==
        "m: hash, 2 entries of 8\n"
        "\n"
        "ADDR      NETNS_COOKIE\n"
        "10.0.0.7  12\n"
        "fd00::7   345\n");
  CHECK(dump_text(R"([{"key": 0, "value": [1, 2]}])") == "m: hash, 1 entry of 8\n\nKEY  VALUE\n0    1,2\n");
}

TEST_CASE("cli tables: a dump with unequal rows is a block for each") {
  CHECK(dump_text(R"([{"key": "1", "value": {"a": 1, "end": {"client": {"port": 80}}, "none": {}}},
                      {"key": "2", "value": {"a": 2, "list": [{"x": 1}, {"x": 2}]}},
                      {"key": "3", "value": null}])") ==
        "m: hash, 3 entries of 8\n"
        "\n"
        "KEY  1\n"
        "  a                1\n"
        "  end.client.port  80\n"
        "  none             -\n"
        "\n"
        "KEY  2\n"
        "  a          2\n"
        "  list[0].x  1\n"
        "  list[1].x  2\n"
        "\n"
        "KEY  3\n"
        "  value  -\n");
}

TEST_CASE("cli tables: a dump with long rows is a block for each") {
  const std::string wide(150, 'x');
  CHECK(dump_text(R"([{"key": "1", "value": {"text": ")" + wide + R"(", "number": 1}}])") ==
        "m: hash, 1 entry of 8\n\nKEY  1\n  text    " + wide + "\n  number  1\n");
}

TEST_CASE("cli tables: a dump without entries says why") {
  CHECK(dump_text("[]", {.name = "up_sk", .type = "sk_storage", .entries = {}}, "cannot be listed") ==
        "up_sk: sk_storage\nnote: cannot be listed\n");
  CHECK(dump_text("[]") == "m: hash, 0 entries of 8\n");
}

TEST_CASE("cli tables: a dump to nobody ends early") {
  std::ostringstream out;
  out.setstate(std::ios::badbit);
  int taken = 0;
  print_map_dump(out, {.name = "m", .type = "hash", .entries = 2, .capacity = 8}, "", [&](const TakeEntry& take) {
    while (taken < 10 && take(json::object{{"key", std::string(200, 'x')}, {"value", 1}})) ++taken;
  });
  CHECK(taken == 0);
}
