// SPDX-License-Identifier: Apache-2.0
// The admin protocol: a unix stream socket, one JSON object a line each way. A request is {"command": NAME,
// …arguments}; the answer {"result": ANY} or {"error": {"code": "not-found" | "usage" | "failed", "message": TEXT}}. A
// connection may carry several requests, one after the other. This file holds the words; server.h and client.h hold the
// sockets.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ipc/listeners.h"
#include "underpass/ids.h"
#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace underpass::admin {

enum class ErrorCode {
  kNotFound,  // what the request names does not exist
  kUsage,     // the request itself is wrong
  kFailed,
};

struct CommandError {
  ErrorCode code = ErrorCode::kFailed;
  std::string message;

  bool operator==(const CommandError&) const = default;
};

using Answer = std::expected<boost::json::value, CommandError>;

inline std::unexpected<CommandError> refuse(ErrorCode code, std::string message) {
  return std::unexpected(CommandError{code, std::move(message)});
}

// <run-dir>/admin.sock
std::string socket_path(const std::string& run_dir);

// One line, with its line feed.
std::string encode_answer(const Answer& answer);
std::string encode_request(const boost::json::object& request);

// Lines come without their line feed. A request is an object with a "command" that is a non-empty string.
std::expected<boost::json::object, CommandError> decode_request(std::string_view line);
// Error: the line is no answer at all.
Result<Answer> decode_answer(std::string_view line);

// Arguments of `detach` and `attach`: {"namespace": NS} or {"node": true}, and for detach {"timeout": milliseconds}.
struct Scope {
  std::optional<std::string> ns;  // absent: the node
  std::chrono::milliseconds timeout{30'000};

  bool operator==(const Scope&) const = default;
};

boost::json::object encode_scope(std::string_view command, const Scope& scope);
std::expected<Scope, CommandError> decode_scope(const boost::json::object& request);

// Argument of `ready`: {"instance": TEXT}; empty where there is none.
std::expected<std::string, CommandError> decode_instance(const boost::json::object& request);

// Arguments of `retire`: {"instance": TEXT, "pid": NUMBER, "listeners": BOOL}: who takes over, and whether it takes the
// listening sockets too. They come beside the answer, which is {"listeners": [NAMES]} (agent/ipc/listeners.h); when
// the connection ends after that, the agent has let go of everything.
struct Retirement {
  std::string instance;
  std::int64_t pid = 0;
  bool listeners = false;

  bool operator==(const Retirement&) const = default;
};

boost::json::object encode_retirement(const Retirement& retirement);
std::expected<Retirement, CommandError> decode_retirement(const boost::json::object& request);
boost::json::object encode_listeners(const ipc::Listeners& listeners);
// Empty where the answer and the descriptors do not agree.
ipc::Listeners decode_listeners(const boost::json::value& answer, std::vector<UniqueFd> descriptors);

// Argument of `relearn` and `proxy-config`: {"namespace": NS, "pod": NAME}.
boost::json::object encode_pod(std::string_view command, const NamespacedName& pod);
std::expected<NamespacedName, CommandError> decode_pod(const boost::json::object& request);

}  // namespace underpass::admin
