// SPDX-License-Identifier: Apache-2.0
// How Underpass reports what went wrong: a value or an Error, never an exception across a module's border.
#pragma once

#include <cerrno>
#include <cstring>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace underpass {

// The message goes object → path → cause, for a person: "Pod shop/web: status.podIP: "10.0.0": not an IP address".
struct Error {
  std::string message;

  bool operator==(const Error&) const = default;
};

template <typename T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(std::string message) { return std::unexpected(Error{std::move(message)}); }

// `what` names the operation and its object: fail_errno("open /sys/fs/bpf") → "open /sys/fs/bpf: Permission denied".
inline std::unexpected<Error> fail_errno(std::string_view what, int error = errno) {
  return fail(std::string(what) + ": " + std::strerror(error));
}

// Puts the outer object in front of the cause, on the way up.
inline std::unexpected<Error> fail_in(std::string_view object, const Error& cause) {
  return fail(std::string(object) + ": " + cause.message);
}

}  // namespace underpass
