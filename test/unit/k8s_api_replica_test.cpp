// SPDX-License-Identifier: Apache-2.0
// What becomes of a kind's objects when lists, events and bookmarks come in, also late, twice and out of order; and
// what of that is told.
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <map>
#include <string>
#include <vector>

#include "agent/k8s/api/api_kind.h"
#include "agent/k8s/api/contents_book.h"
#include "agent/k8s/api/replica.h"

namespace underpass::k8s {
namespace {

namespace json = boost::json;

const ApiKind kNamespaces{.kind = "Namespace", .plural = "namespaces", .group = ""};

// "a@7" or "a@7=enabled": a Namespace, its version, its label.
Received parse(std::string_view text) {
  const auto at = text.find('@');
  const auto equals = std::min(text.find('='), text.size());
  Received received;
  received.name = text.substr(0, at);
  received.resource_version = text.substr(at + 1, equals - at - 1);
  received.uid = "u-" + received.name;
  json::object metadata{{"name", received.name}, {"uid", received.uid}, {"resourceVersion", received.resource_version}};
  if (equals < text.size()) {
    metadata["labels"] = json::object{{"underpass.dev/mesh", json::string_view(text.substr(equals + 1))}};
  }
  received.object = json::object{{"metadata", std::move(metadata)}};
  return received;
}

class Followed {
 public:
  // "list a@1 b@2 at 5", "half a@1", "drop", "ADDED a@7", "bookmark 9".
  void play(const std::string& step) {
    std::vector<std::string> words;
    for (std::size_t at = 0; at <= step.size();) {
      const auto end = std::min(step.find(' ', at), step.size());
      words.push_back(step.substr(at, end - at));
      at = end + 1;
    }
    if (words[0] == "list" || words[0] == "half") {
      replica.begin_list();
      for (std::size_t i = 1; i < words.size() && words[i] != "at"; ++i) REQUIRE(replica.list(parse(words[i])));
      if (words[0] == "list") replica.end_list(words.back());
    } else if (words[0] == "drop") {
      replica.drop_list();
    } else if (words[0] == "bookmark") {
      replica.bookmark(words[1]);
    } else {
      REQUIRE(replica.event(words[0], parse(words[1])));
    }
  }

  // What was told since the last time: "+a" (new or other), "-a".
  std::string news() { return std::exchange(told, {}); }

  int decoded = 0;
  std::string told;
  Replica replica{[this](Received&& received) {
                    ++decoded;
                    return decode_received(kNamespaces, std::move(received));
                  },
                  [this](const std::string& path, const std::shared_ptr<const File>& file) {
                    REQUIRE((!file || file->path == path));
                    told +=
                        (told.empty() ? "" : " ") + std::string(file ? "+" : "-") + path.substr(path.rfind('/') + 1);
                  }};
};

TEST_CASE("replica: what is told, step by step") {
  using Steps = std::vector<std::pair<std::string, std::string>>;
  const struct {
    const char* what;
    Steps steps;
    const char* position;
  } rows[] = {
      {"a list and events",
       {{"list a@1 b@2 at 5", "+a +b"}, {"ADDED c@6", "+c"}, {"MODIFIED a@7=enabled", "+a"}, {"DELETED b@8", "-b"}},
       "8"},
      {"a list is the difference",
       {{"list a@1 b@2 c@3 at 5", "+a +b +c"}, {"list a@1 b@7=enabled d@8 at 9", "-c +b +d"}},
       "9"},
      {"half a list is nothing", {{"list a@1 at 5", "+a"}, {"half b@6", ""}, {"drop", ""}, {"list a@1 at 7", ""}}, "7"},
      {"a list that begins anew", {{"half b@6", ""}, {"list a@1 at 7", "+a"}}, "7"},
      {"other version, same content", {{"list a@1 at 5", "+a"}, {"MODIFIED a@6", ""}, {"list a@9 at 9", ""}}, "9"},
      {"an event twice",
       {{"list at 5", ""}, {"ADDED a@6", "+a"}, {"ADDED a@6", ""}, {"DELETED a@7", "-a"}, {"DELETED a@7", ""}},
       "7"},
      {"late events", {{"list a@7=enabled at 8", "+a"}, {"MODIFIED a@5=disabled", ""}, {"DELETED a@6", ""}}, "8"},
      {"late after a deletion",
       {{"list a@1 at 5", "+a"},
        {"DELETED a@9", "-a"},
        {"MODIFIED a@8=enabled", ""},
        {"ADDED a@9", ""},
        {"ADDED a@10", "+a"}},
       "10"},
      {"more digits are more",
       {{"list a@9 at 9", "+a"}, {"MODIFIED a@10=enabled", "+a"}, {"MODIFIED a@9=disabled", ""}},
       "10"},
      {"a bookmark never goes back", {{"list a@1 at 5", "+a"}, {"bookmark 9", ""}, {"bookmark 7", ""}}, "9"},
      {"an event that comes after a later bookmark",
       {{"list a@1 at 5", "+a"}, {"bookmark 9", ""}, {"ADDED b@8", "+b"}},
       "9"},
      {"versions that are no numbers",
       {{"list a@x at y", "+a"}, {"MODIFIED a@c=enabled", "+a"}, {"bookmark z", ""}},
       "z"},
      {"a list may go back: a restored etcd",
       {{"list a@90 at 99", "+a"}, {"list a@3=enabled at 4", "+a"}, {"MODIFIED a@5", "+a"}},
       "5"},
      {"an event of what was selected and is not any more", {{"list a@1 at 5", "+a"}, {"DELETED a@1", "-a"}}, "5"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.what);
    Followed followed;
    for (const auto& [step, news] : row.steps) {
      CAPTURE(step);
      followed.play(step);
      CHECK(followed.news() == news);
    }
    CHECK(followed.replica.position() == row.position);
  }
}

TEST_CASE("replica: what did not change stays the same object, and is not decoded again") {
  Followed followed;
  followed.play("list a@1 b@2 at 5");
  const auto a = followed.replica.find({"", "a"})->file;
  const auto b = followed.replica.find({"", "b"})->file;
  CHECK(followed.decoded == 2);
  followed.play("list a@1 b@7 at 9");
  CHECK(followed.decoded == 3);
  CHECK(followed.replica.find({"", "a"})->file == a);
  CHECK(followed.replica.find({"", "b"})->file == b);
  CHECK(followed.replica.find({"", "b"})->resource_version == "7");
}

TEST_CASE("replica: what has no name, and what is no event") {
  Followed followed;
  CHECK_FALSE(followed.replica.list({}));
  CHECK(followed.replica.event("ADDED", {}).error().message == "an object has no metadata.name");
  CHECK(followed.replica.event("CHANGED", parse("a@1")).error().message == "an event of type \"CHANGED\"");
  followed.play("list a@1 at 5");
  followed.replica.clear();
  CHECK(followed.news() == "+a -a");
  CHECK(followed.replica.position() == "");
}

TEST_CASE("files of received objects") {
  const auto good = decode_received(kNamespaces, parse("shop@1"));
  REQUIRE(good->items.size() == 1);
  CHECK(good->path == "/api/v1/namespaces/shop");
  CHECK(good->items[0].uid == "u-shop");
  CHECK(good->items[0].place == good->path);

  const auto bad = decode_received(kNamespaces, parse("shop@1=maybe"));
  REQUIRE(bad->items.size() == 1);
  CHECK_FALSE(bad->items[0].object);

  auto large = parse("shop@1");
  large.refused = "larger than 8 bytes";
  large.object = nullptr;
  const auto refused = decode_received(kNamespaces, std::move(large));
  REQUIRE(refused->items.size() == 1);
  CHECK(refused->items[0].object.error().cause == "larger than 8 bytes");

  auto other = parse("shop@1");
  other.object.as_object()["kind"] = "Secret";
  const auto odd = decode_received(kNamespaces, std::move(other));
  REQUIRE(odd->unreadable.size() == 1);
  CHECK(odd->unreadable[0].cause == "kind: \"Secret\": must be \"Namespace\"");

  // Whoever writes Pods into the API does not choose their namespaces.
  Received pod;
  pod.ns = "shop";
  pod.name = "web";
  pod.object = json::parse(
      R"({"metadata":{"name":"web","namespace":"shop","annotations":{"underpass.dev/netns":"/var/run/netns/x"}}})");
  const auto file = decode_received({.kind = "Pod", .plural = "pods", .group = ""}, std::move(pod));
  CHECK(file->path == "/api/v1/namespaces/shop/pods/web");
  CHECK(std::get<model::Pod>(*file->items.at(0).object).netns_path.empty());
}

TEST_CASE("contents: in the order of their paths, changed in place") {
  const auto file = [](const std::string& path) { return std::make_shared<const File>(File{path, {}, {}}); };
  const auto paths = [](const ContentsBook& book) {
    std::string text;
    for (const auto& one : book.contents().files) text += one->path;
    return text;
  };
  ContentsBook book;
  for (const char* path : {"d", "b", "f"}) book.change(path, file(path));
  CHECK(book.changed());
  CHECK(paths(book) == "");
  book.settle();
  CHECK(paths(book) == "bdf");
  CHECK_FALSE(book.changed());

  const auto b = book.contents().files[0];
  const auto other = file("d");
  book.change("d", other);
  book.change("f", nullptr);
  book.change("a", file("a"));
  book.change("x", file("x"));
  book.change("x", nullptr);
  book.change("y", nullptr);
  book.settle();
  CHECK(paths(book) == "abd");
  CHECK(book.contents().files[1] == b);
  CHECK(book.contents().files[2] == other);

  // Many at once.
  std::map<std::string, bool> expected{{"a", true}, {"b", true}, {"d", true}};
  for (int i = 0; i < 100; ++i) {
    const auto path = "c" + std::to_string(1000 + i);
    book.change(path, file(path));
    expected[path] = true;
  }
  book.settle();
  std::string all;
  for (const auto& [path, there] : expected) all += path;
  CHECK(paths(book) == all);
}

}  // namespace
}  // namespace underpass::k8s
