// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/session.h"

#include <boost/json/serialize.hpp>

#include "agent/admin/protocol.h"
#include "agent/cli/text.h"

namespace underpass::cli {

std::expected<boost::json::value, admin::CallError> Session::ask(const boost::json::object& request,
                                                                 std::chrono::milliseconds timeout) const {
  return admin::call(admin::socket_path(run_dir), request, timeout);
}

ExitCode Session::report(const admin::CallError& error) const {
  using Kind = admin::CallError::Kind;
  switch (error.kind) {
    case Kind::kUnreachable:
      return report("no agent answers: " + error.message +
                        "\nIs underpassd running on this node? If it has another --run-dir, give the same one here."
                        "\nWithout an agent these still work: check, map list, map dump, detach --node, attach.",
                    kUnreachable);
    case Kind::kForbidden:
      return report(error.message + "\nOnly root and the agent's own user may ask it: try again with sudo.",
                    kUnreachable);
    case Kind::kNoAnswer:
      return report(error.message + "\nThe agent is there but does not answer: look at its log.", kUnreachable);
    case Kind::kNotFound:
      return report(error.message, kNotFound);
    case Kind::kUsage:
      return report(error.message, kUsage);
    case Kind::kFailed:
      break;
  }
  return report(error.message);
}

ExitCode Session::report(std::string_view problem, ExitCode code) const {
  err << "underpassctl: ";
  for (std::size_t at = 0; at <= problem.size();) {
    const std::size_t end = std::min(problem.find('\n', at), problem.size());
    err << to_printable(problem.substr(at, end - at)) << '\n';
    at = end + 1;
  }
  return code;
}

void Session::print(const boost::json::value& value) const { out << boost::json::serialize(value) << '\n'; }

void Session::print(const Table& table, std::string_view if_empty) const {
  out << table.to_text();
  if (table.is_empty()) err << if_empty << '\n';
}

}  // namespace underpass::cli
