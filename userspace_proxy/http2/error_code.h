// SPDX-License-Identifier: Apache-2.0
// HTTP/2's error codes (RFC 9113 §7) and the reasons that sessions know.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>

#include "userspace_proxy/http/codec.h"

namespace underpass::http2 {

enum class Side : std::uint8_t { kServer, kClient };

// What a peer is told that is in the wrong, or that we give up on.
constexpr std::uint32_t to_error_code(http::Fault fault) {
  switch (fault) {
    case http::Fault::kNone:
      return NGHTTP2_NO_ERROR;
    case http::Fault::kRefused:
      return NGHTTP2_REFUSED_STREAM;
    case http::Fault::kCancelled:
    case http::Fault::kEndedEarly:
      return NGHTTP2_CANCEL;
    case http::Fault::kFlood:
    case http::Fault::kHeadTooLarge:
      return NGHTTP2_ENHANCE_YOUR_CALM;
    case http::Fault::kInternal:
      return NGHTTP2_INTERNAL_ERROR;
    default:
      return NGHTTP2_PROTOCOL_ERROR;
  }
}

// What RST_STREAM of the peer of `side` means. Who gives a stream up cancels it, whatever it calls that: what came
// before was HTTP.
constexpr http::Fault from_reset(std::uint32_t code, Side side) {
  if (side == Side::kServer) return http::Fault::kCancelled;
  switch (code) {
    case NGHTTP2_NO_ERROR:
      return http::Fault::kNone;
    case NGHTTP2_REFUSED_STREAM:
      return http::Fault::kRefused;
    default:
      return http::Fault::kCancelled;
  }
}

// What it means that we gave up a stream or the connection with this code because of what the peer sent.
constexpr http::Fault from_own_error(std::uint32_t code, Side side) {
  switch (code) {
    case NGHTTP2_REFUSED_STREAM:
      return http::Fault::kRefused;
    case NGHTTP2_ENHANCE_YOUR_CALM:
      return http::Fault::kFlood;
    case NGHTTP2_INTERNAL_ERROR:
      return http::Fault::kInternal;
    default:
      return side == Side::kServer ? http::Fault::kBadRequest : http::Fault::kBadResponse;
  }
}

}  // namespace underpass::http2
