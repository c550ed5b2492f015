// SPDX-License-Identifier: Apache-2.0
// What a connection, or a stream of one, may become (Upgrade of RFC 9110 §7.8, :protocol of RFC 8441), and what a
// WebSocket's opening handshake has in HTTP/1.1 and not in HTTP/2 (RFC 6455 §4, RFC 8441 §5), so that either can be
// made of the other.
#pragma once

#include <string>
#include <string_view>

namespace underpass::http {

// Whether its bytes may pass unseen. Not HTTP/2 or TLS, under whatever version: they would be requests, or more, that
// nobody has authorised.
[[nodiscard]] bool may_be_tunnel(std::string_view protocol);

// Whether it is a Sec-WebSocket-Key: 16 bytes in base64.
[[nodiscard]] bool is_websocket_key(std::string_view key);

// Sec-WebSocket-Accept for that key.
[[nodiscard]] std::string websocket_accept(std::string_view key);

}  // namespace underpass::http
