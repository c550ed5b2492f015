// SPDX-License-Identifier: Apache-2.0
// Lines of requests in the access log: what they say, and that whatever a client sends is one line of JSON.
#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <random>
#include <string>

#include "test/unit/telemetry_world.h"
#include "userspace_proxy/log/text.h"
#include "userspace_proxy/telemetry/request_line.h"

using namespace underpass;
using telemetry::RequestRecord;

namespace {

std::string line_of(const RequestRecord& request) {
  std::string line;
  telemetry::append_request_line(line, request);
  return line;
}

std::string written(std::string_view text) {
  std::string out;
  log::append_string(out, text);
  return out;
}

// One line for readers of any kind, and JSON as RFC 8259 has it (Boost.JSON refuses what is no UTF-8).
boost::json::object parsed(const std::string& line) {
  CHECK(line.ends_with("}\n"));
  CHECK(std::ranges::count_if(line, [](unsigned char c) { return c < 0x20 || c == 0x7f; }) == 1);
  for (const char* end_of_line : {"\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"})
    CHECK(line.find(end_of_line) == std::string::npos);
  boost::json::error_code error;
  const auto value = boost::json::parse(line, error);
  REQUIRE_MESSAGE(!error, line);
  return value.as_object();
}

}  // namespace

TEST_CASE("request line: everything that is known") {
  const auto connection = test::record_between(11, 12);
  auto request = test::request_over(connection);
  request.grpc = true;
  request.grpc_status = 7;
  request.flag = RequestFlag::kDenied;
  request.details = "rbac_access_denied_matched_policy[shop/deny-all rule 0]";
  request.policy = "shop/deny-all";
  request.trace_id = "0af7651916cd43dd8448eb211c80319c";
  CHECK(line_of(request) ==
        R"({"start":"2026-02-03T01:06:45.006Z","durationMs":1.234,"upstreamServiceMs":0.007,)"
        R"("direction":"outbound","way":"proxied","tunnel":"none",)"
        R"("source":{"ip":"fd00::1","port":40000,"namespace":"shop","pod":"web",)"
        R"("identity":"spiffe://td/ns/shop/sa/web"},)"
        R"("destination":{"ip":"fd00::2","port":5432,"namespace":"shop","pod":"db","identity":null},)"
        R"("service":"shop/db:15432","dialled":"[fd01::3]:15432","method":"GET","authority":"db.shop:15432",)"
        R"("path":"/a?b=c","protocol":"grpc","code":200,"grpcStatus":7,"flags":"RBAC",)"
        R"("details":"rbac_access_denied_matched_policy[shop/deny-all rule 0]","policy":"shop/deny-all",)"
        R"("bytesSent":10,"bytesReceived":20,"requestId":"7f1e","traceId":"0af7651916cd43dd8448eb211c80319c",)"
        R"("userAgent":"curl/8"})"
        "\n");
}

TEST_CASE("request line: what is not known is null") {
  RequestRecord request;
  request.start = test::kNoon;
  request.version = http::Version::kHttp10;
  request.flag = RequestFlag::kHeadTimeout;
  CHECK(line_of(request) ==
        R"({"start":"2026-02-03T01:06:45.006Z","durationMs":0.000,"upstreamServiceMs":null,)"
        R"("direction":null,"way":"proxied","tunnel":"none",)"
        R"("source":{"ip":null,"port":null,"namespace":null,"pod":null,"identity":null},)"
        R"("destination":{"ip":null,"port":null,"namespace":null,"pod":null,"identity":null},)"
        R"("service":null,"dialled":null,"method":null,"authority":null,"path":null,"protocol":"http/1.0",)"
        R"("code":null,"grpcStatus":null,"flags":"SI","details":null,"policy":null,"bytesSent":0,"bytesReceived":0,)"
        R"("requestId":null,"traceId":null,"userAgent":null})"
        "\n");
}

TEST_CASE("request line: protocols") {
  RequestRecord request;
  CHECK(telemetry::protocol_of(request) == "http/1.1");
  request.version = http::Version::kHttp2;
  CHECK(telemetry::protocol_of(request) == "h2");
}

TEST_CASE("request line: times have three decimals and never go below nothing") {
  const auto written_time = [](std::chrono::microseconds time) {
    std::string out;
    log::append_milliseconds(out, time);
    return out;
  };
  CHECK(written_time(std::chrono::microseconds(0)) == "0.000");
  CHECK(written_time(std::chrono::microseconds(1'000'050)) == "1000.050");
  CHECK(written_time(std::chrono::microseconds(-5)) == "0.000");
}

TEST_CASE("text: as JSON") {
  CHECK(written("") == R"("")");
  CHECK(written("a\"b\\c") == R"("a\"b\\c")");
  CHECK(written(std::string("\0\n\x1b\x7f", 4)) == R"("\u0000\u000a\u001b\u007f")");
  CHECK(written("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xb3") ==
        "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xb3\"");
  CHECK(written("\xc2\x85\xe2\x80\xa8\xe2\x80\xa9") == R"("\u0085\u2028\u2029")");
  const std::string replaced = "\xef\xbf\xbd";
  CHECK(written("\xff") == "\"" + replaced + "\"");
  CHECK(written("\xc0\xaf") == "\"" + replaced + replaced + "\"");                 // longer than it must be
  CHECK(written("\xed\xa0\x80") == "\"" + replaced + replaced + replaced + "\"");  // half of a surrogate pair
  CHECK(written("\xf4\x90\x80\x80x") == "\"" + replaced + replaced + replaced + replaced + "x\"");  // past U+10FFFF
  CHECK(written("\xe2\x82") == "\"" + replaced + replaced + "\"");  // ends in its middle
  CHECK(written("\xe2\"") == "\"" + replaced + R"(\"")");           // does not hide a quote
}

TEST_CASE("text: is cut between characters") {
  CHECK(log::cut("abc", 3) == "abc");
  CHECK(log::cut("abcd", 3) == "abc");
  CHECK(log::cut("a\xe2\x82\xac", 3) == "a");
  CHECK(log::cut("a\xe2\x82\xac!", 4) == "a\xe2\x82\xac");
  CHECK(log::cut("\x80\x80\x80\x80\x80", 4) == "\x80\x80\x80\x80");
  CHECK(log::clean("a\nb\x1b[31m\xff", 100) ==
        "a\xef\xbf\xbd"
        "b\xef\xbf\xbd[31m\xef\xbf\xbd");
  CHECK(log::clean("ab\n", 4) == "ab");
}

TEST_CASE("request line: texts are cut") {
  RequestRecord request;
  request.path = "/" + std::string(100'000, 'p');
  request.method = request.authority = request.details = request.policy = std::string(100'000, 'x');
  request.request_id = request.trace_id = request.user_agent = std::string(100'000, 'x');
  const auto line = parsed(line_of(request));
  CHECK(line.at("path").as_string().size() == telemetry::kMostPath);
  for (const char* field : {"method", "authority", "details", "policy", "requestId", "traceId", "userAgent"})
    CHECK(line.at(field).as_string().size() == telemetry::kMostText);
}

TEST_CASE("request line: random bytes in every text are one line of JSON with the same fields") {
  std::mt19937 dice(20'260'203);
  const auto connection = test::record_between(11, 12);
  const auto fields = parsed(line_of(test::request_over(connection)));
  const auto random_text = [&] {
    std::string text(dice() % 40, '\0');
    // Bytes of which sequences of UTF-8 begin or go on are more often than chance would have them.
    for (char& c : text) c = static_cast<char>(dice() % 2 == 0 ? dice() : 0x80 + dice() % 0x80);
    return text;
  };
  for (int round = 0; round < 20'000; ++round) {
    auto request = test::request_over(connection);
    for (auto* text : {&request.method, &request.authority, &request.path, &request.details, &request.policy,
                       &request.request_id, &request.trace_id, &request.user_agent})
      *text = random_text();
    request.flag = static_cast<RequestFlag>(dice() % kRequestFlags);
    request.status = dice() % 1200;
    const auto line = parsed(line_of(request));
    REQUIRE(line.size() == fields.size());
    auto expected = fields.begin();
    for (const auto& [name, value] : line) CHECK(name == (expected++)->key());
  }
}
