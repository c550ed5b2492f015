// SPDX-License-Identifier: Apache-2.0
#include "test/kube/controller_process.h"

#include <boost/json/parse.hpp>
#include <stdexcept>
#include <utility>

#include "test/support/eventually.h"
#include "test/support/traces.h"

namespace underpass::test {
namespace {

constexpr const char* kController = "underpass-controller";

}  // namespace

ControllerProcess::ControllerProcess(MeshCluster& cluster, std::string identity, std::vector<std::string> more)
    : argv_{built_program("underpassd"),
            "controller",
            "--kubeconfig",
            cluster.kube.kubeconfig_of(kAgentNamespace, kController),
            "--namespace",
            kAgentNamespace,
            "--identity",
            std::move(identity),
            "--metrics",
            "127.0.0.1:0",
            "--ready",
            "127.0.0.1:0"} {
  argv_.insert(argv_.end(), more.begin(), more.end());
}

void ControllerProcess::start() {
  if (process_) log_before_ = log();
  // Outside of the sandboxes, which it is to outlive.
  process_.emplace(Command{.argv = argv_, .cgroup = cgroup2_mount()});
  if (!eventually(seconds(20), [&] { return !process_->running() || process_->err().contains("controller-ready"); }) ||
      !process_->running())
    throw std::runtime_error("the controller does not start: " + log());
}

void ControllerProcess::kill9() { process_->kill(); }

void ControllerProcess::stop() {
  process_->signal(SIGTERM);
  const auto exit = process_->wait(seconds(15));
  if (!exit || !exit->ok()) throw std::runtime_error("the controller does not stop well: " + log());
}

std::string ControllerProcess::log() const { return log_before_ + (process_ ? process_->err() : ""); }

std::string ControllerProcess::port_of(const std::string& name) const {
  const auto text = process_->err();
  const auto from = text.find(" " + name + "=") + name.size() + 2;
  return text.substr(from, text.find_first_of(" \n", from) - from);
}

std::string ControllerProcess::readiness() const {
  return run({.argv = {"curl", "--silent", "--max-time", "5", "--write-out", " %{http_code}",
                       "http://" + port_of("ready") + "/healthz/ready"}})
      .out;
}

std::string ControllerProcess::metrics() const {
  return run_ok({.argv = {"curl", "-sf", "--max-time", "5", "http://" + port_of("metrics") + "/metrics"}});
}

bool ControllerProcess::leads() const { return metrics().contains("\nunderpass_controller_leader 1\n"); }

void ControllerProcess::wait_leads() const {
  if (!eventually(seconds(40), [&] { return leads(); })) throw std::runtime_error("it does not lead: " + log());
}

std::string trust_bundle_of(const MeshCluster& cluster) {
  const auto found = cluster.kube.kubectl({"get", "configmap", "underpass-trust-bundle", "-n", kAgentNamespace,
                                           "--ignore-not-found", "-o", "jsonpath={.data.root-cert\\.pem}"});
  return found;
}

}  // namespace underpass::test
