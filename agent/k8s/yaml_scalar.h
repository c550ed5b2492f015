// SPDX-License-Identifier: Apache-2.0
// What a plain scalar means in the core schema of YAML 1.2 (§10.3.2).
#pragma once

#include <boost/json/value.hpp>
#include <string>

namespace underpass::k8s {

// null, true, false, a number, or the text itself.
boost::json::value resolve_plain_scalar(const std::string& text);

}  // namespace underpass::k8s
