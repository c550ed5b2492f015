// SPDX-License-Identifier: Apache-2.0
// The normal form of requests: tables, and random targets against a reader that shares no code with it, and that goes
// by segments as a server that serves files would.
#include <doctest/doctest.h>

#include <array>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "userspace_proxy/http/normal_form.h"

using namespace underpass;
using namespace underpass::http;
using enum PathNormalization;

namespace {

constexpr std::string_view kRefused = "refused";

std::string normal(std::string_view target, PathNormalization how) {
  Request request;
  request.method = "GET";
  request.authority = "a";
  request.path = target;
  const auto form = normalize(request, how);
  if (!form) return std::string(kRefused);
  CHECK(form->path == request.path.substr(0, request.path.find('?')));
  return request.path;
}

// As a server would read it, one step after the other, each on strings of its own.
class Reference {
 public:
  static std::string serve(std::string target, PathNormalization how) {
    std::string query;
    if (const auto mark = target.find('?'); mark != std::string::npos) {
      query = target.substr(mark);
      target.resize(mark);
    }
    for (const char c : target + query)
      if (c <= ' ' || c == '#' || c == '\x7f') return std::string(kRefused);
    if (target.empty() || target[0] != '/' || target.contains("%00")) return std::string(kRefused);
    if (how == kNone) return target + query;
    if (how == kDecodeAndMergeSlashes) target = replaced(target, {"%2f", "%2F", "%5c", "%5C"}, "/");
    target = replaced(target, {"\\"}, "/");
    const auto unescaped = unescape(target);
    if (!unescaped) return std::string(kRefused);
    auto segments = resolve(split(*unescaped));
    if (how != kBase) segments = without_empty(segments);
    std::string path;
    for (const auto& segment : segments) path += "/" + segment;
    return path + query;
  }

 private:
  static std::string replaced(std::string text, const std::vector<std::string>& what, const std::string& with) {
    for (const auto& one : what)
      for (auto at = text.find(one); at != std::string::npos; at = text.find(one)) text.replace(at, one.size(), with);
    return text;
  }
  static std::optional<std::string> unescape(const std::string& text) {
    static const std::string kHex = "0123456789ABCDEFabcdef";
    static const std::string kUnreserved = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '%') {
        out += text[i];
        continue;
      }
      const auto digits = text.substr(i + 1, 2);
      if (digits.size() < 2 || digits.find_first_not_of(kHex) != std::string::npos) return std::nullopt;
      const auto meant = static_cast<char>(std::stoi(digits, nullptr, 16));
      i += 2;
      if (kUnreserved.contains(meant)) {
        out += meant;
      } else {
        out += '%';
        for (const char digit : digits) out += static_cast<char>(std::toupper(digit));
      }
    }
    return out;
  }
  static std::vector<std::string> split(const std::string& path) {
    std::vector<std::string> segments{""};
    for (const char c : path.substr(1)) {
      if (c == '/') {
        segments.emplace_back();
      } else {
        segments.back() += c;
      }
    }
    return segments;
  }
  static std::vector<std::string> resolve(const std::vector<std::string>& segments) {
    std::vector<std::string> way;
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const bool last = i + 1 == segments.size();
      if (segments[i] == ".." && !way.empty()) way.pop_back();
      if (segments[i] != "." && segments[i] != "..") {
        way.push_back(segments[i]);
      } else if (last) {
        way.emplace_back();
      }
    }
    return way;
  }
  static std::vector<std::string> without_empty(const std::vector<std::string>& segments) {
    std::vector<std::string> rest;
    for (std::size_t i = 0; i < segments.size(); ++i)
      if (!segments[i].empty() || i + 1 == segments.size()) rest.push_back(segments[i]);
    return rest;
  }
};

std::string random_target(std::mt19937_64& random) {
  static constexpr std::array<std::string_view, 34> kParts = {
      "/",   "/",   "/",   "//", "\\", ".", "..", "/..", "/.", "%2e", "%2E",  "%2f", "%2F", "%5c", "%5C", "%41", "%7e",
      "%20", "%25", "%25", "2e", "a",  "b", "c",  "...", ";x", "%c3", "/../", "/./", "?",   "%",   "%0",  "%00", "#"};
  std::string target = random() % 50 == 0 ? "" : "/";
  // The last ones, which are refused, are rare.
  for (auto parts = random() % 12; parts > 0; --parts) {
    const auto of = random() % 20 == 0 ? kParts.size() : kParts.size() - 5;
    target += kParts[random() % of];
  }
  return target;
}

}  // namespace

TEST_CASE("normal form: paths") {
  struct Row {
    std::string_view target;
    std::array<std::string_view, 4> normal;  // none, base, merge, decode
  };
  static constexpr Row kRows[] = {
      {"/", {"/", "/", "/", "/"}},
      {"/a/b?c=/../d//%2f", {"/a/b?c=/../d//%2f", "/a/b?c=/../d//%2f", "/a/b?c=/../d//%2f", "/a/b?c=/../d//%2f"}},
      {"/a/../b", {"/a/../b", "/b", "/b", "/b"}},
      {"/a/%2E%2e/b/.", {"/a/%2E%2e/b/.", "/b/", "/b/", "/b/"}},
      {"/../../a/..", {"/../../a/..", "/", "/", "/"}},
      {"/a//b", {"/a//b", "/a//b", "/a/b", "/a/b"}},
      {"/a//../b", {"/a//../b", "/a/b", "/a/b", "/a/b"}},
      {"//a", {"//a", "//a", "/a", "/a"}},
      {"/a\\..\\b", {"/a\\..\\b", "/b", "/b", "/b"}},
      {"/a%2fb%5Cc", {"/a%2fb%5Cc", "/a%2Fb%5Cc", "/a%2Fb%5Cc", "/a/b/c"}},
      {"/a%2f..%5cb", {"/a%2f..%5cb", "/a%2F..%5Cb", "/a%2F..%5Cb", "/b"}},
      {"/%61%7e%2D%5f%39", {"/%61%7e%2D%5f%39", "/a~-_9", "/a~-_9", "/a~-_9"}},
      {"/%252e%252e/%c3%a4", {"/%252e%252e/%c3%a4", "/%252e%252e/%C3%A4", "/%252e%252e/%C3%A4", "/%252e%252e/%C3%A4"}},
      {"/a;b/..;/c", {"/a;b/..;/c", "/a;b/..;/c", "/a;b/..;/c", "/a;b/..;/c"}},
      {"/.../.a/..b", {"/.../.a/..b", "/.../.a/..b", "/.../.a/..b", "/.../.a/..b"}},
      {"/a%", {"/a%", kRefused, kRefused, kRefused}},
      {"/a%4", {"/a%4", kRefused, kRefused, kRefused}},
      {"/a%zz", {"/a%zz", kRefused, kRefused, kRefused}},
      {"/%%32e", {"/%%32e", kRefused, kRefused, kRefused}},
      {"/a%00", {kRefused, kRefused, kRefused, kRefused}},
      {"/a#b", {kRefused, kRefused, kRefused, kRefused}},
      {"/a b", {kRefused, kRefused, kRefused, kRefused}},
      {"a", {kRefused, kRefused, kRefused, kRefused}},
      {"", {kRefused, kRefused, kRefused, kRefused}},
      {"*", {kRefused, kRefused, kRefused, kRefused}},
  };
  for (const auto& row : kRows)
    for (std::size_t i = 0; i < row.normal.size(); ++i) {
      CAPTURE(row.target);
      CAPTURE(i);
      CHECK(normal(row.target, static_cast<PathNormalization>(i)) == row.normal[i]);
    }
  CHECK(normal(std::string("/a\0b", 4), kNone) == kRefused);
}

TEST_CASE("normal form: what is matched is what a server would serve") {
  std::mt19937_64 random(20);
  std::size_t refused = 0;
  for (int i = 0; i < 50'000; ++i) {
    const auto target = random_target(random);
    for (const auto how : {kNone, kBase, kMergeSlashes, kDecodeAndMergeSlashes}) {
      const auto form = normal(target, how);
      if (const auto served = Reference::serve(target, how); form != served)
        FAIL_CHECK(target << " is " << form << ", and would be served as " << served);
      if (form == kRefused) {
        ++refused;
      } else if (normal(form, how) != form) {
        FAIL_CHECK(target << " is " << form << ", which is not its own normal form");
      }
    }
  }
  CHECK(refused > 1'000);
  CHECK(refused < 100'000);
}

TEST_CASE("normal form: authorities") {
  struct Row {
    std::string_view scheme;
    std::string_view authority;
    std::string_view forwarded;
    std::string_view host;
    std::optional<std::uint16_t> port;
  };
  static constexpr Row kRows[] = {
      {"http", "Shop.Example", "shop.example", "shop.example", {}},
      {"http", "SHOP.example.:8080", "shop.example:8080", "shop.example", std::uint16_t{8080}},
      {"http", "a.:80", "a:80", "a", {}},
      {"http", "a:443", "a:443", "a", std::uint16_t{443}},
      {"https", "a:443", "a:443", "a", {}},
      {"http", "[FE80::1]:81", "[fe80::1]:81", "[fe80::1]", std::uint16_t{81}},
      {"http", "10.0.0.1", "10.0.0.1", "10.0.0.1", {}},
      {"http", "", "", "", {}},
  };
  for (const auto& row : kRows) {
    CAPTURE(row.authority);
    Request request;
    request.method = "GET";
    request.path = "/";
    request.scheme = row.scheme;
    request.authority = row.authority;
    const auto form = normalize(request, kMergeSlashes);
    REQUIRE(form);
    CHECK(request.authority == row.forwarded);
    CHECK(form->host == row.host);
    CHECK(form->port == row.port);
  }
  for (const auto* authority :
       {"u@a", "a b",  "a:",     "a:0", "a:65536",          "a:08",    "a:b", "a..",  ".",       "a/b", "a,b", "a%2eb",
        ":80", "[::1", "[::1]x", "[]",  "[fe80::1%25eth0]", "a:80:80", "::1", "a\\b", "\xc3\xa4"}) {
    CAPTURE(authority);
    Request request;
    request.method = "GET";
    request.path = "/";
    request.authority = authority;
    CHECK_FALSE(normalize(request, kMergeSlashes));
  }
}

TEST_CASE("normal form: requests that have no path") {
  Request connect;
  connect.method = "CONNECT";
  connect.authority = "A.b:443";
  const auto form = normalize(connect, kMergeSlashes);
  REQUIRE(form);
  CHECK(form->path.empty());
  CHECK(connect.authority == "a.b:443");
  connect.path = "/x";
  CHECK_FALSE(normalize(connect, kMergeSlashes));
  connect.protocol = "websocket";
  CHECK(normalize(connect, kMergeSlashes)->path == "/x");
  connect.authority.clear();
  connect.protocol.clear();
  connect.path.clear();
  CHECK_FALSE(normalize(connect, kMergeSlashes));

  Request options;
  options.method = "OPTIONS";
  options.authority = "a";
  options.path = "*";
  CHECK(normalize(options, kMergeSlashes)->path == "*");
}
