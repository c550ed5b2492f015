// SPDX-License-Identifier: Apache-2.0
// Text, quantities and tables of underpassctl.
#include <doctest/doctest.h>

#include "agent/cli/human.h"
#include "agent/cli/table.h"
#include "agent/cli/text.h"

using namespace underpass::cli;
using namespace std::chrono;

TEST_CASE("cli text: bytes that are no UTF-8 are replaced one by one") {
  CHECK(to_utf8("plain \u00fc \u20ac \U0001F600") == "plain \u00fc \u20ac \U0001F600");
  CHECK(to_utf8("\xff") == "\uFFFD");
  CHECK(to_utf8("a\xC3") == "a\uFFFD");
  CHECK(to_utf8("\xC0\xAF") == "\uFFFD\uFFFD");                      // overlong
  CHECK(to_utf8("\xE0\x80\xAF") == "\uFFFD\uFFFD\uFFFD");            // overlong
  CHECK(to_utf8("\xED\xA0\x80") == "\uFFFD\uFFFD\uFFFD");            // surrogate
  CHECK(to_utf8("\xF4\x90\x80\x80") == "\uFFFD\uFFFD\uFFFD\uFFFD");  // above U+10FFFF
  CHECK(to_utf8("\xF0\x90\x80") == "\uFFFD\uFFFD\uFFFD");
  CHECK(to_utf8("\n\x1b") == "\n\x1b");
}

TEST_CASE("cli text: what could move the cursor is not printed") {
  CHECK(to_printable("a\nb\tc\x1b[31m\x7f\u0085") == "a?b?c?[31m??");
  CHECK(to_printable("gr\u00fc\u00dfe") == "gr\u00fc\u00dfe");
  CHECK(width_of("gr\u00fc\u00dfe") == 5);
}

TEST_CASE("cli human: bytes") {
  struct Case {
    std::uint64_t bytes;
    const char* text;
  };
  for (const Case& c : {Case{0, "0 B"},
                        {1023, "1023 B"},
                        {1024, "1.0 KiB"},
                        {1536, "1.5 KiB"},
                        {1'048'524, "1023.9 KiB"},
                        {1'048'525, "1.0 MiB"},
                        {1'048'576, "1.0 MiB"},
                        {1'258'291, "1.2 MiB"},
                        {64ULL << 30, "64.0 GiB"},
                        {18'446'744'073'709'551'615U, "16.0 EiB"}}) {
    CAPTURE(c.bytes);
    CHECK(human_bytes(c.bytes) == c.text);
  }
}

TEST_CASE("cli human: ages") {
  CHECK(human_age(-5s) == "0s");
  CHECK(human_age(0s) == "0s");
  CHECK(human_age(59s) == "59s");
  CHECK(human_age(60s) == "1m");
  CHECK(human_age(3min + 12s) == "3m12s");
  CHECK(human_age(2h + 59s) == "2h");
  CHECK(human_age(2h + 5min + 7s) == "2h5m");
  CHECK(human_age(24h * 3 + 4h + 59min) == "3d4h");
}

TEST_CASE("cli human: durations") {
  CHECK(parse_duration("30s").value() == 30s);
  CHECK(parse_duration("500ms").value() == 500ms);
  CHECK(parse_duration("2m").value() == 2min);
  CHECK(parse_duration("1h").value() == 1h);
  CHECK(parse_duration("45").value() == 45s);
  CHECK(parse_duration("0").value() == 0s);
  for (const char* bad :
       {"", "s", "-1s", "+1s", "1.5s", "2h", "3601", "61m", "1 s", "1d", "99999999999999999999s", "30sx"}) {
    CAPTURE(bad);
    const auto duration = parse_duration(bad);
    REQUIRE(!duration);
    CHECK(duration.error().message ==
          std::string("\"") + bad + "\": not a time from 0 to 1h (write 30s, 500ms, 2m or 1h)");
  }
}

TEST_CASE("cli human: endpoints") {
  CHECK(endpoint("10.0.0.7", 80) == "10.0.0.7:80");
  CHECK(endpoint("fd00::7", 80) == "[fd00::7]:80");
}

TEST_CASE("cli table: aligned, absent cells are dashes, no trailing spaces") {
  Table table({{"NAME"}, {"SIZE", Table::Align::kRight}, {"NOTE"}});
  CHECK(table.is_empty());
  CHECK(table.to_text() == "NAME  SIZE  NOTE\n");
  table.add({"a", "1.0 KiB", "first"});
  table.add({"gr\u00fc\u00dfe", "5 B", ""});
  table.add({"evil\n\x1b[2J", "", "x"});
  CHECK(table.to_text() ==
        "NAME          SIZE  NOTE\n"
        "a          1.0 KiB  first\n"
        "gr\u00fc\u00dfe          5 B  -\n"
        "evil??[2J        -  x\n");
  CHECK(table.width() == 9 + 2 + 7 + 2 + 5);
}

TEST_CASE("cli table: properties") {
  Properties properties;
  properties.add("STATE", "ready");
  properties.add("STALE SINCE", "");
  CHECK(properties.to_text(2) == "  STATE        ready\n  STALE SINCE  -\n");
}
