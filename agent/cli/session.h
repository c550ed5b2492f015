// SPDX-License-Identifier: Apache-2.0
// What every subcommand shares: where things are, where to write, what the exit codes mean, and asking the agent.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <expected>
#include <ostream>
#include <string>
#include <string_view>

#include "agent/admin/client.h"
#include "agent/cli/table.h"

namespace underpass::cli {

enum ExitCode : int {
  kDone = 0,
  kNegative = 1,  // the answer is no, or it failed
  kUsage = 2,
  kUnreachable = 3,  // no agent, or not for us
  kNotFound = 4,
};

struct Session {
  std::string run_dir = "/run/underpass";
  std::string bpffs = "/sys/fs/bpf";
  std::string state_dir = "/var/lib/underpass";
  bool json = false;  // -o json
  bool pem = false;   // -o pem
  std::ostream& out;
  std::ostream& err;

  [[nodiscard]] std::expected<boost::json::value, admin::CallError> ask(const boost::json::object& request,
                                                                        std::chrono::milliseconds timeout) const;

  // Says on err what went wrong and what to do about it; returns the exit code for it.
  ExitCode report(const admin::CallError& error) const;
  ExitCode report(std::string_view problem, ExitCode code = kNegative) const;

  void print(const boost::json::value& value) const;  // one line
  // The header and the rows; where there are none, `if_empty` on err.
  void print(const Table& table, std::string_view if_empty) const;
};

}  // namespace underpass::cli
