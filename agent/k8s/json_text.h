// SPDX-License-Identifier: Apache-2.0
// The short way for what programs write: JSON is YAML, and ten times faster to parse for what it is. Takes only
// texts that mean the same either way, so that nobody can tell but by the time; the limits of yaml.h hold here too.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "agent/k8s/yaml.h"

namespace underpass::k8s {

// The documents of a text in which each is a JSON object, lines "---" between them. Nothing for any other text, a wrong
// one too: what is wrong with it, and in which line, the YAML parser says.
std::optional<std::vector<YamlDocument>> parse_json_text(std::string_view text);

}  // namespace underpass::k8s
