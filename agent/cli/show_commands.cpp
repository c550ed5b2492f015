// SPDX-License-Identifier: Apache-2.0
// The subcommands that only look: status, check, pods, connections, version.
#include <algorithm>

#include "agent/admin/views.h"
#include "agent/admin/wall_clock.h"
#include "agent/cli/commands.h"
#include "agent/cli/json_text.h"
#include "agent/cli/tables.h"
#include "agent/dataplane/probe.h"

namespace underpass::cli {
namespace {

namespace json = boost::json;

constexpr std::chrono::seconds kPatience(30);

std::expected<json::value, admin::CallError> ask_for(const Session& session, std::string_view command) {
  return session.ask({{"command", command}}, kPatience);
}

// An answer that must be a list.
std::expected<json::value, admin::CallError> ask_for_list(const Session& session, std::string_view command) {
  auto answer = ask_for(session, command);
  if (answer && !answer->is_array()) {
    return std::unexpected(admin::CallError{
        admin::CallError::Kind::kFailed,
        "the agent's answer to " + std::string(command) + " is not a list: is it of another version?"});
  }
  return answer;
}

}  // namespace

ExitCode show_status(const Session& session) {
  const auto status = ask_for(session, "status");
  if (!status) return session.report(status.error());
  if (session.json) {
    session.print(*status);
  } else {
    session.out << status_text(*status);
  }
  return kDone;
}

ExitCode show_ready(const Session& session, const std::string& instance) {
  const auto answer = session.ask({{"command", "ready"}, {"instance", instance}}, kPatience);
  if (!answer) return session.report(answer.error());
  const bool ready = text_at(*answer, {"ready"}) == "yes";
  if (session.json)
    session.print(*answer);
  else
    session.out << (ready ? "ready" : text_at(*answer, {"reason"})) << "\n";
  return ready ? kDone : kNegative;
}

ExitCode show_check(const Session& session) {
  using Kind = admin::CallError::Kind;
  auto rows = ask_for_list(session, "check");
  if (!rows) {
    const Kind kind = rows.error().kind;
    if (kind != Kind::kUnreachable && kind != Kind::kForbidden && kind != Kind::kNoAnswer)
      return session.report(rows.error());
    const auto probed = dataplane::probe_capabilities(dataplane::Watchpoints::kAuto);
    if (!probed) return session.report(probed.error().message);
    rows = admin::capabilities_view(*probed);
  }
  if (session.json) {
    session.print(*rows);
  } else {
    session.print(capabilities_table(*rows), "no capabilities");
  }
  const bool good = std::ranges::all_of(rows->get_array(), [](const json::value& row) {
    const std::string result = text_at(row, {"result"});
    return result == "exact" || result == "guarded";
  });
  return good ? kDone : kNegative;
}

ExitCode show_pods(const Session& session) {
  const auto pods = ask_for_list(session, "pods");
  if (!pods) return session.report(pods.error());
  if (session.json) {
    session.print(*pods);
  } else {
    session.print(pods_table(*pods), "no pods on this node");
  }
  return kDone;
}

ExitCode show_connections(const Session& session) {
  const auto connections = ask_for_list(session, "connections");
  if (!connections) return session.report(connections.error());
  if (session.json) {
    session.print(*connections);
  } else {
    session.print(connections_table(*connections, std::chrono::system_clock::now()), "no connections");
  }
  return kDone;
}

ExitCode show_version(const Session& session) {
  if (session.json) {
    session.print(json::object{{"version", UNDERPASS_VERSION}});
  } else {
    session.out << "underpassctl " UNDERPASS_VERSION "\n";
  }
  return kDone;
}

}  // namespace underpass::cli
