// SPDX-License-Identifier: Apache-2.0
#include "test/netns/tunnels/scene.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <signal.h>

#include <boost/json/array.hpp>
#include <fstream>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "underpass/ip_address.h"

namespace underpass::test {
namespace {

constexpr seconds kDeadline{15};

Agent::Options with_told_worker() {
  Agent::Options out;
  out.more = {"--proxy", built_program("hostile_worker")};
  return out;
}

std::vector<pid_t> processes(const World& world) {
  std::vector<pid_t> out;
  std::ifstream lines(world.sandbox.cgroup() / "underpass" / "worker-shop" / "cgroup.procs");
  for (pid_t pid = 0; lines >> pid;) out.push_back(pid);
  return out;
}

}  // namespace

TunnelScene::TunnelScene(const Settings& settings) : World(settings, usual_state(), with_told_worker()) {
  add_pod("elsewhere", "out", {.mesh = "disabled"});
  net.add("far");
  put_far();
  for (const char* pod : {"a", "b"}) wait_in_hands(pod);
  wait_remote(at("far").v6, 0, UP_TUNNEL_HBONE);
}

void TunnelScene::put_far(const Strings& annotations) const {
  const Place& place = at("far");
  objects.put(PodObject{.ns = "shop",
                        .name = "far",
                        .node = "node-b",
                        .ips = {place.v4, place.v6},
                        .service_account = "far",
                        .labels = {{"app", "far"}},
                        .annotations = annotations});
}

void TunnelScene::put_peer_authentication(const std::string& name, const std::string& spec) const {
  objects.put_text("peer-authentication-" + name + ".yaml",
                   "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: " + name +
                       ", namespace: shop}\nspec: " + spec + "\n");
}

void TunnelScene::wait_in_hands(const std::string& name) const {
  const auto in_hands = [&] {
    const auto pod = pinned.pod(net.cookie(name));
    return pod && (pod->capture & UP_CAPTURE_TUNNEL) != 0 && pinned.worker(net.cookie(name));
  };
  if (!eventually(kDeadline, in_hands)) throw std::runtime_error("pod " + name + " has no tunnels\n" + agent.log());
}

void TunnelScene::wait_remote(const std::string& ip, std::uint16_t port, up_tunnel tunnel) const {
  const UniqueFd map = open_pinned_map(sandbox.pins() / "up_remotes");
  up_remote_key key{};
  key.addr = IpAddress::parse(ip).value().to_abi();
  key.port = htons(port);
  const auto is_so = [&] {
    up_remote row{};
    return bpf_map_lookup_elem(map.get(), &key, &row) == 0 && row.tunnel == tunnel;
  };
  if (!eventually(kDeadline, is_so))
    throw std::runtime_error("up_remotes has no such row of " + ip + " " + std::to_string(port) + "\n" + agent.log());
}

void TunnelScene::end_worker() {
  agent.kill9();
  for (const pid_t pid : processes(*this)) ::kill(pid, SIGKILL);
  if (!eventually(kDeadline, [&] { return processes(*this).empty(); })) throw std::runtime_error("the worker lives on");
}

boost::json::object TunnelScene::told(const Address& client) const {
  for (const auto& row : ctl.json({"connections"}).as_array()) {
    const auto& source = row.at("source").as_object();
    if (text_of(source.at("ip")) == ip_of(client) && source.at("port").to_number<int>() == client.port())
      return row.as_object();
  }
  return {};
}

bool is_refused_at(const Place& from, const Address& to) {
  try {
    (void)connect_from(from, to);
    return false;
  } catch (const std::exception& error) {
    const std::string_view said = error.what();
    return said.ends_with("Connection refused") || said.ends_with("Operation not permitted");
  }
}

}  // namespace underpass::test
