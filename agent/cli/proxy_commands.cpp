// SPDX-License-Identifier: Apache-2.0
// The subcommand about workers: proxy config.
#include <boost/json/object.hpp>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "agent/cli/cells.h"
#include "agent/cli/commands.h"
#include "agent/cli/help.h"
#include "agent/cli/human.h"
#include "agent/cli/json_text.h"
#include "agent/cli/table.h"
#include "agent/cli/tables.h"

namespace underpass::cli {

namespace json = boost::json;

namespace help {

const char* const kProxy = "The workers, through which connections of captured pods go";

const char* const kProxyConfig = "The worker of a pod: how it is, and what it was given";
const char* const kProxyConfigMore = R"~(Lines:
  POD             the pod that was named
  CAPTURED BY     what says underpass.dev/capture: always
  WORKER          its worker: of its namespace, or _shared (Mesh/default, spec.isolation)
  STATE           starting; ready; backing-off: it failed, and is started again after a pause; draining: it takes nothing
                  new, and lets its connections end; and since when
  PROBLEM         what went wrong last
  PID, VERSION    of the running worker; RESTARTS counts those before it
  CGROUP          the worker's own
  LISTENER        a socket in the pod's network namespace: outbound takes what the pod dials, inbound what is dialled of it
  DIAL SOCKETS    made by the agent for dials from the pod, and not used yet
  CONFIG          the number of the configuration that it was given last, and what spec.proxy of Mesh/default comes to
The first table has the pods whose connections this worker takes; the second the identities that it knows clients by, which are
those of this node's enrolled pods.

Examples:
  underpassctl proxy config shop/web-7d4b9c-x2x5k
  underpassctl proxy config shop/web-7d4b9c-x2x5k -o json | jq -r .worker.state

The JSON is {namespace, pod, captureReason, worker: {name, state, since, problem, pid, version, restarts, cgroup},
listeners: [{direction, family, address, port}], dialSockets: {ipv4, ipv6}, config: {revision, threads,
connectTimeoutMs, idleTimeoutMs, drainTimeoutMs, pods: [{namespace, name, netnsCookie, identity}],
identities: [{number, identity}]}}.

Exit status:
  0 done; 3 no agent; 4 no such pod on this node, or it is not captured)~";

}  // namespace help

namespace {

constexpr std::chrono::seconds kPatience(30);

// "1h30m", "500ms"; empty: not a number.
std::string duration_at(const json::value& config, std::string_view name) {
  static constexpr std::pair<std::int64_t, std::string_view> kUnits[] = {
      {3'600'000, "h"}, {60'000, "m"}, {1000, "s"}, {1, "ms"}};
  const json::value* value = find_at(config, {name});
  if (value == nullptr || !value->is_int64()) return "";
  std::int64_t left = value->get_int64();
  std::string out;
  for (const auto& [size, unit] : kUnits) {
    if (left >= size) out += std::to_string(left / size) + std::string(unit);
    left %= size;
  }
  return out.empty() ? "0" : out;
}

std::string idle_of(const json::value& config) {
  const auto duration = duration_at(config, "idleTimeoutMs");
  return duration == "0" ? "for ever" : duration;
}

// "outbound 127.0.0.1:15001"
std::string listener_text(const json::value& listener) {
  const json::value* port = find_at(listener, {"port"});
  if (port == nullptr || !port->is_int64()) return "";
  return text_at(listener, {"direction"}) + " " +
         endpoint(text_at(listener, {"address"}), static_cast<std::uint64_t>(port->get_int64()));
}

}  // namespace

std::string proxy_config_text(const json::value& answer) {
  static const json::value kNothing;
  const json::value* config = find_at(answer, {"config"});
  if (config == nullptr) config = &kNothing;
  const auto since = text_at(answer, {"worker", "since"});

  Properties out;
  out.add("POD", pod_of(answer));
  out.add("CAPTURED BY", text_at(answer, {"captureReason"}));
  out.add("WORKER", text_at(answer, {"worker", "name"}));
  out.add("STATE", text_at(answer, {"worker", "state"}) + (since.empty() ? "" : ", since " + since));
  out.add("PROBLEM", text_at(answer, {"worker", "problem"}));
  for (const auto& [header, member] :
       {std::pair("PID", "pid"), {"VERSION", "version"}, {"RESTARTS", "restarts"}, {"CGROUP", "cgroup"}})
    out.add(header, text_at(answer, {"worker", member}));
  for (const json::value& listener : list_at(answer, {"listeners"})) out.add("LISTENER", listener_text(listener));
  out.add("DIAL SOCKETS",
          text_at(answer, {"dialSockets", "ipv4"}) + " IPv4, " + text_at(answer, {"dialSockets", "ipv6"}) + " IPv6");
  out.add("CONFIG", "revision " + text_at(*config, {"revision"}) + ", threads " + text_at(*config, {"threads"}) +
                        ", connect timeout " + duration_at(*config, "connectTimeoutMs") + ", idle timeout " +
                        idle_of(*config) + ", drain timeout " + duration_at(*config, "drainTimeoutMs"));

  Table pods({{"NAMESPACE"}, {"NAME"}, {"IDENTITY"}, {"NETNS"}});
  for (const json::value& pod : list_at(*config, {"pods"}))
    pods.add({text_at(pod, {"namespace"}), text_at(pod, {"name"}), text_at(pod, {"identity"}),
              text_at(pod, {"netnsCookie"})});
  Table identities({{"NUMBER", Table::Align::kRight}, {"IDENTITY"}});
  for (const json::value& one : list_at(*config, {"identities"}))
    identities.add({text_at(one, {"number"}), text_at(one, {"identity"})});
  return out.to_text() + "\n" + pods.to_text() + "\n" + identities.to_text();
}

ExitCode show_proxy_config(const Session& session, const NamespacedName& pod) {
  const auto answer = session.ask(admin::encode_pod("proxy-config", pod), kPatience);
  if (!answer) return session.report(answer.error());
  if (session.json) {
    session.print(*answer);
  } else {
    session.out << proxy_config_text(*answer);
  }
  return kDone;
}

}  // namespace underpass::cli
