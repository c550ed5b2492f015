// SPDX-License-Identifier: Apache-2.0
// Requests and responses as the session sees them, whichever version of HTTP they came in (RFC 9110). Framing
// (Content-Length, Transfer-Encoding, Connection and what it names, HTTP/2's pseudo-headers) is the codecs' business:
// it is not among the fields, with one exception: `content_length` is also how the message is framed where it goes on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "userspace_proxy/http/fields.h"

namespace underpass::http {

enum class Version : std::uint8_t { kHttp10, kHttp11, kHttp2 };

struct Request {
  Version version = Version::kHttp11;  // in which it came
  std::string method;                  // a token, case-sensitive
  std::string scheme = "http";
  // Host or :authority as it came, "shop.example:8080"; of CONNECT its target. Empty: HTTP/1.0 without Host.
  std::string authority;
  std::string path;  // origin form, with the query: "/a?b"; "*" of OPTIONS; empty for a CONNECT without `protocol`
  // What the connection is to become: the value of Upgrade ("websocket"), or :protocol of an extended CONNECT (RFC
  // 8441). Empty: no upgrade is asked for. With it, or with CONNECT, bytes after the head are no body until the answer
  // says so.
  std::string protocol;
  Fields fields;                                // without Host
  std::optional<std::uint64_t> content_length;  // none: chunked, or HTTP/2 without one, or no body
  bool has_body = false;                        // bytes, or at least an end, will follow
  bool expects_continue = false;                // Expect: 100-continue (not among the fields)

  [[nodiscard]] bool is_connect() const { return method == "CONNECT"; }
  // The stream stops being HTTP if the answer agrees.
  [[nodiscard]] bool is_tunnel() const { return is_connect() || !protocol.empty(); }
};

struct Response {
  Version version = Version::kHttp11;
  unsigned status = 0;  // 100 to 999; 1xx but 101 are interim: another follows
  std::string reason;   // HTTP/1's phrase, which nobody relies on; empty: the usual one
  Fields fields;
  std::optional<std::uint64_t> content_length;
  bool has_body = false;

  [[nodiscard]] bool is_interim() const { return status < 200 && status != 101; }
};

}  // namespace underpass::http
