// SPDX-License-Identifier: Apache-2.0
// What the agents make of an object, as a condition of its status: "underpass.dev/Accepted", True, or False with the
// field and the cause. Others' conditions are left alone. Pure; routes will get theirs in the same way.
#pragma once

#include <boost/json/value.hpp>
#include <chrono>
#include <optional>
#include <string>

#include "agent/k8s/api/api_kind.h"
#include "agent/k8s/api/object_reader.h"

namespace underpass::controller {

inline constexpr const char* kAccepted = "underpass.dev/Accepted";

// Why agents refuse it; empty: they do not.
std::string refusal_of(const k8s::ApiKind& kind, k8s::Received received);

// A merge patch of the object's status, refused by the API server where the object has become another; nothing: the
// status says so already.
std::optional<boost::json::value> status_patch(const boost::json::value& object, const std::string& refusal,
                                               std::chrono::system_clock::time_point now);

}  // namespace underpass::controller
