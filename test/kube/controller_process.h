// SPDX-License-Identifier: Apache-2.0
// `underpassd controller` as its Deployment runs it: with the rights that manifests/ give it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "test/kube/scene.h"
#include "test/support/process.h"

namespace underpass::test {

class ControllerProcess {
 public:
  ControllerProcess(MeshCluster& cluster, std::string identity, std::vector<std::string> more = {});

  // Waits until it serves its ports; throws with its log.
  void start();
  void kill9();
  void stop();  // SIGTERM; throws when it does not end with 0
  void pause() { process_->signal(SIGSTOP); }
  void resume() { process_->signal(SIGCONT); }

  [[nodiscard]] pid_t pid() const { return process_->pid(); }
  [[nodiscard]] std::string log() const;
  // The answer of --ready: "ready\n 200", "… 503".
  [[nodiscard]] std::string readiness() const;
  [[nodiscard]] std::string metrics() const;
  [[nodiscard]] bool leads() const;
  void wait_leads() const;

 private:
  [[nodiscard]] std::string port_of(const std::string& name) const;

  std::vector<std::string> argv_;
  std::optional<Process> process_;
  std::string log_before_;
};

// The roots that the controller has published; empty: none yet.
std::string trust_bundle_of(const MeshCluster& cluster);

}  // namespace underpass::test
