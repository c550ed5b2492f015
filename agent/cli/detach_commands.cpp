// SPDX-License-Identifier: Apache-2.0
// The subcommands that take a node or a namespace out of the mesh, and back: detach, attach.
#include "agent/admin/detached_marker.h"
#include "agent/admin/views.h"
#include "agent/admin/wall_clock.h"
#include "agent/cli/commands.h"
#include "agent/cli/json_text.h"
#include "agent/cli/tables.h"
#include "agent/cni/enrolment_file.h"
#include "agent/cni/protocol.h"
#include "agent/dataplane/detach.h"
#include "agent/dataplane/pins.h"
#include "agent/workers/drain_running.h"

namespace underpass::cli {
namespace {

namespace json = boost::json;
using Kind = admin::CallError::Kind;

// On top of the drain time, for the agent to stop, cut and unpin.
constexpr std::chrono::seconds kMargin(15);
constexpr std::chrono::seconds kPatience(30);

std::string name_of(const admin::Scope& scope) { return scope.ns ? "namespace " + *scope.ns : "node"; }

std::string undo_hint(const admin::Scope& scope) {
  return "`underpassctl attach" + (scope.ns ? " --namespace " + *scope.ns : "") + "`";
}

// `result`: {cut, removed}, from the agent or from here.
ExitCode report_detached(const Session& session, const admin::Scope& scope, const json::value& result) {
  const json::array& cut = list_at(result, {"cut"});
  const json::array& removed = list_at(result, {"removed"});
  if (session.json) {
    session.print(result);
  } else {
    session.out << name_of(scope) << " detached";
    if (!removed.empty())
      session.out << ", " << removed.size() << (removed.size() == 1 ? " pin" : " pins") << " removed";
    session.out << "; it stays so until " << undo_hint(scope) << '\n';
    if (!cut.empty()) session.out << '\n' << cut_table(cut).to_text();
  }
  if (cut.empty()) return kDone;
  return session.report(std::to_string(cut.size()) + (cut.size() == 1 ? " connection" : " connections") +
                        " had to be cut: the receiver did not read what was queued for it in time");
}

// So that the agent, should it start meanwhile or later, attaches nothing.
Result<void> remember_detached(const std::string& state_dir) {
  Result<admin::DetachedMarker> marker = admin::load_detached_marker(state_dir);
  if (!marker) marker = admin::DetachedMarker{};  // unreadable: what was meant is at most what is asked for now
  marker->node = true;
  if (marker->since.empty()) marker->since = admin::to_rfc3339(std::chrono::system_clock::now());
  return admin::save_detached_marker(state_dir, *marker);
}

ExitCode detach_without_agent(const Session& session, const admin::Scope& scope) {
  const Result<void> remembered = remember_detached(session.state_dir);
  if (!remembered) session.report("the next agent will attach again: " + remembered.error().message);
  // The CNI plugin lets every pod pass that this file does not name.
  const auto enrolment = session.state_dir + "/" + std::string(cni::kEnrolmentName);
  if (const auto gone = cni::remove_enrolment(enrolment); !gone) session.report(gone.error().message);

  const auto result = dataplane::detach_node(dataplane::pin_dir_of(session.bpffs), scope.timeout,
                                             [&](std::string_view step) { session.report(step); });
  if (!result) return session.report("detach: " + result.error().message);
  workers::drain_running(session.run_dir, scope.timeout, [&](std::string_view step) { session.report(step); });
  const ExitCode code = report_detached(session, scope, admin::detach_view(*result));
  return remembered ? code : kNegative;
}

ExitCode attach_without_agent(const Session& session, const admin::Scope& scope) {
  Result<admin::DetachedMarker> marker = admin::load_detached_marker(session.state_dir);
  if (!marker && scope.ns) return session.report(marker.error().message);
  if (!marker) marker = admin::DetachedMarker{.node = true, .namespaces = {}, .since = ""};  // unreadable: gone with it
  const bool was_detached = scope.ns ? marker->namespaces.erase(*scope.ns) > 0 : marker->node;
  if (!scope.ns) marker->node = false;
  if (const Result<void> saved = admin::save_detached_marker(session.state_dir, *marker); !saved) {
    return session.report(saved.error().message);
  }
  if (session.json) {
    session.print(json::object{{"attached", false}, {"reason", "no agent is running: it attaches when it starts"}});
  } else {
    session.out << name_of(scope) << (was_detached ? " no longer detached" : " was not detached")
                << "; no agent is running: it attaches when it starts\n";
  }
  return kDone;
}

}  // namespace

ExitCode detach(const Session& session, const admin::Scope& scope) {
  const auto answer = session.ask(admin::encode_scope("detach", scope), scope.timeout + kMargin);
  if (answer) return report_detached(session, scope, *answer);
  const bool no_agent = answer.error().kind == Kind::kUnreachable || answer.error().kind == Kind::kNoAnswer;
  if (!no_agent) return session.report(answer.error());
  if (scope.ns) {
    session.report(answer.error());
    return session.report("only --node can be detached without an agent", kUnreachable);
  }
  if (answer.error().kind == Kind::kNoAnswer) {
    session.report(answer.error().message + ": detaching the node without it; stop it, or it may attach again");
  }
  return detach_without_agent(session, scope);
}

ExitCode attach(const Session& session, const admin::Scope& scope) {
  const auto answer = session.ask(admin::encode_scope("attach", scope), kPatience);
  if (!answer) {
    return answer.error().kind == Kind::kUnreachable ? attach_without_agent(session, scope)
                                                     : session.report(answer.error());
  }
  if (session.json) {
    session.print(*answer);
  } else {
    session.out << name_of(scope) << " attached\n";
  }
  return kDone;
}

}  // namespace underpass::cli
