// SPDX-License-Identifier: Apache-2.0
// Lists and watches from pieces of any size: every object is handed out, whole and once, and what is too much of one
// costs that one only.
#include <doctest/doctest.h>

#include <boost/json/serialize.hpp>
#include <string>
#include <vector>

#include "agent/k8s/api/object_reader.h"

namespace underpass::k8s {
namespace {

namespace json = boost::json;

std::string text_of(const Received& received) {
  return received.ns + "/" + received.name + " " + received.uid + "@" + received.resource_version +
         (received.deleting ? " deleting " : " ") +
         (received.refused.empty() ? json::serialize(received.object) : "refused: " + received.refused);
}

struct Read {
  std::vector<std::string> objects;
  std::string end;  // of the envelope, or what is wrong
};

Read read_list(std::string_view text, std::size_t step, ReaderLimits limits = {}) {
  Read read;
  ListReader reader([&](Received&& received) { read.objects.push_back(text_of(received)); }, limits);
  for (std::size_t at = 0; at < text.size(); at += step) {
    if (const auto fed = reader.feed(text.substr(at, step)); !fed) {
      read.end = fed.error().message;
      return read;
    }
  }
  const auto envelope = reader.finish();
  read.end = !envelope ? envelope.error().message
                       : envelope->kind + " " + envelope->api_version + " @" + envelope->resource_version + " +" +
                             envelope->continue_token + " " + std::to_string(envelope->remaining);
  return read;
}

TEST_CASE("list: objects and envelope, byte by byte and at once") {
  const std::string pod =
      R"({"metadata":{"name":"a\n\"b","namespace":"shop","uid":"u-1","resourceVersion":"7",)"
      R"("labels":{"name":"not this","x":[1,-2,35,true,null,{}]}},"spec":{"metadata":{"name":"nor this"}}})";
  const std::string node = R"({"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","name":"n"}})";
  const struct {
    std::string text;
    std::vector<std::string> objects;
    std::string end;
  } rows[] = {
      {R"({"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"42","continue":"abc","remainingItemCount":9},"items":[)" +
           pod + "," + node + "]}\n",
       {"shop/a\n\"b u-1@7 " + pod, "/n @ deleting " + node},
       "PodList v1 @42 +abc 9"},
      {R"({"items":[)" + node +
           R"(],"metadata":{"resourceVersion":"1"},"kind":"NodeList","apiVersion":"v1","extra":[[{"items":[]}],"x"]})",
       {"/n @ deleting " + node},
       "NodeList v1 @1 + 0"},
      {R"({"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"42"},"items":[]})",
       {},
       "PodList v1 @42 + 0"},
      {R"({"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"42"},"items":null})",
       {},
       "PodList v1 @42 + 0"},
      {R"({"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"42"}})",
       {},
       "not a list: it has no items"},
      {R"({"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]})", {}, "not a list: it has no resourceVersion"},
      {R"({"kind":"Status","metadata":{"resourceVersion":"1"},"items":[]})",
       {},
       "not a list: it is of kind \"Status\""},
      {"{}", {}, "not a list: it has no items"},
      {"[]", {}, "not a list: it has no items"},
      {"7 ", {}, "not a list of objects"},
      {R"({"items":[7]})", {}, "not a list of objects"},
      {R"({"items":[[]]})", {}, "not a list of objects"},
      {R"({"items":["a"]})", {}, "not a list of objects"},
      {R"({"items":[null]})", {}, "not a list of objects"},
      {"", {}, "not JSON: incomplete JSON"},
      {R"({"items":[)" + node + ",", {"/n @ deleting " + node}, "not JSON: incomplete JSON"},
      {"<html>", {}, "not JSON: syntax error"},
      {R"({"items":[]} x)", {}, "not JSON: something comes after the list"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    for (const std::size_t step : {1, 3, 1'000'000}) {
      const auto read = read_list(row.text, step);
      CHECK(read.objects == row.objects);
      CHECK(read.end == row.end);
    }
  }
}

std::string list_of(const std::string& objects) {
  return R"({"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[)" + objects + "]}";
}

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST_CASE("list: an object that is too large or too deep is refused by name, the others go on") {
  const std::string small = R"({"metadata":{"name":"small"}})";
  const struct {
    std::string object;
    std::string expected;
  } rows[] = {
      {R"({"metadata":{"name":"a","uid":"u"},"data":")" + std::string(2000, 'x') + R"("})",
       "/a u@ refused: larger than 1000 bytes"},
      {R"({"data":")" + std::string(2000, 'x') +
           R"(","metadata":{"annotations":{"a":"b"},"name":"late","namespace":"shop"}})",
       "shop/late @ refused: larger than 1000 bytes"},
      {R"({"metadata":{"name":"b","labels":{")" + std::string(2000, 'k') + R"(":"v"}}})",
       "/b @ refused: larger than 1000 bytes"},
      {R"({"metadata":{"name":"c"},"x":[0)" +
           [] {
             std::string zeros;
             for (int i = 0; i < 100; ++i) zeros += ",0";
             return zeros;
           }() +
           "]}",
       "/c @ refused: larger than 1000 bytes"},
      {R"({"metadata":{"name":"d"},"x":)" + nested(30) + "}", "/d @ refused: nested deeper than 20"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.object.substr(0, 80));
    for (const std::size_t step : {1, 100, 1'000'000}) {
      const auto read =
          read_list(list_of(small + "," + row.object + "," + small), step, {.object_bytes = 1000, .depth = 20});
      CHECK(read.objects == std::vector<std::string>{"/small @ " + small, row.expected, "/small @ " + small});
      CHECK(read.end == "PodList v1 @1 + 0");
    }
  }
  // What the parser itself does not go into ends the list.
  CHECK(read_list(list_of(R"({"x":)" + nested(600) + "}"), 1000).end == "not JSON: too deep");
}

Read read_watch(std::string_view text, std::size_t step, ReaderLimits limits = {}) {
  Read read;
  WatchReader reader([&](std::string_view type,
                         Received&& received) { read.objects.push_back(std::string(type) + " " + text_of(received)); },
                     limits);
  for (std::size_t at = 0; at < text.size(); at += step) {
    if (const auto fed = reader.feed(text.substr(at, step)); !fed) {
      read.end = fed.error().message;
      return read;
    }
  }
  return read;
}

TEST_CASE("watch: events one after another, each as soon as it is whole") {
  const std::string a = R"({"metadata":{"name":"a","resourceVersion":"7"}})";
  const std::string added = R"({"type":"ADDED","object":)" + a + "}";
  const std::string turned = R"({"object":)" + a + R"(,"type":"DELETED"})";
  const std::string is_added = "ADDED /a @7 " + a;
  const std::string is_deleted = "DELETED /a @7 " + a;
  const struct {
    std::string text;
    std::vector<std::string> events;
    std::string end;
  } rows[] = {
      {added, {is_added}, ""},
      {added + "\n" + turned + "\r\n  " + added + "\n", {is_added, is_deleted, is_added}, ""},
      {added + turned + added, {is_added, is_deleted, is_added}, ""},
      {added + "\n" + added.substr(0, added.size() - 1), {is_added}, ""},
      {added + "]", {is_added}, "not JSON: syntax error"},
      {added + "7 ", {is_added}, "not an event"},
      {"[]", {}, "not an event: type or object is missing"},
      {"{}", {}, "not an event: type or object is missing"},
      {R"({"type":"ADDED"})", {}, "not an event: type or object is missing"},
      {R"({"object":{}})", {}, "not an event: type or object is missing"},
      {R"({"type":"ADDED","object":null})", {}, "not an event: type or object is missing"},
      // Nothing of one event is left for the next.
      {added + R"({"type":"ADDED"})", {is_added}, "not an event: type or object is missing"},
      {added + R"({"object":{}})", {is_added}, "not an event: type or object is missing"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    for (const std::size_t step : {1, 5, 1'000'000}) {
      const auto read = read_watch(row.text, step);
      CHECK(read.objects == row.events);
      CHECK(read.end == row.end);
    }
  }
}

TEST_CASE("watch: an object that is too large is refused, the stream goes on") {
  const std::string large = R"({"type":"MODIFIED","object":{"metadata":{"name":"a","resourceVersion":"8"},"x":")" +
                            std::string(2000, 'x') + "\"}}";
  const auto read = read_watch(large + "\n" + large, 10, {.object_bytes = 1000, .depth = 20});
  CHECK(read.objects == std::vector<std::string>(2, "MODIFIED /a @8 refused: larger than 1000 bytes"));
  CHECK(read.end == "");
}

}  // namespace
}  // namespace underpass::k8s
