// SPDX-License-Identifier: Apache-2.0
// spec.extensionProviders of the Mesh: whom policies with action CUSTOM may ask. The fields are those of Istio's
// MeshConfig.ExtensionProvider.
#pragma once

#include <map>
#include <string>

#include "agent/k8s/field.h"
#include "underpass/model/policy.h"

namespace underpass::k8s {

inline constexpr std::size_t kMaxProviders = 64;
inline constexpr std::uint32_t kMaxCheckedBody = 1024 * 1024;  // a request waits in memory while its provider is asked

std::map<std::string, model::ExtAuthzProvider> decode_extension_providers(const Field& list);

}  // namespace underpass::k8s
