// SPDX-License-Identifier: Apache-2.0
// Which codec speaks a version.
#pragma once

#include <memory>
#include <string_view>

#include "userspace_proxy/http/codec.h"

namespace underpass::session {

// `limits` must outlive it.
std::unique_ptr<http::ServerCodec> make_server_codec(bool http2, const http::Limits& limits,
                                                     http::ServerEvents& events);
// After "Upgrade: h2c", with HTTP2-Settings as they came. Null: they are no settings.
std::unique_ptr<http::ServerCodec> make_upgraded_codec(const http::Limits& limits, http::ServerEvents& events,
                                                       const http::Request& request, std::string_view settings);
std::unique_ptr<http::ClientCodec> make_client_codec(bool http2, const http::Limits& limits,
                                                     http::ClientEvents& events);

}  // namespace underpass::session
