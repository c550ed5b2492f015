// SPDX-License-Identifier: Apache-2.0
// underpassctl as a test uses it: the real program, its JSON parsed.
#pragma once

#include <boost/json/value.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "test/support/process.h"
#include "test/support/sandbox.h"

namespace underpass::test {

// A program of the build: UNDERPASS_BIN, or else the bin folder that the tests were built into.
std::filesystem::path built_program(const std::string& name);

// The fields of DESIGN.md §1 that tests look at.
struct ConnectionRow {
  std::string id;
  std::string way;
  std::string state;
  std::string fallback_reason;  // empty: null
  std::string source_pod;
  std::string destination_pod;
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
};

struct PodRow {
  std::string name;  // "namespace/name"
  bool enrolled = false;
  std::string reason;
  std::string short_circuit;
};

class Ctl {
 public:
  explicit Ctl(const Sandbox& sandbox)
      : folders_{"--run-dir", sandbox.run_dir(), "--bpffs", sandbox.bpffs(), "--state-dir", sandbox.state_dir()} {}

  // underpassctl --run-dir … --bpffs … --state-dir … `arguments`
  [[nodiscard]] Finished run(const std::vector<std::string>& arguments, milliseconds deadline = seconds(45)) const;
  // The same with -o json; throws unless it ends with 0 and prints JSON.
  [[nodiscard]] boost::json::value json(const std::vector<std::string>& arguments) const;

  // "ready", "degraded" or "stale"; empty: the agent does not answer.
  [[nodiscard]] std::string state() const;
  [[nodiscard]] std::vector<PodRow> pods() const;
  [[nodiscard]] std::optional<PodRow> pod(const std::string& name) const;
  [[nodiscard]] std::vector<ConnectionRow> connections() const;
  // The connection of the socket `fd`: its client's end, where that is an enrolled pod's.
  [[nodiscard]] std::optional<ConnectionRow> connection(int fd) const;

 private:
  std::vector<std::string> folders_;
};

// Text of a JSON value; empty for null.
std::string text_of(const boost::json::value& value);

}  // namespace underpass::test
