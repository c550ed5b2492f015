// SPDX-License-Identifier: Apache-2.0
// The head of a request that goes out.
#pragma once

#include <string>

#include "userspace_proxy/http/message.h"
#include "userspace_proxy/http1/body_writer.h"

namespace underpass::http1 {

// False: it cannot be said in HTTP/1 without meaning something else; `out` is as before. Starts `body`.
[[nodiscard]] bool write_request(std::string& out, const http::Request& request, BodyWriter& body);

}  // namespace underpass::http1
