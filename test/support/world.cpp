// SPDX-License-Identifier: Apache-2.0
#include "test/support/world.h"

#include <stdexcept>

#include "test/support/payload.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

std::string describe(const Ctl& ctl) {
  std::string text;
  for (const PodRow& pod : ctl.pods()) {
    text += "\n" + pod.name +
            (pod.enrolled ? " enrolled, short-circuit " + pod.short_circuit : " not enrolled: " + pod.reason);
  }
  return text.empty() ? " no pods" : text;
}

}  // namespace

World::World(const Settings& settings, const std::string& state, const Agent::Options& options)
    : agent(sandbox, options) {
  objects.put(NamespaceObject{"shop", settings});
  add_pod("shop", "a");
  add_pod("shop", "b");
  agent.start(state);
  if (settings.mesh != "enabled") return;
  for (const char* name : {"a", "b"}) wait_enrolled("shop", name, settings.short_circuit == "on" ? "on" : "");
}

const Place& World::add_pod(const std::string& ns, const std::string& name, const Settings& settings) {
  const Place& place = net.add(name);
  PodObject object = pod_object(ns, name);
  object.settings = settings;
  objects.put(object);
  return place;
}

PodObject World::pod_object(const std::string& ns, const std::string& name) const {
  const Place& place = net.at(name);
  return {.ns = ns, .name = name, .node = kNode, .netns = place.netns, .ips = {place.v4, place.v6}};
}

void World::wait_enrolled(const std::string& ns, const std::string& name, const std::string& short_circuit) const {
  const bool ok = eventually(seconds(10), [&] {
    const std::optional<PodRow> pod = ctl.pod(ns + "/" + name);
    return pod && pod->enrolled && (short_circuit.empty() || pod->short_circuit == short_circuit);
  });
  if (!ok)
    throw std::runtime_error("pod " + ns + "/" + name + " is not enrolled as wanted:" + describe(ctl) + "\n" +
                             agent.log());
}

void World::wait_not_enrolled(const std::string& ns, const std::string& name) const {
  const bool ok = eventually(seconds(10), [&] {
    const std::optional<PodRow> pod = ctl.pod(ns + "/" + name);
    return !pod || !pod->enrolled;
  });
  if (!ok)
    throw std::runtime_error("pod " + ns + "/" + name + " is still enrolled:" + describe(ctl) + "\n" + agent.log());
}

void exchange(int client, int server, int messages, std::size_t size) {
  std::string bytes(size, '\0');
  for (int i = 0; i < messages; ++i) {
    for (const auto& [from, to] : {std::pair{client, server}, std::pair{server, client}}) {
      Payload(static_cast<std::uint64_t>(from)).fill(static_cast<std::uint64_t>(i) * size, bytes);
      send_all(from, bytes);
      if (receive_exactly(to, size) != bytes)
        throw std::runtime_error("message " + std::to_string(i) + " arrived changed");
    }
  }
}

std::string way_of_new_connection(const World& world, const Place& client, const Place& server, int family) {
  const Pair pair = make_pair_between(client, server, family);
  exchange(pair.client.get(), pair.server.get());
  const std::optional<ConnectionRow> row = world.ctl.connection(pair.client.get());
  return row ? row->way : "";
}

}  // namespace underpass::test
