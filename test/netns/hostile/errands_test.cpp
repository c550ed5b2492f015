// SPDX-License-Identifier: Apache-2.0
// A worker may dial on its own account, to ask an authorization provider: where up_errands says, and there as its pod.
// A hostile one tries to make more of it. The rows are written here, in place of the agent's.
#include <bpf/bpf.h>
#include <doctest/doctest.h>

#include <string>

#include "test/netns/hostile/stage.h"
#include "underpass/ip_address.h"

namespace underpass::test {
namespace {

constexpr const char* kWell = "announced=ok connected=ok";
constexpr const char* kElsewhere = "announced=ok connected=EPERM";

Dial errand_to(const Address& to) {
  Dial out = dial_to(to);
  out.carries = "errand";
  return out;
}

void put_errand(const Stage& stage, const std::string& pod, const Address& to) {
  up_errand_key key{};
  key.netns_cookie = stage.scene.world.net.cookie(pod);
  key.addr = IpAddress::parse(ip_of(to)).value().to_abi();
  key.port = htons(to.port());
  const __u8 may = 1;
  const UniqueFd map = open_pinned_map(stage.scene.world.sandbox.pins() / "up_errands");
  REQUIRE(bpf_map_update_elem(map.get(), &key, &may, BPF_ANY) == 0);
}

TEST_CASE("hostile errands: nowhere without a row, and with one there alone, from that pod alone") {
  const Stage stage;
  for (const int family : kFamilies) {
    CAPTURE(family);
    const UniqueFd wanted = listen_at(stage.at("out"), family), provider = listen_at(stage.at("out"), family);
    const Address to = local_address(provider.get());
    const Dialogue talk(stage.at("a"), local_address(wanted.get()));
    // Neither to where a connection that it has wanted to go.
    for (const Address& address : {to, local_address(wanted.get())})
      CHECK(talk.ask(errand_to(address).to_string()) == kElsewhere);
    put_errand(stage, "a", to);
    CHECK(talk.ask(errand_to(to).to_string()) == kWell);
    const UniqueFd served = accept_from(provider.get());
    CHECK(ip_of(peer_of(served.get())) == (family == AF_INET ? stage.at("a").v4 : stage.at("a").v6));
    // It is what it announced: no connection's and no errand's place is the other's.
    Dial dial = errand_to(local_address(wanted.get()));
    CHECK(talk.ask(dial.to_string()) == kElsewhere);
    dial = dial_to(to);
    CHECK(talk.ask(dial.to_string()) == kElsewhere);
    dial.carries = "none";
    CHECK(talk.ask(dial.to_string()) == "connected=EPERM");
    dial = errand_to(to);
    dial.netns = std::to_string(stage.scene.world.net.cookie("b"));
    CHECK(talk.ask(dial.to_string()) == kElsewhere);
    for (const auto* how : {"fastopen", "sendmsg"}) {
      dial = errand_to(local_address(wanted.get()));
      dial.how = how;
      CHECK(talk.ask(dial.to_string()) == kElsewhere);
    }
    // One that is connected, or was for somebody, is no new one.
    REQUIRE(talk.ask(dial_to(local_address(wanted.get())).to_string()) == kWell);
    CHECK(accept_from(wanted.get()));
    dial = errand_to(to);
    dial.which = "last";
    CHECK(talk.ask(dial.to_string()) == "announced=EPERM connected=EISCONN");
    dial.how = "unspec";
    CHECK(talk.ask(dial.to_string()).starts_with("disconnected=ok announced=EPERM"));
    while (readable(provider.get(), milliseconds(0))) CHECK_FALSE(accept_from(provider.get()));
    CHECK_FALSE(readable(wanted.get(), milliseconds(0)));
  }
}

TEST_CASE("hostile errands: a Service's address is led to its backend, whose own stays shut") {
  const Stage stage;
  const UniqueFd wanted = listen_at(stage.at("out"), AF_INET), provider = listen_at(stage.at("out"), AF_INET);
  const Address backend = local_address(provider.get()), service = Address::of("10.96.0.9", 9191);
  const std::string port = std::to_string(backend.port());
  stage.scene.world.objects.put(ServiceObject{
      .ns = "elsewhere", .name = "authz", .cluster_ips = {"10.96.0.9"}, .ports = {{.port = 9191, .target = port}}});
  stage.scene.world.objects.put(EndpointSliceObject{.ns = "elsewhere",
                                                    .name = "authz-1",
                                                    .service = "authz",
                                                    .ports = {{.port = backend.port()}},
                                                    .endpoints = {{.ip = stage.at("out").v4}}});
  REQUIRE(eventually(seconds(10), [&] { return stage.scene.world.pinned.entries("up_backends") > 0; }));
  const Dialogue talk(stage.at("a"), local_address(wanted.get()));
  put_errand(stage, "a", service);
  CHECK(talk.ask(errand_to(service).to_string()) == kWell);
  CHECK(accept_from(provider.get()));
  CHECK(talk.ask(errand_to(backend).to_string()) == kElsewhere);
  CHECK_FALSE(readable(provider.get(), milliseconds(0)));
}

TEST_CASE("hostile errands: the provider's policy judges it as the pod, and its worker takes it as anybody's") {
  const Stage stage;
  stage.scene.world.objects.put_text("policy.yaml",
                                     R"({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", )"
                                     R"("metadata": {"namespace": "bank", "name": "no"}, "spec": {"action": "DENY", )"
                                     R"("rules": [{"from": [{"source": {"namespaces": ["shop"]}}]}]}})"
                                     "\n");
  const UniqueFd wanted = listen_at(stage.at("out"), AF_INET), provider = listen_at(stage.at("c"), AF_INET);
  const Address to = local_address(provider.get());
  const Dialogue talk(stage.at("a"), local_address(wanted.get()));
  put_errand(stage, "a", to);
  CHECK(eventually(seconds(10),
                   [&] { return talk.ask(errand_to(to).to_string()) == "announced=ok connected=ECONNREFUSED"; }));
  while (readable(provider.get(), milliseconds(0))) (void)accept_from(provider.get());
  stage.scene.world.objects.remove_text("policy.yaml");
  const auto proxied = stage.scene.world.established(UP_WAY_PROXIED);
  CHECK(eventually(seconds(10), [&] { return talk.ask(errand_to(to).to_string()) == kWell; }));
  CHECK(accept_from(provider.get()));
  CHECK(stage.scene.world.established(UP_WAY_PROXIED) == proxied + 1);
}

}  // namespace
}  // namespace underpass::test
