// SPDX-License-Identifier: Apache-2.0
// Plugin lists as CNIs ship them, with our entry and without: everything of others stays byte for byte.
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "agent/cni/plugin_list.h"

namespace underpass::cni {
namespace {

namespace json = boost::json;

const ListEntry kEntry{
    .socket = "/run/underpass/cni.sock", .enrolment = "/var/lib/underpass/enrolment.json", .made_from = {}};
constexpr std::string_view kOurs =
    R"({"type":"underpass-cni","agentSocket":"/run/underpass/cni.sock","enrolment":"/var/lib/underpass/enrolment.json","timeoutSeconds":20})";

constexpr std::string_view kCalico = R"({
  "name": "k8s-pod-network",
  "cniVersion": "0.3.1",
  "plugins": [
    {
      "type": "calico",
      "log_level": "info",
      "mtu": 1.5e3, "big": 18446744073709551615,
      "ipam": { "type": "calico-ipam" },
      "note": "a ] } \" plugins\\",
      "kubernetes": { "kubeconfig": "/etc/cni/net.d/calico-kubeconfig" }
    },
    {
      "type": "portmap",
      "snat": true,
      "capabilities": {"portMappings": true}
    }
  ]
})";

constexpr std::string_view kFlannel =
    R"({"name":"cbr0","cniVersion":"1.0.0","plugins":[{"type":"flannel","delegate":{"hairpinMode":true}}],"after":[1,2]})";

PluginList parse(std::string_view text) {
  auto list = PluginList::parse(std::string(text));
  REQUIRE_MESSAGE(list, list.error().message);
  return std::move(*list);
}

std::vector<std::string> types_of(const std::string& text) {
  std::vector<std::string> out;
  const auto parsed = json::parse(text);
  for (const auto& plugin : parsed.at("plugins").as_array()) out.emplace_back(plugin.at("type").as_string());
  return out;
}

TEST_CASE("cni list: the entry comes last, and what was put in and taken out leaves the same bytes") {
  for (const auto original : {kCalico, kFlannel}) {
    const auto list = parse(original);
    CHECK_FALSE(list.names_us());
    CHECK(list.can_be_chained());
    CHECK(list.without() == original);

    const auto text = list.with(kEntry);
    const auto with = parse(text);
    CHECK(with.names_us());
    CHECK(types_of(text).back() == "underpass-cni");
    CHECK(json::parse(text).at("plugins").as_array().back() == json::parse(kOurs.data()));
    CHECK(with.with(kEntry) == text);
    CHECK(with.without() == original);
  }
}

TEST_CASE("cni list: an entry that is not last, twice, or says something else is put right") {
  const std::string ours(kOurs);
  const auto list = [](const std::string& plugins) {
    return R"({"cniVersion":"1.0.0","name":"n","plugins":[)" + plugins + "]}";
  };
  const auto wanted = parse(list(R"({"type":"a"},{"type":"b"})")).with(kEntry);
  for (const auto& plugins : std::vector<std::string>{
           ours + R"(,{"type":"a"},{"type":"b"})",
           R"({"type":"a"}, )" + ours + R"(,{"type":"b"})",
           ours + " ,\n" + ours + R"(,{"type":"a"},{"type":"b"},)" + ours,
           R"({"type":"a"},{"type":"b"},{"type":"underpass-cni","agentSocket":"/old"})",
           R"({"type":"underpass-cni"},{"type":"a"},{"type":"underpass-cni"},{"type":"b"})",
       }) {
    CAPTURE(plugins);
    const auto text = parse(list(plugins)).with(kEntry);
    CHECK(json::parse(text) == json::parse(wanted));
    CHECK(types_of(parse(text).without()) == std::vector<std::string>{"a", "b"});
  }
  CHECK(parse(list(ours)).without().empty());
}

TEST_CASE("cni list: of two members `plugins` the last counts, however it is spelled") {
  const std::string text =
      R"({"name":"n","cniVersion":"1.0.0","plugins":[{"type":"x"}],"pl\u0075gins":[{"type":"a"}]})";
  const auto with = parse(text).with(kEntry);
  CHECK(types_of(with) == std::vector<std::string>{"a", "underpass-cni"});
  CHECK(parse(with).without() == text);
}

TEST_CASE("cni list: of a single plugin the list is made that libcni makes") {
  const std::string single =
      "{ \"cniVersion\": \"0.4.0\", \"name\": \"bridge\\u0031\", \"type\": \"bridge\", \"mtu\": 1e3 }\n";
  const auto list = PluginList::of_single(single);
  REQUIRE_MESSAGE(list, list.error().message);
  CHECK(list->can_be_chained());
  CHECK(json::parse(list->text()) ==
        json::parse(R"({"cniVersion":"0.4.0","name":"bridge1","plugins":[)" + single + "]}"));
  auto entry = kEntry;
  entry.made_from = "10-bridge.conf";
  const auto with = parse(list->with(entry));
  CHECK(with.made_from() == "10-bridge.conf");
  CHECK(with.with(entry) == with.text());
}

TEST_CASE("cni list: what libcni would not load is refused") {
  struct Row {
    std::string_view text;
    std::string_view cause;
  };
  const std::vector<Row> rows{
      {"", "not JSON: incomplete JSON"},
      {"{", "not JSON: incomplete JSON"},
      {"[]", "not a JSON object"},
      {R"({"plugins":[{"type":"a"}]})", "name: is missing"},
      {R"({"name":7,"plugins":[{"type":"a"}]})", "name: not a string"},
      {R"({"name":"n","cniVersion":1,"plugins":[{"type":"a"}]})", "cniVersion: not a string"},
      {R"({"name":"n"})", "plugins: not an array with a plugin in it"},
      {R"({"name":"n","plugins":[]})", "plugins: not an array with a plugin in it"},
      {R"({"name":"n","plugins":{"type":"a"}})", "plugins: not an array with a plugin in it"},
      {R"({"name":"n","plugins":["a"]})", "plugins[0]: not an object"},
      {R"({"name":"n","plugins":[{"type":"a"},{}]})", "plugins[1]: type: is missing"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    const auto list = PluginList::parse(std::string(row.text));
    REQUIRE_FALSE(list);
    CHECK(list.error().message == row.cause);
  }
  CHECK_FALSE(PluginList::of_single(kFlannel));
  CHECK_FALSE(PluginList::of_single(R"({"type":"bridge"})"));
}

TEST_CASE("cni list: no plugin is chained below 0.3.1, nor above what the plugin knows") {
  const auto chained = [](const std::string& versions) {
    return parse("{" + versions + R"("name":"n","plugins":[{"type":"a"}]})").can_be_chained().has_value();
  };
  CHECK(chained(R"("cniVersion":"0.3.1",)"));
  CHECK(chained(R"("cniVersion":"1.1.0",)"));
  CHECK(chained(R"("cniVersion":"0.4.0","cniVersions":["1.0.0","1.1.0"],)"));
  CHECK_FALSE(chained(""));
  CHECK_FALSE(chained(R"("cniVersion":"0.2.0",)"));
  CHECK_FALSE(chained(R"("cniVersion":"2.0.0",)"));
  CHECK_FALSE(chained(R"("cniVersion":"1.0.0","cniVersions":["9.0.0"],)"));
  CHECK_FALSE(parse(R"({"name":"n","cniVersion":"1.0.0","plugins":[{"type":"underpass-cni"}]})").can_be_chained());
}

// Any valid list, whatever stands between its tokens, comes back as it was.
TEST_CASE("cni list: bitten lists are refused, or edited without touching what is not ours") {
  std::mt19937 dice(11);
  const auto below = [&](std::size_t bound) { return std::uniform_int_distribution<std::size_t>(0, bound - 1)(dice); };
  constexpr std::string_view kBites = " \t\n,:\"{}[]\\u0aet17-";
  int edited = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text(round % 2 == 0 ? kCalico : kFlannel);
    for (auto bites = below(3) + 1; bites > 0; --bites) {
      if (below(2) == 0)
        text[below(text.size())] = kBites[below(kBites.size())];
      else
        text.insert(below(text.size()), 1, kBites[below(kBites.size())]);
    }
    const auto list = PluginList::parse(text);
    if (!list || list->names_us()) continue;
    ++edited;
    CAPTURE(text);
    const auto with = PluginList::parse(list->with(kEntry));
    REQUIRE(with);
    REQUIRE(with->without() == text);
    auto plugins = json::parse(text).at("plugins").as_array();
    plugins.push_back(json::parse(kOurs.data()));
    REQUIRE(json::parse(with->text()).at("plugins").as_array() == plugins);
  }
  CHECK(edited > 1000);
}

}  // namespace
}  // namespace underpass::cni
