// SPDX-License-Identifier: Apache-2.0
#include "test/netns/proxy/scene.h"

#include <fstream>
#include <sstream>
#include <stdexcept>

#include "test/support/files.h"

namespace underpass::test {
namespace {

constexpr const char* kMesh = "mesh.yaml";

// A worker has to be started first.
constexpr seconds kDeadline{10};

}  // namespace

Settings captured(const std::string& mode) { return {.mesh = "enabled", .short_circuit = mode, .capture = "always"}; }

Scene::Scene(const std::string& mode, const Agent::Options& options, const std::string& mesh_spec)
    : world(captured(mode), usual_state(), options) {
  if (!mesh_spec.empty())
    world.objects.put_text(
        kMesh, "apiVersion: underpass.dev/v1alpha1\nkind: Mesh\nmetadata:\n  name: default\nspec: " + mesh_spec + "\n");
  add("elsewhere", "out", {.mesh = "disabled"});
  for (const char* name : {"a", "b"}) wait_captured(name);
}

const Place& Scene::add(const std::string& ns, const std::string& name, const Settings& settings) {
  return world.add_pod(ns, name, settings);
}

bool Scene::is_captured(const std::string& name) const {
  return world.pinned.worker(world.net.cookie(name)).has_value();
}

void Scene::wait_captured(const std::string& name) const {
  if (!eventually(kDeadline, [&] { return is_captured(name); }))
    throw std::runtime_error("pod " + name + " is in no worker's hands\n" + world.agent.log());
}

void Scene::wait_not_captured(const std::string& name) const {
  if (!eventually(kDeadline, [&] { return !is_captured(name); }))
    throw std::runtime_error("pod " + name + " is still in a worker's hands\n" + world.agent.log());
}

std::vector<pid_t> Scene::worker(const std::string& name) const {
  const fs::path procs = world.sandbox.cgroup() / "underpass" / ("worker-" + name) / "cgroup.procs";
  std::vector<pid_t> out;
  std::ifstream lines(procs);  // which may go while it is read
  for (pid_t pid = 0; lines >> pid;) out.push_back(pid);
  return out;
}

pid_t Scene::worker_pid(const std::string& name) const {
  const auto pids = worker(name);
  if (pids.size() != 1)
    throw std::runtime_error("worker " + name + " has " + std::to_string(pids.size()) + " processes\n" +
                             world.agent.log());
  return pids.front();
}

std::vector<std::string> access_log(const Scene& scene) {
  std::vector<std::string> out;
  std::istringstream lines(scene.world.agent.log());
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with('{')) out.push_back(line);
  return out;
}

Accepted accept_and_hear(int listener) {
  if (!readable(listener, seconds(10))) throw std::runtime_error("nobody came");
  Accepted out;
  out.said.size = sizeof(out.said.storage);
  out.fd = UniqueFd(::accept4(listener, out.said.get(), &out.said.size, SOCK_CLOEXEC));
  if (!out.fd) throw_errno("accept");
  return out;
}

Address peer_of(int fd) {
  Address out;
  out.size = sizeof(out.storage);
  if (::getpeername(fd, out.get(), &out.size) != 0) throw_errno("getpeername");
  return out;
}

}  // namespace underpass::test
