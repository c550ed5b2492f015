// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/http1/reason.h"

#include <algorithm>
#include <array>
#include <utility>

#include "userspace_proxy/http/chars.h"
#include "userspace_proxy/http1/body_writer.h"

namespace underpass::http1 {
namespace {

// RFC 9110 §15, and what RFC 6585, 8297 and 8470 add. Others go without a phrase.
constexpr auto kReasons = std::to_array<std::pair<unsigned, std::string_view>>({
    {100, "Continue"},
    {101, "Switching Protocols"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
});

std::string_view usual_reason(unsigned status) {
  const auto* found = std::ranges::lower_bound(kReasons, status, {}, &std::pair<unsigned, std::string_view>::first);
  return found != kReasons.end() && found->first == status ? found->second : std::string_view();
}

}  // namespace

void write_status_line(std::string& out, unsigned status, std::string_view reason) {
  out += "HTTP/1.1 ";
  write_number(out, std::clamp(status, 100U, 999U));
  out += ' ';
  out += !reason.empty() && http::is_value(reason) ? reason : usual_reason(status);
  out += "\r\n";
}

}  // namespace underpass::http1
