// SPDX-License-Identifier: Apache-2.0
// gRPC by its own library: calls of each kind, what they end with, and what is told of them.
#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <string>

#include "test/netns/http/programs.h"
#include "test/netns/http2/named_ground.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

constexpr std::uint16_t kAnyPort = 7099;  // no Service leads to it

class Cart {
 public:
  explicit Cart(const NamedGround& ground) : script_(ground.scene.world.sandbox.root() / "cart.py") {
    write_file(script_, program_text("cart.py"));
  }
  [[nodiscard]] Process serve(const Place& place, std::uint16_t port) const {
    return start_server(place, {"/usr/bin/python3", script_, "server", place.v4, std::to_string(port)}, port);
  }
  [[nodiscard]] std::string call(const Place& client, const Place& server, std::uint16_t port,
                                 const std::vector<std::string>& calls) const {
    std::vector<std::string> argv{"/usr/bin/python3", script_, "client", server.v4, std::to_string(port)};
    argv.insert(argv.end(), calls.begin(), calls.end());
    return run_client(client, argv);
  }

 private:
  fs::path script_;
};

// Waits until the worker judges by it.
void put_policy(const NamedGround& ground, const Cart& cart, const std::string& rules) {
  ground.scene.world.objects.put_text("policy.yaml",
                                      "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n"
                                      "  namespace: shop\n  name: cart\nspec:\n" +
                                          rules);
  const auto is_denied = [&] {
    return cart.call(ground.at("a"), ground.at("b"), kGrpcPort, {"Fail"}).contains("PERMISSION_DENIED");
  };
  if (!eventually(seconds(15), is_denied))
    throw std::runtime_error("the policy is not in force\n" + ground.scene.world.agent.log());
}

TEST_CASE("grpc: calls of each kind end as they do without a worker") {
  const NamedGround ground;
  const Cart cart(ground);
  const std::vector<std::string> calls{"Get",  "Large", "List", "Add",  "Chat",
                                       "Late", "Fail",  "Half", "None", "Deadline"};
  const std::string right =
      "Get (b'cba', 'yes', '3', 'OK')\nLarge True\nList (100, b'item 0', b'item 99')\nAdd b'42'\n"
      "Chat (51, b'done')\nLate [b'done']\nFail 9 FAILED_PRECONDITION not today: \xc3\xa4\n"
      "Half ([b'one'], 'DATA_LOSS', 'lost the rest')\nNone 12 UNIMPLEMENTED Method not found!\n"
      "Deadline 4 DEADLINE_EXCEEDED Deadline Exceeded\n";
  const Process far = cart.serve(ground.at("far"), kGrpcPort), out = cart.serve(ground.at("out"), kGrpcPort),
                named = cart.serve(ground.at("b"), kGrpcPort), any = cart.serve(ground.at("b"), kAnyPort);
  std::size_t asked = 0;
  ground.play(kAllWays, [&](const Way& way, const Place& client, const Place& server) {
    CHECK(cart.call(client, server, kGrpcPort, calls) == right);
    asked += way.is_proxied ? calls.size() : 0;
    if (std::string(way.server) != "b") return;
    CHECK(cart.call(client, server, kAnyPort, calls) == right);
    asked += calls.size();
  });
  const auto lines = request_lines(ground.scene, asked);
  CHECK(lines.size() == asked);
  std::map<std::string, std::string> ends;  // by path
  for (const auto& line : lines) {
    CHECK(text_of(line.at("protocol")) == "grpc");
    CHECK(text_of(line.at("method")) == "POST");
    ends[text_of(line.at("path"))] +=
        text_of(line.at("code")) + " " + text_of(line.at("grpcStatus")) + " " + text_of(line.at("flags")) + ";";
  }
  const auto five = [](const std::string& one) { return one + one + one + one + one; };
  CHECK(ends["/shop.Cart/Fail"] == five("200 9 -;"));
  CHECK(ends["/shop.Cart/Half"] == five("200 15 -;"));
  CHECK(ends["/shop.Cart/None"] == five("200 12 -;"));
  CHECK(ends["/shop.Cart/List"] == five("200 0 -;"));
  CHECK(ends["/shop.Cart/Chat"].contains("200 0 -;"));
  const std::vector<std::string> labels{"reporter=\"destination\"", "request_protocol=\"grpc\"",
                                        "grpc_response_status=\"9\"", "response_code=\"200\""};
  CHECK(metric_sum(ground.scene, "istio_requests_total", labels, 4) == 4);
}

TEST_CASE("grpc: a call that policy denies ends with PERMISSION_DENIED, and its service never sees it") {
  const NamedGround ground;
  const Cart cart(ground);
  const Process named = cart.serve(ground.at("b"), kGrpcPort);
  put_policy(ground, cart,
             "  action: DENY\n  rules: [{to: [{operation: {paths: [/shop.Cart/Fail, /shop.Cart/Chat]}}]}]\n");
  ground.play(kNamedWays, [&](const Way&, const Place& client, const Place& server) {
    // One channel: what is allowed goes on beside it.
    CHECK(cart.call(client, server, kGrpcPort, {"Get", "Fail", "Chat", "Add"}) ==
          "Get (b'cba', 'yes', '3', 'OK')\nFail 7 PERMISSION_DENIED RBAC: access denied\n"
          "Chat 7 PERMISSION_DENIED RBAC: access denied\nAdd b'42'\n");
  });
  std::size_t denied = 0;
  for (const auto& line : request_lines(ground.scene, 9)) {
    if (text_of(line.at("flags")) != "RBAC") continue;
    ++denied;
    CHECK(text_of(line.at("grpcStatus")) == "7");
    CHECK(text_of(line.at("policy")).contains("shop/cart"));
  }
  CHECK(denied >= 5);  // those that waited for the policy, too
  CHECK(metric_sum(ground.scene, "istio_requests_total",
                   {"reporter=\"destination\"", "grpc_response_status=\"7\"", "response_flags=\"RBAC\"",
                    "request_protocol=\"grpc\""},
                   static_cast<double>(denied)) == static_cast<double>(denied));
}

TEST_CASE("grpc: a server that is not there, or goes, is UNAVAILABLE") {
  const NamedGround ground;
  const Cart cart(ground);
  for (const Way& way : {kWorker, kInbound, kOutbound}) {
    CAPTURE(std::string(way.client));
    const std::string said = cart.call(ground.at(way.client), ground.at(way.server), kGrpcPort, {"Get"});
    CHECK_MESSAGE(said.starts_with("Get 14 UNAVAILABLE"), said);
  }
  // The connection was there already; a call in the middle of which its server dies.
  Process named = cart.serve(ground.at("b"), kGrpcPort);
  Process caller({.argv = {"/usr/bin/python3", "-u", ground.scene.world.sandbox.root() / "cart.py", "client",
                           ground.at("b").v4, std::to_string(kGrpcPort), "Get", "Deadline", "Get"},
                  .netns = ground.at("a").netns});
  REQUIRE(eventually(seconds(20), [&] { return caller.out().contains("Get (b'cba'"); }));
  named.kill();
  REQUIRE(caller.wait(seconds(30)).has_value());
  const std::string said = caller.out();
  CHECK_MESSAGE(said.contains("\nGet 14 UNAVAILABLE"), said);
}

}  // namespace
}  // namespace underpass::test
