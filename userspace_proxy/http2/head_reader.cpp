// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/http2/head_reader.h"

#include <charconv>
#include <cstdint>
#include <optional>

#include "userspace_proxy/http/authority.h"
#include "userspace_proxy/http/chars.h"
#include "userspace_proxy/http/upgrade.h"

namespace underpass::http2 {
namespace {

constexpr std::size_t kBombFactor = 4;  // of the limits: one answer 431 up to here, above it the connection's end

// nghttp2 has refused what is not a number, or a second one.
std::optional<std::uint64_t> to_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

void HeadReader::start() {
  fault_ = http::Fault::kNone;
  detail_ = {};
  bytes_ = fields_ = 0;
  host_.clear();
  cookies_.clear();
}

void HeadReader::refuse(http::Fault fault, std::string_view detail) {
  if (fault_ != http::Fault::kNone) return;
  fault_ = fault;
  detail_ = detail;
}

bool HeadReader::count(http::Field field, const http::Limits& limits) {
  bytes_ += field.name.size() + field.value.size();
  if (!field.name.starts_with(':')) ++fields_;
  if (bytes_ > limits.max_head_bytes) refuse(http::Fault::kHeadTooLarge, "too many bytes of fields");
  if (fields_ > limits.max_fields) refuse(http::Fault::kHeadTooLarge, "too many fields");
  return fault_ == http::Fault::kNone;
}

bool HeadReader::is_bomb(const http::Limits& limits) const {
  return bytes_ / kBombFactor > limits.max_head_bytes || fields_ / kBombFactor > limits.max_fields;
}

bool HeadReader::passes_underscores(std::string_view name, Underscores policy) {
  if (policy == Underscores::kAllow || !name.contains('_')) return true;
  if (policy == Underscores::kReject) refuse(http::Fault::kBadRequest, "a field's name has an underscore");
  return false;
}

// RFC 9113 §8.2.3: clients may split cookies so that they compress better; elsewhere they are one field.
void HeadReader::add_cookie(std::string_view value) {
  if (!cookies_.empty()) cookies_ += "; ";
  cookies_ += value;
}

void HeadReader::add_pseudo(http::Request& request, http::Field field, const http::Limits& limits) {
  if (field.name == ":method") {
    request.method = field.value;
  } else if (field.name == ":scheme") {
    request.scheme = field.value;
    http::make_lower(request.scheme);
  } else if (field.name == ":authority") {
    if (field.value.size() > limits.max_target_bytes) refuse(http::Fault::kTargetTooLong, ":authority is too long");
    request.authority = field.value;
  } else if (field.name == ":path") {
    if (field.value.size() > limits.max_target_bytes) return refuse(http::Fault::kTargetTooLong, ":path is too long");
    request.path = field.value;
  } else if (field.name == ":protocol") {
    request.protocol = field.value;
  }
}

void HeadReader::add(http::Request& request, http::Field field, const http::Limits& limits) {
  if (!count(field, limits)) return;
  if (field.name.starts_with(':')) return add_pseudo(request, field, limits);
  if (field.name == "cookie") return add_cookie(field.value);
  if (field.name == "host") {
    host_ = field.value;
    return;
  }
  if (field.name == "content-length") {
    request.content_length = to_number(field.value);
    return;
  }
  if (field.name == "expect" && http::equals_ignoring_case(field.value, "100-continue")) {
    request.expects_continue = true;
    return;
  }
  if (passes_underscores(field.name, limits.underscores)) request.fields.add(field.name, field.value);
}

void HeadReader::add(http::Response& response, http::Field field, const http::Limits& limits) {
  if (!count(field, limits)) return;
  if (field.name == ":status") {
    response.status = static_cast<unsigned>(to_number(field.value).value_or(0));
  } else if (field.name == "content-length") {
    response.content_length = to_number(field.value);
  } else {
    response.fields.add(field.name, field.value);
  }
}

void HeadReader::add(http::Fields& trailers, http::Field field, const http::Limits& limits) {
  if (!count(field, limits)) return;
  if (field.name == "host" || field.name == "content-length")
    return refuse(http::Fault::kBadRequest, "trailers cannot change the head");
  if (passes_underscores(field.name, limits.underscores)) trailers.add(field.name, field.value);
}

void HeadReader::check_authority(http::Request& request) {
  if (request.authority.empty()) request.authority = host_;
  const auto authority = http::parse_authority(request.authority);
  if (!authority) return refuse(http::Fault::kBadRequest, ":authority is not host[:port]");
  if (request.is_connect() && request.protocol.empty() && !authority->port)
    return refuse(http::Fault::kBadRequest, "CONNECT without a port");
  if (host_.empty()) return;
  const auto host = http::parse_authority(host_);
  if (!host || !http::same_authority(*host, *authority, request.scheme, false))
    refuse(http::Fault::kBadRequest, "Host is not :authority");
}

void HeadReader::finish(http::Request& request) {
  if (fault_ != http::Fault::kNone) return;
  if (!cookies_.empty()) request.fields.add("cookie", cookies_);
  check_authority(request);
  if (request.is_connect() && request.protocol.empty()) {
    request.content_length.reset();  // RFC 9110 §9.3.6: it has no content
    return;
  }
  if (!request.protocol.empty() && !http::may_be_tunnel(request.protocol))
    return refuse(http::Fault::kNotImplemented, ":protocol that nobody could look into");
  if (request.scheme != "http" && request.scheme != "https")
    refuse(http::Fault::kBadRequest, ":scheme is neither http nor https");
  const bool whole_server = request.method == "OPTIONS" && request.path == "*";
  if (!request.path.starts_with('/') && !whole_server) refuse(http::Fault::kBadRequest, ":path does not begin with /");
  if (!http::all_of(request.path, http::chars::kTarget))
    refuse(http::Fault::kBadRequest, ":path with a fragment or not of ASCII");
}

void HeadReader::finish(http::Response& response) {
  if (response.status < 100 || response.status > 999) refuse(http::Fault::kBadResponse, "no :status");
}

}  // namespace underpass::http2
