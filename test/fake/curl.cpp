// SPDX-License-Identifier: Apache-2.0
#include "test/fake/curl.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cstdlib>
#include <sstream>

namespace underpass::fake {
namespace json = boost::json;

json::value CurlAnswer::json() const { return json::parse(body); }

test::Command curl_command(const test::FakeApi& api, const std::string& target, const Options& options) {
  test::Command command;
  command.argv = {"curl",       "-sS", "-i",       "-N",
                  "--noproxy",  "*",   "--cacert", (api.in_cluster_folder() / "ca.crt").string(),
                  "--max-time", "5"};
  const bool has_login = std::ranges::any_of(
      options, [](const auto& option) { return option.starts_with("Authorization") || option == "--cert"; });
  if (!has_login) command.argv.insert(command.argv.end(), {"-H", "Authorization: Bearer token-1"});
  command.argv.insert(command.argv.end(), options.begin(), options.end());
  command.argv.push_back(api.url() + target);
  return command;
}

CurlAnswer curl(const test::FakeApi& api, const std::string& target, const Options& options) {
  const auto finished = test::run(curl_command(api, target, options));
  CurlAnswer answer{.exit = finished.exit.code};
  const auto end = finished.out.find("\r\n\r\n");
  answer.head = finished.out.substr(0, end);
  if (end != std::string::npos) answer.body = finished.out.substr(end + 4);
  if (answer.head.starts_with("HTTP/1.1 ")) answer.status = std::atoi(answer.head.c_str() + 9);
  return answer;
}

std::vector<json::value> events_in(const std::string& out) {
  std::vector<json::value> events;
  std::istringstream lines(out);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("{\"type\"") && line.ends_with("}")) events.push_back(json::parse(line));
  }
  return events;
}

std::string show_event(const json::value& event) {
  const auto& object = event.at("object").as_object();
  const auto& metadata = object.at("metadata").as_object();
  std::string text(event.at("type").as_string());
  if (const auto* name = metadata.if_contains("name")) text += " " + std::string(name->as_string());
  if (const auto* version = metadata.if_contains("resourceVersion")) text += " " + std::string(version->as_string());
  if (const auto* code = object.if_contains("code")) text += " " + std::to_string(code->as_int64());
  return text;
}

}  // namespace underpass::fake
