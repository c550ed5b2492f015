// SPDX-License-Identifier: Apache-2.0
#include "test/netns/policy/scene.h"

#include <doctest/doctest.h>

#include <poll.h>

#include <boost/json.hpp>
#include <cerrno>
#include <stdexcept>

#include "test/support/files.h"

namespace underpass::test {

std::string policy_of(const std::string& name, const std::string& spec) {
  return R"({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"namespace": "shop", "name": ")" +
         name + R"("}, "spec": )" + spec + "}\n";
}

std::string allow_accounts(const std::string& list) {
  return policy_of("who",
                   R"({"action": "ALLOW", "rules": [{"from": [{"source": {"serviceAccounts": [)" + list + "]}}]}]}");
}

std::string allow_account(const std::string& account) { return allow_accounts("\"shop/" + account + '"'); }

Scene::Scene(const std::string& mode, const Agent::Options& options)
    : world({.mesh = "enabled", .short_circuit = mode}, usual_state(), options) {
  for (const char* name : {"web", "evil"}) {
    world.net.add(name);
    put(name, name);
    world.wait_enrolled("shop", name, mode == "on" ? "on" : "");
  }
  world.add_pod("shop", "out", {.mesh = "disabled"});
  allow("web");
}

void Scene::put(const std::string& name, const std::string& account, const Settings& settings) const {
  PodObject object = world.pod_object("shop", name);
  object.service_account = account;
  object.settings = settings;
  world.objects.put(object);
}

void Scene::allow(const std::string& account) const {
  world.objects.put_text("policy.yaml", allow_account(account));
  const UniqueFd listener = listen_at(at("b"), AF_INET);
  const Address to = local_address(listener.get());
  const std::string other = account == "web" ? "evil" : "web";
  REQUIRE(eventually(seconds(5), [&] {
    return is_refused(at(other), to) && is_refused(at("out"), to) && (account != "web" || dial(at("web"), to).empty());
  }));
}

std::string dial(const Place& from, const Address& to, const Prepare& prepare) {
  try {
    (void)connect_from(from, to, prepare);
    return "";
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

bool is_refused(const Place& from, const Address& to, const Prepare& prepare) {
  return dial(from, to, prepare).contains("Connection refused");
}

void check_passes(const Place& from, int listener, const Prepare& prepare) {
  const UniqueFd client = connect_from(from, local_address(listener), prepare);
  const UniqueFd server = accept_from(listener);
  exchange(client.get(), server.get());
}

void check_refused(const Place& from, int listener, const Prepare& prepare) {
  const std::string how = dial(from, local_address(listener), prepare);
  CHECK_MESSAGE(how.contains("Connection refused"), how);
  CHECK_FALSE(readable(listener, milliseconds(0)));
}

void empty_queue(int listener) {
  while (readable(listener, milliseconds(0))) (void)accept_from(listener);
}

Prepare bound_to(const std::string& ip, std::uint16_t port) {
  return [ip, port](int fd) {
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    const Address address = Address::of(ip, port);
    if (::bind(fd, address.get(), address.size) != 0) throw_errno("bind " + address.to_string());
  };
}

Address peer_address(int fd) {
  Address address;
  address.size = sizeof address.storage;
  if (::getpeername(fd, address.get(), &address.size) != 0) throw_errno("getpeername");
  return address;
}

std::string identity_of_client(const Scene& scene, const Address& client) {
  for (const auto& row : scene.world.ctl.json({"connections"}).as_array()) {
    const auto& source = row.at("source");
    if (source.at("port").to_number<int>() == client.port() && client.to_string().contains(text_of(source.at("ip"))))
      return text_of(source.at("identity"));
  }
  return "";
}

bool hangs_up(int fd, milliseconds deadline) {
  pollfd waiting{fd, 0, 0};
  return ::poll(&waiting, 1, static_cast<int>(deadline.count())) == 1;
}

}  // namespace underpass::test
