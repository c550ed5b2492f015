// SPDX-License-Identifier: Apache-2.0
#include "test/netns/hostile/stage.h"

#include <doctest/doctest.h>

#include <netinet/in.h>

#include <stdexcept>

namespace underpass::test {
namespace {

Agent::Options with_hostile_worker(Agent::Options options) {
  options.more.insert(options.more.end(), {"--proxy", built_program("hostile_worker")});
  return options;
}

}  // namespace

std::string Dialogue::ask(const std::string& command) const {
  tell(command);
  std::string said;
  while (!said.ends_with('\n')) said += receive_exactly(fd_.get(), 1);
  said.pop_back();
  return said;
}

std::string Dial::to_string() const {
  const int family = socket_family != 0 ? socket_family : ip.contains(':') ? 6 : 4;
  return "dial " + std::to_string(family) + " " + netns + " " + carries + " " + ip + " " + std::to_string(port) + " " +
         how + " " + which + (client.empty() ? "" : " " + client);
}

std::string ip_of(const Address& address) {
  std::string text = address.to_string();
  text.resize(text.rfind(':'));
  return text.starts_with('[') ? text.substr(1, text.size() - 2) : text;
}

Dial dial_to(const Address& to) { return {.ip = ip_of(to), .port = to.port()}; }

Stage::Stage(const Agent::Options& options) : scene("off", with_hostile_worker(options)) {
  scene.world.objects.put(NamespaceObject{"bank", captured()});
  scene.add("bank", "c", {});
  scene.wait_captured("c");
}

void Stage::check_bank_is_served() const {
  const auto before = scene.world.established(UP_WAY_PROXIED);
  const Pair pair = make_pair_between(at("c"), at("out"), AF_INET);
  exchange(pair.client.get(), pair.server.get(), 2);
  CHECK(scene.world.established(UP_WAY_PROXIED) == before + 1);
}

}  // namespace underpass::test
