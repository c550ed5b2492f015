// SPDX-License-Identifier: Apache-2.0
// The subcommands about Services: services, explain.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "agent/cli/commands.h"
#include "agent/cli/json_text.h"
#include "agent/cli/service_tables.h"

namespace underpass::cli {
namespace {

namespace json = boost::json;

constexpr std::chrono::seconds kPatience(30);

}  // namespace

ExitCode show_services(const Session& session) {
  const auto services = session.ask({{"command", "services"}}, kPatience);
  if (!services) return session.report(services.error());
  if (!services->is_array())
    return session.report("the agent's answer to services is not a list: is it of another version?");
  if (session.json) {
    session.print(*services);
  } else {
    session.print(services_table(*services), "no Services");
  }
  return kDone;
}

ExitCode show_explain(const Session& session, const ExplainArguments& arguments) {
  json::object request{
      {"command", "explain"}, {"from", arguments.from}, {"to", arguments.to}, {"protocol", arguments.protocol}};
  if (!arguments.method.empty()) request["method"] = arguments.method;
  if (!arguments.path.empty()) request["path"] = arguments.path;
  if (!arguments.headers.empty()) {
    json::array headers;
    for (const std::string& header : arguments.headers) headers.emplace_back(header);
    request["headers"] = std::move(headers);
  }
  const auto explanation = session.ask(request, kPatience);
  if (!explanation) return session.report(explanation.error());
  if (session.json) {
    session.print(*explanation);
  } else {
    session.out << explain_text(*explanation);
  }
  return text_at(*explanation, {"verdict"}) == "allow" ? kDone : kNegative;
}

}  // namespace underpass::cli
