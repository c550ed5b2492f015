// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/http2/head_writer.h"

#include <charconv>

namespace underpass::http2 {
namespace {

// RFC 9113 §8.2.2, and what the message itself says.
bool has_no_place(http::Field field) {
  switch (field.name.size()) {
    case 2:
      return field.name == "te" && field.value != "trailers";
    case 4:
      return field.name == "host";
    case 7:
      return field.name == "upgrade";
    case 10:
      return field.name == "connection" || field.name == "keep-alive";
    case 14:
      return field.name == "content-length" || field.name == "http2-settings";
    case 16:
      return field.name == "proxy-connection";
    case 17:
      return field.name == "transfer-encoding" || field.name == "sec-websocket-key";  // RFC 8441 §5
    default:
      return field.name.empty() || field.name.front() == ':';
  }
}

// Another value in each request: to be remembered for the next (HPACK's dynamic table) costs both sides work and pushes
// out what does come again. The path too, but that is known to nghttp2.
bool is_new_each_time(std::string_view name) {
  switch (name.size()) {
    case 2:
      return name == "b3";
    case 10:
      return name == "tracestate";
    case 11:
      return name == "traceparent" || name == "x-b3-spanid";
    case 12:
      return name == "x-request-id" || name == "x-b3-traceid";
    case 17:
      return name == "x-b3-parentspanid";
    default:
      return false;
  }
}

// nghttp2 takes pointers to what it will not change.
std::uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
}

}  // namespace

void HeadWriter::add(std::string_view name, std::string_view value) {
  list_.push_back(
      {.name = bytes_of(name),
       .value = bytes_of(value),
       .namelen = name.size(),
       .valuelen = value.size(),
       .flags = static_cast<std::uint8_t>(is_new_each_time(name) ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE)});
}

void HeadWriter::add_all(const http::Fields& fields) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const auto field = fields.at(i);
    if (!has_no_place(field)) add(field.name, field.value);
  }
}

void HeadWriter::add_content_length(std::optional<std::uint64_t> length) {
  if (!length) return;
  const auto end = std::to_chars(length_.data(), length_.data() + length_.size(), *length).ptr;
  add("content-length", {length_.data(), end});
}

std::span<const nghttp2_nv> HeadWriter::request(const http::Request& request) {
  const bool plain_connect = request.is_connect() && request.protocol.empty();
  list_.clear();
  add(":method", request.protocol.empty() ? std::string_view(request.method) : "CONNECT");
  if (!plain_connect) add(":scheme", request.scheme);
  if (!request.authority.empty()) add(":authority", request.authority);
  if (!plain_connect) add(":path", request.path);
  if (!request.protocol.empty()) add(":protocol", request.protocol);
  if (!request.is_tunnel()) add_content_length(request.content_length);
  if (request.expects_continue) add("expect", "100-continue");
  add_all(request.fields);
  return list_;
}

std::span<const nghttp2_nv> HeadWriter::response(unsigned status, const http::Response& response) {
  const auto end = std::to_chars(status_.data(), status_.data() + status_.size(), status).ptr;
  list_.clear();
  add(":status", {status_.data(), end});
  if (status >= 200 && status != 204) add_content_length(response.content_length);
  add_all(response.fields);
  return list_;
}

std::span<const nghttp2_nv> HeadWriter::trailers(const http::Fields& fields) {
  list_.clear();
  add_all(fields);
  return list_;
}

}  // namespace underpass::http2
