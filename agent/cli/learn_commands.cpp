// SPDX-License-Identifier: Apache-2.0
// The subcommand that makes mode auto start over: relearn.
#include "agent/cli/commands.h"
#include "agent/cli/json_text.h"
#include "agent/cli/text.h"

namespace underpass::cli {
namespace {

constexpr std::chrono::seconds kPatience(30);

}  // namespace

ExitCode relearn(const Session& session, const NamespacedName& pod) {
  const auto answer = session.ask(admin::encode_pod("relearn", pod), kPatience);
  if (!answer) return session.report(answer.error());
  if (session.json) {
    session.print(*answer);
    return kDone;
  }
  const std::string workload =
      text_at(*answer, {"workload", "namespace"}) + "/" + text_at(*answer, {"workload", "owner"});
  session.out << to_printable(workload) << " is learned anew (it was " << to_printable(text_at(*answer, {"was"}))
              << "); its pods here: " << to_printable(text_at(*answer, {"pods"})) << '\n';
  return kDone;
}

}  // namespace underpass::cli
