// SPDX-License-Identifier: Apache-2.0
// The other end of the admin protocol (protocol.h), for a command-line tool: blocking, with a deadline, no Asio.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <expected>
#include <string>
#include <vector>

#include "underpass/unique_fd.h"

namespace underpass::admin {

struct CallError {
  enum class Kind {
    kUnreachable,  // nobody listens
    kForbidden,    // the socket is not ours to use
    kNoAnswer,     // somebody listens, and did not answer in time or not in our protocol
    kNotFound,     // the agent's own words, from here on
    kUsage,
    kFailed,
  };
  Kind kind = Kind::kFailed;
  std::string message;
};

// Sends one request to the agent whose socket is at `path`. `timeout` bounds the whole call.
std::expected<boost::json::value, CallError> call(const std::string& path, const boost::json::object& request,
                                                  std::chrono::milliseconds timeout);

// An answer with descriptors, and the connection that it came by.
struct Handed {
  boost::json::value answer;
  std::vector<UniqueFd> descriptors;
  UniqueFd connection;
};

std::expected<Handed, CallError> call_for_descriptors(const std::string& path, const boost::json::object& request,
                                                      std::chrono::milliseconds timeout);

}  // namespace underpass::admin
