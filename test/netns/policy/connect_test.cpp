// SPDX-License-Identifier: Apache-2.0
// Who may connect to whom, with real sockets: pods of the mesh, those outside it, and policies that change under live
// connections.
#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <cerrno>
#include <string>

#include "test/netns/policy/scene.h"

namespace underpass::test {
namespace {

TEST_CASE("policy: an ALLOW lets in whom it names, and nobody else, at once") {
  World world;
  const UniqueFd listener = listen_at(world.at("b"), AF_INET);
  const Address to = local_address(listener.get());
  CHECK(dial(world.at("a"), to).empty());
  world.objects.put_text("policy.yaml", allow_account("nobody"));
  CHECK(eventually(seconds(10), [&] { return is_refused(world.at("a"), to); }));
  world.objects.put_text("policy.yaml", allow_account("default"));
  CHECK(eventually(seconds(10), [&] { return dial(world.at("a"), to).empty(); }));
  world.objects.remove_text("policy.yaml");
  CHECK(dial(world.at("a"), to).empty());
}

TEST_CASE("policy: who is not of the mesh is judged where its SYN arrives") {
  World world;
  world.add_pod("shop", "out", {.mesh = "disabled"});
  const UniqueFd listener = listen_at(world.at("b"), AF_INET);
  const Address to = local_address(listener.get());
  CHECK(dial(world.at("out"), to).empty());
  world.objects.put_text("policy.yaml", allow_account("default"));
  CHECK(eventually(seconds(10), [&] { return is_refused(world.at("out"), to); }));
  CHECK(dial(world.at("a"), to).empty());
  // The agent is dead: the door stays shut.
  world.agent.kill9();
  CHECK(is_refused(world.at("out"), to));
  CHECK(dial(world.at("a"), to).empty());
}

// Of the row of `policies` with this name; null where there is none.
boost::json::value cell_of(const World& world, const std::string& name, const char* column) {
  for (const auto& row : world.ctl.json({"policies"}).as_array())
    if (text_of(row.at("name")) == name) return row.at(column);
  return nullptr;
}

std::string state_of(const World& world, const std::string& name) { return text_of(cell_of(world, name, "state")); }

TEST_CASE("policy: what is denied is counted with the policy's name, what a dry run would deny too") {
  World world;
  const UniqueFd listener = listen_at(world.at("b"), AF_INET);
  const Address to = local_address(listener.get());
  world.objects.put_text("policy.yaml", policy_of("never", R"({"action": "DENY", "rules": [{}]})"));
  REQUIRE(eventually(seconds(10), [&] { return is_refused(world.at("a"), to); }));
  for (int i = 0; i < 10; ++i) CHECK(is_refused(world.at("a"), to));
  CHECK(eventually(seconds(5), [&] { return cell_of(world, "never", "denied").to_number<int>() >= 10; }));
  CHECK(state_of(world, "never") == "active");

  // An object that does not decode any more stays as it was.
  world.objects.put_text("policy.yaml", policy_of("never", R"({"action": "DENY", "rules": [{"form": []}]})"));
  CHECK(eventually(seconds(5), [&] { return state_of(world, "never") == "stale"; }));
  CHECK(text_of(cell_of(world, "never", "path")).contains("spec.rules[0]"));
  CHECK(is_refused(world.at("a"), to));
  // One of which no good version was ever seen closes what it is for.
  world.objects.put_text("policy.yaml", policy_of("new", R"({"action": "MAYBE"})"));
  CHECK(eventually(seconds(5), [&] { return state_of(world, "new") == "refused"; }));
  CHECK(is_refused(world.at("a"), to));
  world.objects.remove_text("policy.yaml");
  CHECK(eventually(seconds(5), [&] { return dial(world.at("a"), to).empty(); }));
}

TEST_CASE("policy: a live connection that is no longer allowed is reset at both ends") {
  World world;
  const Pair pair = make_pair_between(world.at("a"), world.at("b"), AF_INET);
  exchange(pair.client.get(), pair.server.get());
  world.objects.put_text("policy.yaml", allow_account("nobody"));
  for (const int fd : {pair.client.get(), pair.server.get()}) {
    REQUIRE(readable(fd, seconds(3)));
    char byte = 0;
    CHECK(::recv(fd, &byte, 1, MSG_DONTWAIT) == -1);
    CHECK((errno == ECONNRESET || errno == ECONNABORTED));
  }
}

}  // namespace
}  // namespace underpass::test
