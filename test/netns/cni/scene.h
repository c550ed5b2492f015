// SPDX-License-Identifier: Apache-2.0
// A node for the plugin: a host's network namespace, folders with a list of Debian's plugins, and the agent's end of
// the questions, behind the real server, that says what the test wants.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "agent/cni/enrolment_file.h"
#include "agent/cni/install_steps.h"
#include "agent/cni/server.h"
#include "test/netns/cni/runtime.h"
#include "test/support/files.h"
#include "test/support/io_thread.h"
#include "test/support/netns.h"
#include "test/support/temp_folder.h"

namespace underpass::test {

inline constexpr const char* kPluginsFolder = "/usr/lib/cni";
inline const cni::Answer kYes{.ok = true, .reason = {}};

class CniNode {
 public:
  explicit CniNode(const std::string& version = "1.0.0", bool dual_stack = false);
  CniNode(const CniNode&) = delete;
  CniNode& operator=(const CniNode&) = delete;

  // The list as its owner writes it.
  [[nodiscard]] const std::string& list() const { return list_; }
  [[nodiscard]] fs::path list_file() const { return root_ / "net.d/10-net.conflist"; }
  [[nodiscard]] cni::InstallOptions options() const;
  // Throws where it is not in place. With a timeout, the entry says that one.
  void install(int timeout_seconds = 20) const;

  // The namespace of a sandbox of its own, and how a kubelet, or somebody else, asks for it.
  [[nodiscard]] CniSandbox sandbox(const Netns& netns, const std::string& pod = "shop/web") const;
  [[nodiscard]] Netns new_netns();

  void enrol(const cni::Enrolment& enrolment) const;
  [[nodiscard]] std::string enrolment_file() const { return (root_ / "state/enrolment.json").string(); }
  [[nodiscard]] std::string socket() const { return (root_ / "cni.sock").string(); }
  [[nodiscard]] fs::path root() const { return root_.path(); }
  [[nodiscard]] const std::string& host_netns() const { return host_path_; }

  CniRuntime& runtime() { return *runtime_; }

 private:
  TempFolder root_;
  Netns host_;
  std::string host_path_;
  std::string list_;
  std::unique_ptr<CniRuntime> runtime_;
  int next_ = 0;
};

// The stand-in for the agent.
class CniAgent {
 public:
  using Handler = cni::Server::Handler;

  CniAgent(const std::string& socket, Handler handler);
  // Says the same to everybody.
  CniAgent(const std::string& socket, cni::Answer answer);
  ~CniAgent();
  CniAgent(const CniAgent&) = delete;
  CniAgent& operator=(const CniAgent&) = delete;

  struct Asked {
    cni::Request request;
    NetnsCookie cookie = 0;  // of the namespace that came with it; 0: none came
  };
  [[nodiscard]] std::vector<Asked> asked() const;

 private:
  void note(const cni::Question& question);

  mutable std::mutex mutex_;
  std::vector<Asked> asked_;
  IoThread io_;
  std::unique_ptr<cni::Server> server_;
};

}  // namespace underpass::test
