// SPDX-License-Identifier: Apache-2.0
// The subcommand about who may connect to whom: policies.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "agent/cli/commands.h"
#include "agent/cli/help.h"
#include "agent/cli/json_text.h"
#include "agent/cli/table.h"

namespace underpass::cli {

namespace help {

const char* const kPolicies = "The policies of this mesh, whether they are in force, and what they denied";
const char* const kPoliciesMore = R"(Columns:
  KIND, NAMESPACE, NAME  the object
  STATE      active; stale: its last good version is in force; refused: there is none, so what it is for is closed
  DENIED     connections that it refused; of an ALLOW policy those that it and its like did not allow
  DRY RUN    connections that it would have refused; of a policy in dry run (istio.io/dry-run: "true")
  AUDIT      connections that an AUDIT policy matched
  WHY        of a stale or refused one: the field and what is wrong with it

Examples:
  underpassctl policies
  underpassctl policies -o json | jq '.[] | select(.state != "active") | {name, path, cause}'

The JSON is [{kind, namespace, name, state, path, cause, since, denied, dryRunDenied, audited}].

Exit status:
  0 done; 3 no agent)";

}  // namespace help

ExitCode show_policies(const Session& session) {
  const auto policies = session.ask({{"command", "policies"}}, std::chrono::seconds(30));
  if (!policies) return session.report(policies.error());
  if (!policies->is_array())
    return session.report("the agent's answer to policies is not a list: is it of another version?");
  if (session.json) {
    session.print(*policies);
    return kDone;
  }
  using Align = Table::Align;
  Table table({{"KIND"},
               {"NAMESPACE"},
               {"NAME"},
               {"STATE"},
               {"DENIED", Align::kRight},
               {"DRY RUN", Align::kRight},
               {"AUDIT", Align::kRight},
               {"WHY"}});
  for (const auto& row : policies->get_array()) {
    const auto path = text_at(row, {"path"});
    const auto cause = text_at(row, {"cause"});
    table.add({text_at(row, {"kind"}), text_at(row, {"namespace"}), text_at(row, {"name"}), text_at(row, {"state"}),
               text_at(row, {"denied"}), text_at(row, {"dryRunDenied"}), text_at(row, {"audited"}),
               path.empty() ? cause : path + ": " + cause});
  }
  session.print(table, "no policies");
  return kDone;
}

}  // namespace underpass::cli
