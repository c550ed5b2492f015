// SPDX-License-Identifier: Apache-2.0
// Trace headers: what is well formed goes on as it came, garbage does not, and what is missing is made.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "userspace_proxy/telemetry/trace.h"

using namespace underpass;
using http::Fields;
using telemetry::Dice;
using telemetry::parse_b3;
using telemetry::parse_traceparent;
using telemetry::TraceParent;

namespace {

const std::string kTrace = "0af7651916cd43dd8448eb211c80319c";
const std::string kSpan = "b7ad6b7169203331";
const std::string kShort = "8448eb211c80319c";
const std::string kGood = "00-" + kTrace + "-" + kSpan + "-01";

using List = std::vector<std::pair<std::string, std::string>>;

// The request's fields afterwards, one a line, without x-request-id.
std::string traced(const List& before, std::string* trace_id = nullptr) {
  static Dice dice({1, 2, 3, 4});
  Fields fields;
  for (const auto& [name, value] : before) fields.add(name, value);
  const auto ids = telemetry::trace(fields, dice);
  if (trace_id != nullptr) *trace_id = ids.trace_id;
  CHECK(fields.find("x-request-id") == ids.request_id);
  std::string out;
  for (std::size_t i = 0; i < fields.size(); ++i)
    if (const auto field = fields.at(i); field.name != "x-request-id")
      out += std::string(field.name) + ": " + std::string(field.value) + "\n";
  return out;
}

// A traceparent of a trace that was made, and nothing else.
bool is_new(const std::string& fields) {
  if (!fields.starts_with("traceparent: ") || !fields.ends_with("-00\n") || fields.contains(kTrace)) return false;
  return parse_traceparent(fields.substr(13, fields.size() - 14)).has_value();
}

}  // namespace

TEST_CASE("trace: traceparent, strictly") {
  CHECK(parse_traceparent(kGood) == TraceParent{.trace_id = kTrace, .span_id = kSpan, .sampled = true});
  CHECK(!parse_traceparent("00-" + kTrace + "-" + kSpan + "-00").value().sampled);
  CHECK(parse_traceparent("00-" + kTrace + "-" + kSpan + "-ff").value().sampled);
  CHECK(parse_traceparent("cc-" + kTrace + "-" + kSpan + "-01"));       // a later version
  CHECK(parse_traceparent("cc-" + kTrace + "-" + kSpan + "-01-what"));  // ... with more in it
  for (const auto& bad : {std::string(), kGood + "-", kGood + "x", kGood + " ", " " + kGood, kGood.substr(1),
                          kGood.substr(0, 54), "ff-" + kTrace + "-" + kSpan + "-01", "cc" + kGood.substr(2) + "what",
                          "0x-" + kTrace + "-" + kSpan + "-01", "00-" + std::string(32, '0') + "-" + kSpan + "-01",
                          "00-" + kTrace + "-" + std::string(16, '0') + "-01", "00-" + kTrace + "-" + kSpan + "-0g",
                          "00-" + kTrace + "_" + kSpan + "-01", "00-0AF7651916CD43DD8448EB211C80319C-" + kSpan + "-01"})
    CHECK_MESSAGE(!parse_traceparent(bad), bad);
}

TEST_CASE("trace: b3 in one header, strictly") {
  const TraceParent parent{.trace_id = kTrace, .span_id = kSpan, .sampled = false};
  CHECK(parse_b3(kTrace + "-" + kSpan) == parent);
  CHECK(parse_b3(kTrace + "-" + kSpan + "-0") == parent);
  CHECK(parse_b3(kTrace + "-" + kSpan + "-1").value().sampled);
  CHECK(parse_b3(kTrace + "-" + kSpan + "-d-" + kSpan).value().sampled);
  CHECK(parse_b3(kShort + "-" + kSpan).value().trace_id == std::string(16, '0') + kShort);
  for (const auto& bad :
       {std::string(), std::string("0"), std::string("-"), std::string("--"), kTrace, kTrace + "-",
        kTrace + "-" + kSpan + "-", kTrace + "-" + kSpan + "-2", kTrace + "-" + kSpan + "--" + kSpan,
        kTrace + "-" + kSpan + "-1-", kTrace + "-" + kSpan + "-1-" + kTrace,
        kTrace + "-" + kSpan + "-1-" + kSpan + "-1", kTrace + "-" + kShort + "x", std::string(32, '0') + "-" + kSpan})
    CHECK_MESSAGE(!parse_b3(bad), bad);
}

TEST_CASE("trace: what is well formed goes on as it came") {
  std::string id;
  CHECK(traced({{"traceparent", kGood}, {"tracestate", "a=1"}, {"tracestate", "b=2"}, {"x", "y"}}, &id) ==
        "traceparent: " + kGood + "\ntracestate: a=1\ntracestate: b=2\nx: y\n");
  CHECK(id == kTrace);
  CHECK(traced({{"traceparent", kGood}, {"b3", "0"}}) == "traceparent: " + kGood + "\nb3: 0\n");
}

TEST_CASE("trace: where there is none, one is made, and b3 is not") {
  CHECK(is_new(traced({})));
  CHECK(traced({}) != traced({}));
  CHECK(is_new(traced({{"tracestate", "a=1"}})));
  CHECK(is_new(traced({{"traceparent", "garbage"}, {"tracestate", "a=1"}})));
  CHECK(is_new(traced({{"traceparent", kGood}, {"traceparent", kGood}})));
  CHECK(traced({{"traceparent", kGood}, {"tracestate", std::string(8193, 'x')}}) == "traceparent: " + kGood + "\n");
}

TEST_CASE("trace: b3 alone goes on, and traceparent tells the same") {
  std::string id;
  const std::string one = kShort + "-" + kSpan + "-1";
  const std::string same = "traceparent: 00-" + std::string(16, '0') + kShort + "-" + kSpan + "-01\n";
  CHECK(traced({{"b3", one}}, &id) == "b3: " + one + "\n" + same);
  CHECK(id == std::string(16, '0') + kShort);
  const List many{{"x-b3-traceid", kShort}, {"x-b3-spanid", kSpan}, {"x-b3-sampled", "1"}};
  CHECK(traced(many) == "x-b3-traceid: " + kShort + "\nx-b3-spanid: " + kSpan + "\nx-b3-sampled: 1\n" + same);
  for (const char* flags : {"x-b3-flags: 1", "x-b3-sampled: true"}) {
    const std::string text(flags);
    CHECK(traced({{"x-b3-traceid", kShort},
                  {"x-b3-spanid", kSpan},
                  {text.substr(0, text.find(':')), text.substr(text.find(' ') + 1)}})
              .ends_with("-01\n"));
  }
  CHECK(traced({{"x-b3-sampled", "0"}}).starts_with("x-b3-sampled: 0\ntraceparent: "));  // a decision alone
}

TEST_CASE("trace: b3 of which anything is odd is taken away whole") {
  const List odd[] = {
      {{"b3", "garbage"}},
      {{"b3", kTrace + "-" + kSpan}, {"b3", kTrace + "-" + kSpan}},
      {{"b3", kTrace + "-" + kSpan}, {"x-b3-sampled", "perhaps"}},
      {{"x-b3-traceid", kShort}},
      {{"x-b3-spanid", kSpan}},
      {{"x-b3-traceid", kShort}, {"x-b3-spanid", kSpan}, {"x-b3-spanid", kSpan}},
      {{"x-b3-traceid", kShort}, {"x-b3-spanid", kSpan + "0"}},
      {{"x-b3-traceid", kShort}, {"x-b3-spanid", kSpan}, {"x-b3-parentspanid", "-"}},
      {{"x-b3-traceid", kShort}, {"x-b3-spanid", kSpan}, {"x-b3-sampled", "2"}},
      {{"x-b3-traceid", kShort}, {"x-b3-spanid", kSpan}, {"x-b3-flags", "true"}},
  };
  for (const auto& fields : odd) CHECK_MESSAGE(is_new(traced(fields)), fields.front().second);
}

TEST_CASE("trace: x-request-id is kept if it is one, else a UUID of version 4") {
  Dice dice;
  const auto id_of = [&](const List& before) {
    Fields fields;
    for (const auto& [name, value] : before) fields.add(name, value);
    const auto id = telemetry::trace(fields, dice).request_id;
    CHECK(fields.count("x-request-id") == 1);
    return id;
  };
  CHECK(id_of({{"x-request-id", "abc-1"}}) == "abc-1");
  CHECK(id_of({{"x-request-id", std::string(128, 'x')}}) == std::string(128, 'x'));
  std::set<std::string> seen;
  for (const auto& bad :
       {List{}, List{{"x-request-id", ""}}, List{{"x-request-id", "a b"}}, List{{"x-request-id", "a\xc3\xbc"}},
        List{{"x-request-id", std::string(129, 'x')}}, List{{"x-request-id", "one"}, {"x-request-id", "two"}}})
    for (int i = 0; i < 1000; ++i) {
      const auto id = id_of(bad);
      REQUIRE(id.size() == 36);
      for (std::size_t at = 0; at < id.size(); ++at)
        CHECK((at == 8 || at == 13 || at == 18 || at == 23 ? id[at] == '-'
                                                           : std::string_view("0123456789abcdef").contains(id[at])));
      CHECK(id[14] == '4');
      CHECK(std::string_view("89ab").contains(id[19]));
      CHECK(seen.insert(id).second);
    }
}

TEST_CASE("trace: random fields come out well formed") {
  std::mt19937 dice(11);
  const std::vector<std::string> names{"traceparent", "tracestate",        "b3",           "x-b3-traceid",
                                       "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"};
  const std::vector<std::string> parts{kTrace, kSpan, kShort, "-", "-", "00", "01", "0", "1", "d", "ff", "\xff", " "};
  for (int round = 0; round < 20'000; ++round) {
    List before;
    for (auto count = dice() % 5; count > 0; --count) {
      std::string value;
      for (auto length = dice() % 6; length > 0; --length) value += parts[dice() % parts.size()];
      before.emplace_back(names[dice() % names.size()], dice() % 4 == 0 ? kGood : value);
    }
    std::string id;
    const auto after = traced(before, &id);
    const auto at = after.find("traceparent: ");
    REQUIRE(at != std::string::npos);
    CHECK(after.find("traceparent: ", at + 1) == std::string::npos);
    const auto parent = parse_traceparent(after.substr(at + 13, after.find('\n', at) - at - 13));
    REQUIRE_MESSAGE(parent, after);
    CHECK(parent->trace_id == id);
  }
}
