// SPDX-License-Identifier: Apache-2.0
// The first line of a message: head.h says what becomes of it.
#include <algorithm>

#include "userspace_proxy/http/authority.h"
#include "userspace_proxy/http/chars.h"
#include "userspace_proxy/http1/head.h"

namespace underpass::http1 {

using http::Fault;

namespace {

Problem read_version(std::string_view text, http::Version& version) {
  if (text == "HTTP/1.1") {
    version = http::Version::kHttp11;
  } else if (text == "HTTP/1.0") {
    version = http::Version::kHttp10;
  } else if (text.size() == 8 && text.starts_with("HTTP/") && http::is_digit(text[5]) && text[6] == '.' &&
             http::is_digit(text[7])) {
    return {.why = Fault::kVersion, .detail = "another version of HTTP"};
  } else {
    return bad("no version of HTTP");
  }
  return {};
}

// http://authority/path?query
Problem read_absolute(std::string_view target, http::Request& request) {
  const auto colon = std::min(target.find(':'), target.size());
  request.scheme = target.substr(0, colon);
  http::make_lower(request.scheme);
  if (request.scheme != "http" && request.scheme != "https") return bad("a target of another scheme");
  target.remove_prefix(colon);
  if (!target.starts_with("://")) return bad("a target without authority");
  target.remove_prefix(3);
  const auto end = std::min(target.find_first_of("/?"), target.size());
  if (!http::parse_authority(target.substr(0, end))) return bad("a target with a bad authority");
  request.authority = target.substr(0, end);
  target.remove_prefix(end);
  // RFC 9112 §3.2.4: of OPTIONS without a path "*" is meant.
  if (target.empty() && request.method == "OPTIONS") {
    request.path = "*";
  } else {
    request.path = target.starts_with('/') ? "" : "/";
    request.path += target;
  }
  return {};
}

Problem read_target(std::string_view target, http::Request& request, RequestLine& found) {
  if (request.is_connect()) {
    const auto authority = http::parse_authority(target);
    if (!authority || !authority->port) return bad("CONNECT to something that is no host:port");
    request.authority = target;
    found.has_authority = true;
    return {};
  }
  if (target.starts_with('/')) {
    request.path = target;
    return {};
  }
  if (target == "*") {
    if (request.method != "OPTIONS") return bad("target * without OPTIONS");
    request.path = target;
    return {};
  }
  found.has_authority = true;
  return read_absolute(target, request);
}

}  // namespace

Problem read_request_line(std::string_view line, const http::Limits& limits, http::Request& request,
                          RequestLine& found) {
  const auto method_end = std::min(line.find(' '), line.size());
  const auto method = line.substr(0, method_end);
  if (!http::is_token(method) || method_end == line.size()) return bad("no request line");
  request.method = method;
  line.remove_prefix(method_end + 1);
  const auto target_end = std::min(line.find(' '), line.size());
  const auto target = line.substr(0, target_end);
  if (target.empty() || !http::all_of(target, http::chars::kTarget)) return bad("no target, or a byte that none has");
  if (target.size() > limits.max_target_bytes) return {.why = Fault::kTargetTooLong, .detail = "target"};
  if (target_end == line.size()) return {.why = Fault::kVersion, .detail = "HTTP/0.9"};
  if (const auto problem = read_version(line.substr(target_end + 1), request.version)) return problem;
  if (method == "PRI") return bad("method PRI");
  return read_target(target, request, found);
}

bool read_status_line(std::string_view line, http::Response& response) {
  // "HTTP/1.1 200", then nothing, or a space and a phrase.
  if (line.size() < 12 || line[8] != ' ' || (line.size() > 12 && line[12] != ' ')) return false;
  if (read_version(line.substr(0, 8), response.version)) return false;
  response.status = 0;
  for (const char c : line.substr(9, 3)) {
    if (!http::is_digit(c)) return false;
    response.status = response.status * 10 + static_cast<unsigned>(c - '0');
  }
  if (response.status < 100) return false;
  response.reason = line.size() > 13 ? line.substr(13) : std::string_view();
  return http::is_value(response.reason);
}

}  // namespace underpass::http1
