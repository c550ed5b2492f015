// SPDX-License-Identifier: Apache-2.0
// spec.proxy.http of the Mesh: how workers treat HTTP. What is absent has the default of HttpSettings.
#pragma once

#include "agent/k8s/field.h"
#include "underpass/proxy_settings.h"

namespace underpass::k8s {

HttpSettings decode_http_settings(const Field& field);

}  // namespace underpass::k8s
