// SPDX-License-Identifier: Apache-2.0
// The label underpass.dev/mesh of the Node: takes the node out of the mesh as a whole and brings it back, and outlives
// the agent.
#include <doctest/doctest.h>

#include <filesystem>

#include "test/netns/accounts.h"
#include "test/netns/lifecycle/watch.h"

namespace underpass::test {
namespace {

const std::string kDisabled =
    R"({apiVersion: v1, kind: Node, metadata: {name: node-a, labels: {underpass.dev/mesh: disabled}}})";
const std::string kPlain = R"({apiVersion: v1, kind: Node, metadata: {name: node-a}})";

bool pins_there(const World& world) { return std::filesystem::exists(world.sandbox.pins() / "up_pods"); }

}  // namespace

TEST_CASE("a Node that is labelled disabled is detached as a whole, and attached again without the label") {
  World world;
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "short-circuit");
  world.objects.put_text("node.yaml", kDisabled);
  CHECK(eventually(seconds(5), [&] { return !pins_there(world); }));
  CHECK(world.ctl.json({"status"}).at("detached").at("nodeLabel").as_bool());
  CHECK(world.ctl.run({"attach"}).exit.code == 1);
  CHECK_FALSE(pins_there(world));

  SUBCASE("the label goes") {}
  SUBCASE("the agent is another one meanwhile") {
    world.agent.stop();
    world.agent.start("degraded");
    CHECK_FALSE(pins_there(world));
  }
  SUBCASE("the label goes while no agent is there") {
    world.agent.stop();
    world.objects.put_text("node.yaml", kPlain);
    world.agent.start();
  }
  world.objects.put_text("node.yaml", kPlain);
  world.wait_enrolled("shop", "a");
  CHECK(world.ctl.json({"status"}).at("detached").is_null());
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "short-circuit");
}

TEST_CASE("an operator's detach outlasts the Node's label") {
  World world;
  REQUIRE(world.ctl.run({"detach"}).exit.code == 0);
  world.objects.put_text("node.yaml", kDisabled);
  CHECK(eventually(seconds(5), [&] { return world.ctl.json({"status"}).at("detached").at("nodeLabel").as_bool(); }));
  world.objects.put_text("node.yaml", kPlain);
  CHECK(eventually(seconds(5), [&] { return !world.ctl.json({"status"}).at("detached").at("nodeLabel").as_bool(); }));
  CHECK_FALSE(pins_there(world));
  REQUIRE(world.ctl.run({"attach"}).exit.code == 0);
  world.wait_enrolled("shop", "a");
}

}  // namespace underpass::test
