// SPDX-License-Identifier: Apache-2.0
// YAML text to a tree: scalars, documents, and everything that is refused.
#include <doctest/doctest.h>

#include <boost/json/serialize.hpp>
#include <string>

#include "agent/k8s/yaml.h"

namespace underpass::k8s {
namespace {

std::string repeat(const std::string& text, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += text;
  return out;
}

// All documents as JSON, one a line; or "line: cause".
std::string parse(const std::string& text) {
  const auto documents = parse_yaml(text);
  if (!documents) return std::to_string(documents.error().line) + ": " + documents.error().cause;
  std::string out;
  for (const auto& document : *documents) out += boost::json::serialize(document.value) + "\n";
  return out;
}

TEST_CASE("yaml: plain scalars follow the core schema of YAML 1.2") {
  struct Row {
    const char* text;
    const char* json;
  };
  const Row rows[] = {
      {"true", "true"},
      {"False", "false"},
      {"\"true\"", "\"true\""},
      {"'true'", "\"true\""},
      {"on", "\"on\""},
      {"yes", "\"yes\""},
      {"null", "null"},
      {"~", "null"},
      {"''", "\"\""},
      {"nullx", "\"nullx\""},
      {"12", "12"},
      {"+12", "12"},
      {"-12", "-12"},
      {"0x1F", "31"},
      {"0o17", "15"},
      {"017", "17"},
      {"0x", "\"0x\""},
      {"0x-1", "\"0x-1\""},
      {"1_000", "\"1_000\""},
      {"18446744073709551615", "18446744073709551615"},
      {"-", "[null]"},
      {"1.5", "1.5E0"},
      {".5", "5E-1"},
      {"-1e3", "-1E3"},
      {"+2.", "2E0"},
      {"1e", "\"1e\""},
      {".", "\".\""},
      {"1.2.3.4", "\"1.2.3.4\""},
      {"!!str true", "\"true\""},
      {"\"a\\nb\"", "\"a\\nb\""},
      {"- - 1", "[[1]]"},
      {"10.0.0.7", "\"10.0.0.7\""},
      {"99999999999999999999", "1E20"},
      {"1e999", "0E0"},
      {"2026-01-02", "\"2026-01-02\""},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    CHECK(parse(std::string("- ") + row.text) == "[" + std::string(row.json) + "]\n");
  }
}

TEST_CASE("yaml: mappings, lists, block scalars and several documents") {
  CHECK(parse("a: {b: [1, x], 'c': null}\nd:\n- e\n- f: g\n") == R"({"a":{"b":[1,"x"],"c":null},"d":["e",{"f":"g"}]})"
                                                                 "\n");
  CHECK(parse("text: |\n  one\n  two\nfolded: >\n  one\n  two\n") == R"({"text":"one\ntwo\n","folded":"one two\n"})"
                                                                     "\n");
  CHECK(parse("1: a\ntrue: b\n") == R"({"1":"a","true":"b"})"
                                    "\n");
  CHECK(parse("a: 1\n---\nb: 2\n---\n") == "{\"a\":1}\n{\"b\":2}\n");
  CHECK(parse("") == "");
  CHECK(parse("# nothing but a comment\n") == "");
  CHECK(parse("\xef\xbb\xbf"
              "a: 1\n") == "{\"a\":1}\n");
  CHECK(parse("a: gr\xc3\xbc\xc3\x9f\n") == "{\"a\":\"gr\xc3\xbc\xc3\x9f\"}\n");
}

TEST_CASE("yaml: documents know their line") {
  const auto documents = parse_yaml("# one\n\na: 1\n---\n\nb: 2\n");
  REQUIRE(documents.has_value());
  REQUIRE(documents->size() == 2);
  CHECK((*documents)[0].line == 3);
  CHECK((*documents)[1].line == 6);
}

TEST_CASE("yaml: JSON, and what is JSON but for a little") {
  CHECK(parse(R"({"a": [1, -2.5, true, null, "x: \"{\\"], "b": {}})") ==
        R"({"a":[1,-2.5E0,true,null,"x: \"{\\"],"b":{}})"
        "\n");
  CHECK(parse("---\n{\"a\": 1}\n--- \n\n{\"b\":\n 2}\n---\n") == "{\"a\":1}\n{\"b\":2}\n");
  CHECK(parse("{\"a\": 1}\n---\nb: 2\n") == "{\"a\":1}\n{\"b\":2}\n");
  CHECK(parse("{\"a\": 1} # one\n") == "{\"a\":1}\n");
  CHECK(parse("{\"a\": on,}") == "{\"a\":\"on\"}\n");
  CHECK(parse("{\n\"a\": {\"b\": 1,\n\"b\": 2}}\n") == "3: duplicate key \"b\"");
  CHECK(parse("{\"a\": 1}\n{\"b\": 2}\n") ==
        "2: more text after the end of the document: wrong indentation, or --- is missing");
  CHECK(parse("{\"a\": 1,\n\"b\": }") == "{\"a\":1,\"b\":null}\n");
  CHECK(parse(repeat("{\"a\":", kYamlMaxDepth) + "{}" + repeat("}", kYamlMaxDepth)) == "1: nested more than 128 deep");
  CHECK(parse("{\"a\": [0" + repeat(",0", kYamlMaxValues) + "]}") == "1: more than 1000000 values: split the file");
  const auto documents = parse_yaml("\n{\"a\":\n 1}\n---\n\n{\"b\": 2}\n");
  REQUIRE(documents.has_value());
  REQUIRE(documents->size() == 2);
  CHECK((*documents)[0].line == 2);
  CHECK((*documents)[1].line == 6);
}

TEST_CASE("yaml: aliases are expanded") {
  CHECK(parse("a: &x {k: [1, 2]}\nb: *x\n") == R"({"a":{"k":[1,2]},"b":{"k":[1,2]}})"
                                               "\n");
  CHECK(parse("- &x 5\n- *x\n- &x six\n- *x\n") == "[5,5,\"six\",\"six\"]\n");
}

TEST_CASE("yaml: what is refused, with its line") {
  struct Row {
    const char* text;
    const char* message;
  };
  const Row rows[] = {
      {"a: 1\nb: 2\na: 3\n", "3: duplicate key \"a\""},
      {"a: {b: 1, b: 2}\n", "1: duplicate key \"b\""},
      {"x: &x {a: 1}\ny:\n  <<: *x\n", "3: merge keys (<<) are not supported: write the fields out"},
      {"a: !mine 5\n", "1: tag \"!mine\": not supported"},
      {"a: !!binary aGVsbG8=\n", "1: tag \"tag:yaml.org,2002:binary\": not supported"},
      {"? [a]\n: b\n", "1: a key must be a string"},
      {"~: b\n", "1: a key is missing"},
      {"&x a: 1\n*x : 2\n", "2: an alias as a key is not supported"},
      {"a: &x [1, *x]\n", "1: an alias inside what it stands for"},
      {"a: 1\nb: \x01\n", "2: control character 1"},
      {"a: 1\n\x04\nb: 2\n", "2: control character 4"},
      {"a: \xff\n", "1: not UTF-8"},
      {"a: \xc0\xaf\n", "1: not UTF-8"},
      {"a: \xed\xa0\x80\n", "1: not UTF-8"},
      {"a: \xf4\x90\x80\x80\n", "1: not UTF-8"},
      {"a: \xe2\x82", "1: not UTF-8"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    CHECK(parse(row.text) == row.message);
  }
  CHECK(parse(std::string("a: 1\n\0", 6)) == "2: control character 0");
  for (const char* text :
       {"a: [1, 2\n", "a: 'x\n", "a: b: c\n", "a:\n\t- b\n", "*nobody\n", "{", "a: 1\n  b: 2\n", "\"\\ud800\""}) {
    CAPTURE(text);
    CHECK_FALSE(parse_yaml(text).has_value());
  }
  CHECK(parse("\"<<\": 1\n") == "{\"<<\":1}\n");
}

TEST_CASE("yaml: bombs go off at the limits") {
  SUBCASE("depth") {
    CHECK(parse(repeat("[", kYamlMaxDepth) + repeat("]", kYamlMaxDepth)).ends_with("]\n"));
    CHECK(parse(repeat("[", kYamlMaxDepth + 1) + repeat("]", kYamlMaxDepth + 1)) == "1: nested more than 128 deep");
    CHECK(parse(repeat("[", 100'000)) == "1: nested more than 128 deep");
    CHECK(parse(repeat("- ", 100'000)) == "1: nested more than 128 deep");
    CHECK_FALSE(parse_yaml(repeat("{a: ", 100'000)).has_value());
  }
  SUBCASE("depth through aliases") {
    std::string text = "- &a0 [x]\n";
    for (int i = 1; i < 200; ++i) text += "- &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + "]\n";
    CHECK(parse(text).ends_with(": nested more than 128 deep"));
  }
  SUBCASE("a thousand million laughs") {
    std::string text = "- &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 10; ++i) {
      const auto inner = "*a" + std::to_string(i - 1);
      text += "- &a" + std::to_string(i) + " [" + inner + repeat(", " + inner, 9) + "]\n";
    }
    CHECK(parse(text).ends_with(": more than 1000000 values: split the file"));
  }
  SUBCASE("a long text, many times") {
    CHECK(parse("- &a " + std::string(100'000, 'x') + "\n" + repeat("- *a\n", 10'000)) ==
          "671: aliases that expand to more than 64 MiB");
  }
  SUBCASE("anchors inside anchors") {
    std::string text;
    for (int i = 0; i < 100; ++i) text += "&a" + std::to_string(i) + " [";
    CHECK(parse(text + repeat("x, ", 100'000) + repeat("]", 100)) == "1: more than 1000000 values: split the file");
  }
  SUBCASE("values") {
    CHECK(parse(repeat("- \n", kYamlMaxValues + 1)).ends_with(": more than 1000000 values: split the file"));
  }
}

}  // namespace
}  // namespace underpass::k8s
