// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/http_codecs.h"

#include "userspace_proxy/http1/client_codec.h"
#include "userspace_proxy/http1/server_codec.h"
#include "userspace_proxy/http2/codecs.h"
#include "userspace_proxy/jwt/base64url.h"

namespace underpass::session {

std::unique_ptr<http::ServerCodec> make_server_codec(bool http2, const http::Limits& limits,
                                                     http::ServerEvents& events) {
  return http2 ? http2::make_server_codec(limits, events) : http1::make_server_codec(events, limits);
}

std::unique_ptr<http::ServerCodec> make_upgraded_codec(const http::Limits& limits, http::ServerEvents& events,
                                                       const http::Request& request, std::string_view settings) {
  const auto decoded = jwt::decode_base64url(settings);
  if (!decoded) return nullptr;
  auto made = http2::make_upgraded_server_codec(limits, events, request, *decoded);
  return made ? std::move(*made) : nullptr;
}

std::unique_ptr<http::ClientCodec> make_client_codec(bool http2, const http::Limits& limits,
                                                     http::ClientEvents& events) {
  return http2 ? http2::make_client_codec(limits, events) : http1::make_client_codec(events, limits);
}

}  // namespace underpass::session
