// SPDX-License-Identifier: Apache-2.0
// What the controller knows of pods and nodes: who runs where, and whose NodeWorkloads nobody writes any more.
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <string>
#include <vector>

#include "agent/controller/orphans.h"
#include "agent/controller/pod_index.h"

namespace underpass::controller {
namespace {

using std::chrono::seconds;

k8s::Received pod(const std::string& name, const std::string& text) {
  return {
      .object = boost::json::parse(text), .refused = "", .ns = "shop", .name = name, .uid = "", .resource_version = ""};
}

TEST_CASE("pod index: who runs where, as pods come, move and go") {
  PodIndex index;
  CHECK_FALSE(index.runs("n1", "shop", "web"));
  index.put(pod("a", R"({"spec": {"nodeName": "n1", "serviceAccountName": "web"}})"));
  index.put(pod("b", R"({"spec": {"nodeName": "n1", "serviceAccountName": "web"}, "status": {"phase": "Running"}})"));
  CHECK(index.runs("n1", "shop", "web"));
  CHECK_FALSE(index.runs("n2", "shop", "web"));
  CHECK_FALSE(index.runs("n1", "bank", "web"));
  CHECK_FALSE(index.runs("n1", "shop", "db"));
  index.put(pod("a", R"({"spec": {"nodeName": "n1", "serviceAccountName": "web"}})"));  // the same again
  index.remove({.ns = "shop", .name = "a"});
  CHECK(index.runs("n1", "shop", "web"));
  index.put(pod("b", R"({"spec": {"nodeName": "n2", "serviceAccountName": "web"}})"));  // another of that name
  CHECK_FALSE(index.runs("n1", "shop", "web"));
  CHECK(index.runs("n2", "shop", "web"));
  CHECK(index.size() == 1);
  index.remove({.ns = "shop", .name = "b"});
  index.remove({.ns = "shop", .name = "b"});
  CHECK_FALSE(index.runs("n2", "shop", "web"));
  CHECK(index.size() == 0);
}

TEST_CASE("pod index: pods that count for nothing") {
  for (const char* text : {
           R"({"spec": {"serviceAccountName": "web"}})",
           R"({"spec": {"nodeName": "", "serviceAccountName": "web"}})",
           R"({"spec": {"nodeName": "n1", "serviceAccountName": "web"}, "status": {"phase": "Succeeded"}})",
           R"({"spec": {"nodeName": "n1", "serviceAccountName": "web"}, "status": {"phase": "Failed"}})",
           R"({"spec": {"nodeName": ["n1"], "serviceAccountName": "web"}})",
           "null",
       }) {
    CAPTURE(text);
    PodIndex index;
    index.put(pod("a", R"({"spec": {"nodeName": "n1", "serviceAccountName": "web"}})"));
    index.put(pod("a", text));  // what it is now
    CHECK_FALSE(index.runs("n1", "shop", "web"));
    CHECK(index.size() == 0);
  }
  PodIndex index;
  index.put(pod("a", R"({"spec": {"nodeName": "n1"}})"));
  CHECK(index.runs("n1", "shop", "default"));
}

using Names = std::vector<std::string>;

TEST_CASE("orphans: shards whose node is gone for a minute") {
  const Orphans::Time start{std::chrono::hours(1)};
  Orphans orphans;
  orphans.put_node("n1");
  orphans.put("n1.0", "n1");
  orphans.put("n2.0", "n2");
  orphans.put("n2.3", "n2");
  CHECK(orphans.due(start).empty());
  CHECK(orphans.due(start + seconds(59)).empty());
  CHECK(orphans.due(start + seconds(60)) == Names{"n2.0", "n2.3"});
  CHECK(orphans.due(start + seconds(61)).empty());  // each is named once
  orphans.put("n2.3", "n2");                        // and is another after that
  CHECK(orphans.due(start + seconds(62)).empty());
  CHECK(orphans.due(start + seconds(122)) == Names{"n2.3"});
}

TEST_CASE("orphans: a node that is back begins its minute anew") {
  const Orphans::Time start{std::chrono::hours(1)};
  Orphans orphans;
  orphans.put_node("n1");
  orphans.put("n1.0", "n1");
  orphans.remove_node("n1");
  CHECK(orphans.due(start).empty());
  orphans.put_node("n1");
  CHECK(orphans.due(start + seconds(50)).empty());
  orphans.remove_node("n1");
  CHECK(orphans.due(start + seconds(55)).empty());
  CHECK(orphans.due(start + seconds(114)).empty());
  CHECK(orphans.due(start + seconds(115)) == Names{"n1.0"});
  orphans.put("n1.0", "n1");  // somebody writes it
  CHECK(orphans.due(start + seconds(116)).empty());
  CHECK(orphans.due(start + seconds(176)) == Names{"n1.0"});
}

}  // namespace
}  // namespace underpass::controller
