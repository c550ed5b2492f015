// SPDX-License-Identifier: Apache-2.0
#include "test/support/ctl.h"

#include <boost/json.hpp>
#include <cstdlib>
#include <stdexcept>

#include "test/support/sockets.h"

namespace underpass::test {
namespace json = boost::json;

std::filesystem::path built_program(const std::string& name) {
  const char* folder = std::getenv("UNDERPASS_BIN");
  return std::filesystem::path(folder != nullptr ? folder : UNDERPASS_BIN_DIR) / name;
}

std::string text_of(const json::value& value) {
  if (value.is_null()) return "";
  return value.is_string() ? std::string(value.as_string()) : json::serialize(value);
}

Finished Ctl::run(const std::vector<std::string>& arguments, milliseconds deadline) const {
  Command command{.argv = {built_program("underpassctl")}};
  command.argv.insert(command.argv.end(), folders_.begin(), folders_.end());
  command.argv.insert(command.argv.end(), arguments.begin(), arguments.end());
  return test::run(command, deadline);
}

json::value Ctl::json(const std::vector<std::string>& arguments) const {
  std::vector<std::string> all{"-o", "json"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const Finished done = run(all);
  if (!done.exit.ok()) {
    throw std::runtime_error("underpassctl " + arguments.at(0) + ": " + done.exit.to_string() + ": " + done.err);
  }
  return json::parse(done.out);
}

std::string Ctl::state() const {
  const Finished done = run({"-o", "json", "status"});
  return done.exit.ok() ? text_of(json::parse(done.out).at("state")) : "";
}

std::vector<PodRow> Ctl::pods() const {
  std::vector<PodRow> rows;
  for (const json::value& pod : json({"pods"}).as_array()) {
    rows.push_back({text_of(pod.at("namespace")) + "/" + text_of(pod.at("name")), pod.at("enrolled").as_bool(),
                    text_of(pod.at("reason")), text_of(pod.at("shortCircuit"))});
  }
  return rows;
}

std::optional<PodRow> Ctl::pod(const std::string& name) const {
  for (const PodRow& row : pods()) {
    if (row.name == name) return row;
  }
  return std::nullopt;
}

std::vector<ConnectionRow> Ctl::connections() const {
  std::vector<ConnectionRow> rows;
  for (const json::value& c : json({"connections"}).as_array()) {
    rows.push_back({.id = text_of(c.at("id")),
                    .way = text_of(c.at("way")),
                    .state = text_of(c.at("state")),
                    .fallback_reason = text_of(c.at("fallbackReason")),
                    .source_pod = text_of(c.at("source").at("pod")),
                    .destination_pod = text_of(c.at("destination").at("pod")),
                    .bytes_sent = c.at("bytesSent").to_number<std::uint64_t>(),
                    .bytes_received = c.at("bytesReceived").to_number<std::uint64_t>()});
  }
  return rows;
}

std::optional<ConnectionRow> Ctl::connection(int fd) const {
  const std::string id = std::to_string(socket_cookie(fd));
  for (const ConnectionRow& row : connections()) {
    if (row.id == id) return row;
  }
  return std::nullopt;
}

}  // namespace underpass::test
