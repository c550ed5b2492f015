// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/http1/request_writer.h"

#include <algorithm>
#include <cstdint>
#include <random>

#include "userspace_proxy/http/authority.h"
#include "userspace_proxy/http/chars.h"
#include "userspace_proxy/http/upgrade.h"

namespace underpass::http1 {
namespace {

using http::Request;

bool is_sayable(const Request& request) {
  if (!http::is_token(request.method)) return false;
  if (!request.authority.empty() && !http::parse_authority(request.authority)) return false;
  if (!request.protocol.empty() && !http::may_be_tunnel(request.protocol)) return false;
  if (request.is_connect() && request.protocol.empty()) return !request.authority.empty();
  if (request.path == "*") return request.method == "OPTIONS";
  return request.path.starts_with('/') && http::all_of(request.path, http::chars::kTarget);
}

// 16 bytes that nobody used before, in base64 (RFC 6455 §4.1); a nonce, not a secret.
std::string make_websocket_key() {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  thread_local std::mt19937_64 random{std::random_device{}()};
  std::string key;
  for (int i = 0; i < 21; ++i) key += kDigits[random() % 64];
  key += kDigits[(random() % 4) * 16];  // the last two bits of 128
  return key + "==";
}

void write_connection(std::string& out, const Request& request) {
  const bool te = request.fields.find("te").has_value();
  const bool upgrade = !request.protocol.empty();
  if (upgrade) {
    write_field(out, "connection", te ? "upgrade, te" : "upgrade");
    write_field(out, "upgrade", request.protocol);
  } else if (te) {
    write_field(out, "connection", "te");
  }
  if (te) write_field(out, "te", "trailers");
}

void write_framing(std::string& out, const Request& request, BodyWriter& body) {
  body.start(BodyWriter::Kind::kNone);
  if (request.is_tunnel()) return;
  if (request.has_body && !request.content_length) {
    write_field(out, "transfer-encoding", "chunked");
    body.start(BodyWriter::Kind::kChunked);
    return;
  }
  const auto& method = request.method;
  if (!request.content_length && method != "POST" && method != "PUT" && method != "PATCH") return;
  const std::uint64_t length = request.has_body ? *request.content_length : 0;
  out += "content-length: ";
  write_number(out, length);
  out += "\r\n";
  if (request.has_body) body.start(BodyWriter::Kind::kLength, length);
}

}  // namespace

bool write_request(std::string& out, const Request& request, BodyWriter& body) {
  if (!is_sayable(request)) return false;
  const bool extended = request.is_connect() && !request.protocol.empty();
  out += extended ? std::string_view("GET") : std::string_view(request.method);
  out += ' ';
  out += request.is_connect() && !extended ? request.authority : request.path;
  out += " HTTP/1.1\r\n";
  write_field(out, "host", request.authority);
  write_fields(out, request.fields);
  if (extended && !request.fields.find("sec-websocket-key"))
    write_field(out, "sec-websocket-key", make_websocket_key());
  write_connection(out, request);
  write_framing(out, request, body);
  if (request.expects_continue && request.has_body) write_field(out, "expect", "100-continue");
  out += "\r\n";
  return true;
}

}  // namespace underpass::http1
