// SPDX-License-Identifier: Apache-2.0
// Bytes as they stand in Kubernetes' objects and kubeconfig files: base64 (RFC 4648 §4), with padding, in one line or
// several.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace underpass::k8s {

// None: it is not base64.
std::optional<std::string> decode_base64(std::string_view text);
// In one line.
std::string encode_base64(std::string_view bytes);

}  // namespace underpass::k8s
