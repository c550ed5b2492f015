// SPDX-License-Identifier: Apache-2.0
// HTTP/2 (RFC 9113) as http::Codec, without I/O. Beyond what codec.h says:
// - Events are told from within sent() too: on_writable(), and what follows from frames that went out.
// - send_data() needs no window: buffered() says what waits for one. wants_input() is true as long as the connection
//   lives; a stream that is to be held up is not consumed.
// - reset(stream, kNone) after send_end() lets what was sent reach the peer first, then stops it (RFC 9113 §8.1).
// - A malformed request (RFC 9113 §8.1.1) that nghttp2 notices is answered by RST_STREAM(PROTOCOL_ERROR), what is ours
//   to notice with to_status(); on_refused() is told of both.
// - Heads have no body where they ask for a tunnel or agree to one; its bytes and its end are told after the answer,
//   whenever they came. Of a tunnel that is declined they are not told.
// - A head is good until the call that tells it returns.
#pragma once

#include <memory>
#include <string_view>

#include "underpass/result.h"
#include "userspace_proxy/http/codec.h"
#include "userspace_proxy/http2/budget.h"

namespace underpass::http2 {

// What a client that knows its server speaks HTTP/2 begins with.
inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// `events` outlives the codec. `clock` is for tests; empty: the steady clock.
std::unique_ptr<http::ServerCodec> make_server_codec(const http::Limits& limits, http::ServerEvents& events,
                                                     Clock clock = {});
// After an HTTP/1.1 request with "Upgrade: h2c" was answered with 101 (RFC 7540 §3.2). The request is stream 1, is not
// told again, and must have come without a body, or with it. `settings`: of HTTP2-Settings, decoded from base64url; an
// error if they are not what SETTINGS may say.
Result<std::unique_ptr<http::ServerCodec>> make_upgraded_server_codec(const http::Limits& limits,
                                                                      http::ServerEvents& events,
                                                                      const http::Request& request,
                                                                      std::string_view settings, Clock clock = {});
// can_send() also keeps to limits.max_streams. An Upgrade of HTTP/1.1 is said as extended CONNECT (RFC 8441) once the
// server's SETTINGS allow that, else on_reset() tells kNotImplemented; agreement is told as 101, as it was asked for.
std::unique_ptr<http::ClientCodec> make_client_codec(const http::Limits& limits, http::ClientEvents& events,
                                                     Clock clock = {});

}  // namespace underpass::http2
