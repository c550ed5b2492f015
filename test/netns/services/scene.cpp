// SPDX-License-Identifier: Apache-2.0
#include "test/netns/services/scene.h"

#include <stdexcept>

namespace underpass::test {
namespace {

template <typename Names>
std::string list(const Names& names) {
  std::string out;
  for (const std::string& name : names) out += " " + name;
  return out.empty() ? " none" : out;
}

}  // namespace

Scene::Scene(const Settings& settings) : world(settings) {
  for (const char* name : {"web-1", "web-2"}) add_backend(name);
}

void Scene::add_backend(const std::string& name, const Settings& settings) {
  const Place& place = world.net.add(name);
  responders_.emplace(name, std::make_unique<Responder>(place, kTarget, name));
  PodObject object = backend_object(name);
  object.settings = settings;
  world.objects.put(object);
}

PodObject Scene::backend_object(const std::string& name) const {
  PodObject object = world.pod_object("shop", name);
  object.labels = {{"app", "web"}};
  object.ports = {{"web", kTarget, "TCP"}, {"web-udp", kTarget, "UDP"}};
  return object;
}

void Scene::set_ready(const std::string& name, bool ready) {
  PodObject object = backend_object(name);
  object.ready = ready;
  world.objects.put(object);
}

ServiceObject Scene::web_service() {
  return {.ns = "shop",
          .name = "web",
          .cluster_ips = {kVip4, kVip6},
          .ports = {{.name = "http", .port = 80, .target = "8080"},
                    {.name = "named", .port = 81, .target = "web"},
                    {.name = "dns", .port = 53, .target = "web-udp", .protocol = "UDP"}},
          .selector = {{"app", "web"}}};
}

void Scene::wait_backends(const Address& at, const std::set<std::string>& pods, std::uint8_t protocol) const {
  const ServiceTables tables(world.sandbox);
  std::multiset<std::string> wanted;
  for (const std::string& pod : pods) wanted.insert(Address::of(world.at(pod).ip(at.family()), kTarget).to_string());
  std::multiset<std::string> got;
  const bool there = eventually(seconds(10), [&] {
    if (!tables.service(at, protocol)) return false;
    got = tables.slots(at, protocol);
    return got == wanted;
  });
  if (there) return;
  throw std::runtime_error("Service at " + at.to_string() + (tables.service(at, protocol) ? "" : " (not there)") +
                           ": wanted" + list(wanted) + ", found" + list(got) + "\n" + world.agent.log());
}

void Scene::put_and_wait(const ServiceObject& service, const std::set<std::string>& pods) const {
  world.objects.put(service);
  for (const std::string& ip : service.cluster_ips) {
    wait_backends(Address::of(ip, 80), pods);
    wait_backends(Address::of(ip, 53), pods, IPPROTO_UDP);
  }
}

void Scene::wait_gone(const Address& at, std::uint8_t protocol) const {
  const ServiceTables tables(world.sandbox);
  if (!eventually(seconds(10), [&] { return !tables.service(at, protocol); }))
    throw std::runtime_error("there still is a Service at " + at.to_string());
}

}  // namespace underpass::test
