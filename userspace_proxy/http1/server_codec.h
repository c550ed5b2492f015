// SPDX-License-Identifier: Apache-2.0
// HTTP/1.0 and 1.1 as the server of a connection reads and writes it (RFC 9112), strictly: what two readers could read
// differently is refused, and the connection with it. head.h and body_reader.h say what that is. Where the RFC leaves
// room, or more than codec.h is to be known:
//
// - An absolute target's scheme is kept, its authority is the request's, and Host must name the same (the scheme's port
//   counts as given) or the request is refused; so must the Host of a CONNECT, where it may leave the port out. An
//   empty Host is none. One empty line before a request is passed over. HTTP/0.9 and versions that are not 1.0 or 1.1
//   get 505.
// - Expect is taken out: 100-continue is told where a body follows, every other expectation is ignored.
// - Upgrade counts in HTTP/1.1, named by Connection, without a body; of several protocols the first that may become a
//   tunnel is taken. "h2c" and TLS may not, since nobody here would see what passes. Otherwise it is as if not there.
//   "h2c" alone, with one HTTP2-Settings, both named by Connection, and no "close": on_http2_offered().
// - Early data: after a head that asks for a tunnel no byte is taken until the answer. If the answer agrees these are
//   the tunnel's first bytes; if not, the connection is closed after it and they are never looked at.
// - A request that waits for 100 Continue and is answered without is the connection's last, since nobody can tell
// whether
//   its body will come. One that is answered before its body came stays open until that is read, or until reset().
// - receive_end() is to be called when every byte was taken before. An answer that is under way is still sent. In a
//   tunnel that begins after it, on_end() is told from within send_response().
// - A body that turns out not to be HTTP: on_failed(), with an answer in output() if none was begun. So is a caller's
//   body that is longer or shorter than its Content-Length, with kInternal, from within send_data() or send_end().
#pragma once

#include <cstdint>
#include <memory>

#include "userspace_proxy/http/codec.h"

namespace underpass::http1 {

// `events` and `limits` must outlive it.
[[nodiscard]] std::unique_ptr<http::ServerCodec> make_server_codec(http::ServerEvents& events,
                                                                   const http::Limits& limits);

}  // namespace underpass::http1
