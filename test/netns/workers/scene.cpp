// SPDX-License-Identifier: Apache-2.0
#include "test/netns/workers/scene.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <stdexcept>

namespace underpass::test {

TwoWorkers::TwoWorkers(const Agent::Options& options, const std::string& mesh_spec) : scene("off", options, mesh_spec) {
  scene.world.objects.put(NamespaceObject{"bank", captured()});
  scene.add("bank", "c", {});
  scene.wait_captured("c");
}

std::string TwoWorkers::way(const std::string& from, const std::string& to, int family) const {
  const auto proxied = scene.world.established(UP_WAY_PROXIED);
  const Pair pair = make_pair_between(at(from), at(to), family);
  exchange(pair.client.get(), pair.server.get(), 1);
  return scene.world.established(UP_WAY_PROXIED) > proxied ? "proxied" : "direct";
}

bool TwoWorkers::has_other_worker(const std::string& name, pid_t than) const {
  const auto pids = scene.worker(name);
  return pids.size() == 1 && pids.front() != than;
}

pid_t TwoWorkers::kill_worker(const std::string& name) const {
  const pid_t pid = scene.worker_pid(name);
  ::kill(pid, SIGKILL);
  if (!eventually(kSoon, [&] { return has_other_worker(name, pid); }))
    throw std::runtime_error("no worker came after " + std::to_string(pid) + "\n" + scene.world.agent.log());
  return scene.worker_pid(name);
}

bool TwoWorkers::status_says(const std::string& text) const {
  return scene.world.ctl.run({"status"}).out.contains(text);
}

Live::Live(const TwoWorkers& two)
    : out(make_pair_between(two.at("a"), two.at("out"), AF_INET)),
      in(make_pair_between(two.at("out"), two.at("b"), AF_INET6)) {
  check();
}

void Live::check() const {
  exchange(out.client.get(), out.server.get(), 2);
  exchange(in.client.get(), in.server.get(), 2);
}

void Live::end() {
  out.client.reset();
  in.server.reset();
  char byte = 0;
  for (const auto* fd : {&out.server, &in.client}) {
    CHECK(readable(fd->get(), seconds(5)));
    CHECK(::recv(fd->get(), &byte, 1, 0) == 0);
  }
  out.server.reset();
  in.client.reset();
}

}  // namespace underpass::test
