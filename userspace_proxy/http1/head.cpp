// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/http1/head.h"

#include <algorithm>
#include <array>
#include <limits>

#include "userspace_proxy/http/chars.h"
#include "userspace_proxy/http/upgrade.h"

namespace underpass::http1 {

using http::chars::kToken;

namespace {

enum Special : int {
  kPlain,
  kTe,
  kHost,
  kExpect,
  kUpgrade,
  kConnection,
  kContentLength,
  kTransferEncoding,
  kHttp2Settings,
  kDropped,  // Keep-Alive, Proxy-Connection
};

// By length first, since nearly all names are none of these.
int special_of(std::string_view name) {
  const auto is = [name](std::string_view lower) { return http::equals_ignoring_case(name, lower); };
  switch (name.size()) {
    case 2:
      return is("te") ? kTe : kPlain;
    case 4:
      return is("host") ? kHost : kPlain;
    case 6:
      return is("expect") ? kExpect : kPlain;
    case 7:
      return is("upgrade") ? kUpgrade : kPlain;
    case 10:
      return is("connection") ? kConnection : is("keep-alive") ? kDropped : kPlain;
    case 14:
      return is("content-length") ? kContentLength : is("http2-settings") ? kHttp2Settings : kPlain;
    case 16:
      return is("proxy-connection") ? kDropped : kPlain;
    case 17:
      return is("transfer-encoding") ? kTransferEncoding : kPlain;
    default:
      return kPlain;
  }
}

std::string_view trim(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// Calls `each` with the elements of a list (RFC 9110 §5.6.1), without empty ones, until it returns false.
template <typename Each>
bool for_each_element(std::string_view list, Each each) {
  while (!list.empty()) {
    const auto comma = std::min(list.find(','), list.size());
    const auto element = trim(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 1, list.size()));
    if (!element.empty() && !each(element)) return false;
  }
  return true;
}

std::optional<std::uint64_t> read_length(std::string_view digits) {
  std::uint64_t length = 0;
  if (digits.empty() || digits.size() > 18) return std::nullopt;
  for (const char c : digits) {
    if (!http::is_digit(c)) return std::nullopt;
    length = length * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return length;
}

template <std::size_t N>
bool is_one_of(std::string_view name, const std::array<std::string_view, N>& names) {
  return std::ranges::find(names, name) != names.end();
}

// What a hop before this one may have set, and Connection must not be able to take away from the ones behind.
bool is_protected(std::string_view name) {
  static constexpr std::array<std::string_view, 14> kNames = {
      "authorization", "b3",  "cache-control",     "cookie",      "expect",     "forwarded", "host",
      "origin",        "via", "transfer-encoding", "traceparent", "tracestate", "x-real-ip", "x-request-id"};
  static constexpr std::array<std::string_view, 4> kPrefixes = {"content-", "x-forwarded-", "x-b3-", "sec-"};
  return is_one_of(name, kNames) ||
         std::ranges::any_of(kPrefixes, [name](std::string_view prefix) { return name.starts_with(prefix); });
}

bool is_no_trailer(std::string_view name) {
  static constexpr std::array<std::string_view, 19> kNames = {
      "authorization", "age",          "cookie",          "date",
      "expires",       "forwarded",    "location",        "proxy-authenticate",
      "origin",        "max-forwards", "pragma",          "proxy-authorization",
      "range",         "retry-after",  "set-cookie",      "trailer",
      "vary",          "x-real-ip",    "www-authenticate"};
  static constexpr std::array<std::string_view, 4> kPrefixes = {"cache-", "content-", "if-", "x-forwarded-"};
  return special_of(name) != kPlain || is_one_of(name, kNames) ||
         std::ranges::any_of(kPrefixes, [name](std::string_view prefix) { return name.starts_with(prefix); });
}

}  // namespace

bool is_of_connection(std::string_view name) { return special_of(name) != kPlain; }

void Framing::clear() {
  host.clear();
  upgrade.clear();
  named.clear();
  http2_settings.clear();
  *this = Framing{.host = std::move(host),
                  .upgrade = std::move(upgrade),
                  .http2_settings = std::move(http2_settings),
                  .named = std::move(named)};
}

void HeadReader::clear() {
  framing_.clear();
  count_ = 0;
}

// `dropped`: its name has an underscore, and such fields are to be left out.
Problem HeadReader::count_and_split(std::string_view line, http::Field& field, bool& dropped) {
  if (++count_ > limits_.max_fields) return {.why = http::Fault::kHeadTooLarge, .detail = "too many fields"};
  std::size_t end = 0;
  bool underscore = false;
  while (end < line.size() && http::is_of(line[end], kToken)) underscore |= line[end++] == '_';
  if (end == 0 || end == line.size() || line[end] != ':') return bad("a line that is no field");
  field.name = line.substr(0, end);
  field.value = trim(line.substr(end + 1));
  if (!http::is_value(field.value)) return bad("a control character in a field");
  if (underscore && limits_.underscores == Underscores::kReject) return bad("a field name with an underscore");
  dropped = underscore && limits_.underscores == Underscores::kDrop;
  return {};
}

Problem HeadReader::take(std::string_view line, http::Fields& into) {
  http::Field field;
  bool dropped = false;
  if (const auto problem = count_and_split(line, field, dropped)) return problem;
  if (dropped) return {};
  const int special = special_of(field.name);
  if (special != kPlain) return take_special(special, field.value, into);
  into.add(field.name, field.value);
  return {};
}

Problem HeadReader::take_special(int special, std::string_view value, http::Fields& into) {
  switch (special) {
    case kHost:
      ++framing_.hosts;
      framing_.host = value;
      return {};
    case kContentLength: {
      const auto length = read_length(value);
      if (!length) return bad("Content-Length is no number");
      if (framing_.content_length) return bad("two Content-Length");
      framing_.content_length = length;
      return {};
    }
    case kTransferEncoding:
      if (framing_.chunked || framing_.other_coding) return bad("two Transfer-Encoding");
      framing_.chunked = http::equals_ignoring_case(value, "chunked");
      framing_.other_coding = !framing_.chunked;
      return {};
    case kConnection:
      return take_connection(value);
    case kTe:
      for_each_element(value, [&](std::string_view coding) {
        if (!http::equals_ignoring_case(coding, "trailers") || framing_.te_trailers) return true;
        framing_.te_trailers = true;
        into.add("te", "trailers");
        return false;
      });
      return {};
    case kExpect:
      for_each_element(value, [&](std::string_view what) {
        framing_.expects_continue |= http::equals_ignoring_case(what, "100-continue");
        return true;
      });
      return {};
    case kUpgrade:
      for_each_element(value, [&](std::string_view protocol) {
        ++framing_.upgrades;
        framing_.upgrades_to_h2c |= http::equals_ignoring_case(protocol, "h2c");
        if (!framing_.upgrade.empty()) return true;
        framing_.upgrade = protocol;
        http::make_lower(framing_.upgrade);
        if (!http::may_be_tunnel(framing_.upgrade)) framing_.upgrade.clear();
        return true;
      });
      return {};
    case kHttp2Settings:
      ++framing_.settings;
      framing_.http2_settings = value;
      return {};
    default:
      return {};
  }
}

Problem HeadReader::take_connection(std::string_view value) {
  static constexpr std::size_t kMaxNamed = 32;  // each is looked for in all fields
  const bool all_tokens = for_each_element(value, [&](std::string_view option) {
    if (!http::is_token(option)) return false;
    if (http::equals_ignoring_case(option, "close")) {
      framing_.close = true;
    } else if (http::equals_ignoring_case(option, "upgrade")) {
      framing_.upgrade_named = true;
    } else if (http::equals_ignoring_case(option, "keep-alive")) {
      framing_.keep_alive = true;
    } else if (http::equals_ignoring_case(option, "http2-settings")) {
      framing_.settings_named = true;
    } else if (!http::equals_ignoring_case(option, "te")) {
      for (const char c : option) framing_.named += http::to_lower(c);
      framing_.named += ',';
    }
    return true;
  });
  if (!all_tokens) return bad("Connection is no list of tokens");
  if (std::ranges::count(framing_.named, ',') > static_cast<std::ptrdiff_t>(kMaxNamed))
    return bad("Connection names too many fields");
  return {};
}

Problem HeadReader::finish(http::Fields& fields, bool of_request) {
  if ((framing_.chunked || framing_.other_coding) && framing_.content_length)
    return bad("Transfer-Encoding and Content-Length");
  if (framing_.named.empty()) return {};
  const bool all_may_go = for_each_element(framing_.named, [&](std::string_view name) {
    if (of_request && is_protected(name)) return false;
    fields.remove(name);
    return true;
  });
  return all_may_go ? Problem{} : bad("Connection names a field that is not its own");
}

Problem HeadReader::take_trailer(std::string_view line, http::Fields& into) {
  http::Field field;
  bool dropped = false;
  if (const auto problem = count_and_split(line, field, dropped)) return problem;
  if (dropped) return {};
  std::string name(field.name);
  http::make_lower(name);
  if (!is_no_trailer(name)) into.add(name, field.value);
  return {};
}

}  // namespace underpass::http1
