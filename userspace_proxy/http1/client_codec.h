// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 as the client of a connection writes and reads it (RFC 9112), as strict as the server's side: an answer that
// two readers could read differently is kBadResponse. More than codec.h is to be known:
//
// - A request goes out as HTTP/1.1 in origin form with Host; send_request() returns 0, which is no stream, where it
//   cannot be said in one message (a method, target or authority with bytes that these do not have).
// - An answer that is whole before the request is ends the stream for both sides, and the connection after it. Bytes
//   after an answer, or while nothing was asked, end the connection: they may not become the next answer.
// - A tunnel's bytes are held back until the answer agrees. 101 must name the protocol that was asked for. An extended
//   CONNECT goes out as GET with Upgrade, with a Sec-WebSocket-Key of its own, and its 101 is told as 200; a 2xx that
//   is no 101 would look like agreement, so it is kBadResponse.
// - After a tunnel was refused the connection is not used again.
// - receive_end() is to be called when every byte was taken before. kInternal for a body of another length than
//   announced is told by on_failed() from within send_data() or send_end().
#pragma once

#include <memory>

#include "userspace_proxy/http/codec.h"

namespace underpass::http1 {

// `events` and `limits` must outlive it.
[[nodiscard]] std::unique_ptr<http::ClientCodec> make_client_codec(http::ClientEvents& events,
                                                                   const http::Limits& limits);

}  // namespace underpass::http1
