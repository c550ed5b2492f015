// SPDX-License-Identifier: Apache-2.0
// The subcommand about certificates: certs, certs rotate-root.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "agent/cli/commands.h"
#include "agent/cli/help.h"
#include "agent/cli/json_text.h"
#include "agent/cli/table.h"

namespace underpass::cli {

namespace help {

const char* const kCerts = "The certificates of this node's pods, and of the authority that made them";
const char* const kCertsMore = R"(Columns:
  KIND       root: one of the trust bundle, from which peers' certificates must come; intermediate: what signs, and what
             is between it and its root; svid: of a service account
  NAME       the SPIFFE id, or the subject of an authority
  SERIAL     as `openssl x509 -serial` prints it
  FROM, UNTIL, RENEWAL
             validity, and when another is made in its place; "-": nobody does that here
  STATE      valid; expired; not-yet-valid; missing: there is none
  PROBLEM    why there is none, or why it was not renewed

-o pem prints the certificates, those of pods with what leads to their root, and then the roots. Keys are never shown.

Examples:
  underpassctl certs
  underpassctl certs -o json | jq -r '.[] | select(.kind == "svid") | [.identity, .notAfter] | @tsv'
  underpassctl certs -o pem | openssl storeutl -noout -text -certs /dev/stdin
  underpassctl certs rotate-root

The JSON is [{kind, identity, subject, issuer, serial, notBefore, notAfter, renewalAt, state, problem}].

Exit status:
  0 done; 3 no agent)";

const char* const kRotateRoot = "Begin to replace the root of the mesh's own authority";
const char* const kRotateRootMore =
    R"(The new root is in the trust bundle at once. It signs once every agent had time to
see it (--root-overlap of underpassd, 60 s), and all certificates are made anew then. The old one leaves the bundle after
the longest certificate made under it has ended. `underpassctl certs` shows how far it is. An authority of your own,
without root-key.pem, is replaced by its files: docs/certificates.md.

Exit status:
  0 begun; 1 not possible, and why; 3 no agent)";

}  // namespace help

namespace {

constexpr std::chrono::seconds kPatience(30);

void print_pem(const Session& session, const boost::json::array& rows) {
  for (const bool roots : {false, true})
    for (const auto& row : rows) {
      const auto kind = text_at(row, {"kind"});
      if (kind != (roots ? "root" : "svid")) continue;
      const auto name = text_at(row, {roots ? "subject" : "identity"});
      const auto pem = text_at(row, {"pem"});
      if (!pem.empty()) session.out << "# " << kind << " " << name << "\n" << pem;
    }
}

// In one column with what it is the name of: an SVID has no subject, an authority no identity.
std::string name_at(const boost::json::value& row) {
  const auto identity = text_at(row, {"identity"});
  return identity.empty() ? text_at(row, {"subject"}) : identity;
}

}  // namespace

ExitCode show_certs(const Session& session) {
  const auto rows = session.ask({{"command", "certs"}, {"pem", session.pem}}, kPatience);
  if (!rows) return session.report(rows.error());
  if (!rows->is_array()) return session.report("the agent's answer to certs is not a list: is it of another version?");
  if (session.pem) {
    print_pem(session, rows->get_array());
    return kDone;
  }
  if (session.json) {
    session.print(*rows);
    return kDone;
  }
  Table table({{"KIND"}, {"NAME"}, {"ISSUER"}, {"SERIAL"}, {"FROM"}, {"UNTIL"}, {"RENEWAL"}, {"STATE"}, {"PROBLEM"}});
  for (const auto& row : rows->get_array())
    table.add({text_at(row, {"kind"}), name_at(row), text_at(row, {"issuer"}), text_at(row, {"serial"}),
               text_at(row, {"notBefore"}), text_at(row, {"notAfter"}), text_at(row, {"renewalAt"}),
               text_at(row, {"state"}), text_at(row, {"problem"})});
  session.print(table, "no certificates: no pod of this node speaks with another node's through a worker");
  return kDone;
}

ExitCode rotate_root(const Session& session) {
  const auto answer = session.ask({{"command", "rotate-root"}}, kPatience);
  if (!answer) return session.report(answer.error());
  if (session.json) {
    session.print(*answer);
  } else {
    session.out << "begun: the new root is in the trust bundle; `underpassctl certs` shows when it signs\n";
  }
  return kDone;
}

}  // namespace underpass::cli
