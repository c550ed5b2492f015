// SPDX-License-Identifier: Apache-2.0
#include "test/kube/api_user.h"

#include <boost/json/parse.hpp>
#include <utility>

namespace underpass::test {

boost::json::value ApiAnswer::json() const { return boost::json::parse(body); }

ApiAnswer ApiUser::ask(const std::string& method, const std::string& path, const std::string& body,
                       const std::vector<std::string>& headers) const {
  const std::string type = method == "PATCH" ? "application/merge-patch+json" : "application/yaml";
  std::vector<std::string> argv{"curl",
                                "--silent",
                                "--show-error",
                                "--cacert",
                                cluster_.ca(),
                                "--max-time",
                                "20",
                                "--request",
                                method,
                                "--header",
                                "Authorization: Bearer " + token_,
                                "--header",
                                "Accept: application/json",
                                "--write-out",
                                "\n%{http_code}"};
  for (const std::string& header : headers) argv.insert(argv.end(), {"--header", header});
  if (!body.empty()) argv.insert(argv.end(), {"--header", "Content-Type: " + type, "--data-binary", "@-"});
  argv.push_back(cluster_.server() + path);
  const std::string out = run_ok({.argv = std::move(argv), .input = body});
  const auto end = out.rfind('\n');
  return {.code = std::stoi(out.substr(end + 1)), .body = out.substr(0, end)};
}

}  // namespace underpass::test
