// SPDX-License-Identifier: Apache-2.0
// Puts the plugin on the node and takes it away: its binary into the CNI bin folder, and a last entry into the plugin
// list that the runtime uses (the first *.conflist, *.conf or *.json by name, as libcni loads them). Each step is one
// rename, in an order in which the list never names a binary that is not there, so that the node's CNI configuration
// works at every moment, also when the agent is killed in the middle. Others' changes of the list are followed: the
// entry is put in again, and last.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "underpass/result.h"

namespace boost::asio {
class io_context;
}

namespace underpass::cni {

struct InstallOptions {
  std::string plugin;  // the binary to install, "<beside underpassd>/underpass-cni"
  std::string bin_dir = "/opt/cni/bin";
  std::string conf_dir = "/etc/cni/net.d";
  std::string socket;     // <run-dir>/cni.sock
  std::string enrolment;  // <state-dir>/enrolment.json
  // Where libcni remembers what each sandbox was made with. CRI-O ends a sandbox by that, not by today's list.
  std::string cache_dir = "/var/lib/cni";
  // How long a runtime may still be busy with a list that it has read before the binary goes.
  std::chrono::milliseconds grace{2000};
};

class Installer {
 public:
  // Never fails for a folder that has no list yet: it waits for one. `changed` is called when problem() or
  // configuration() is another, never from within start(). `io` outlives it.
  static std::unique_ptr<Installer> start(boost::asio::io_context& io, InstallOptions options,
                                          std::function<void()> changed);
  virtual ~Installer() = default;  // leaves everything installed

  [[nodiscard]] virtual bool installed() const = 0;
  [[nodiscard]] virtual std::string configuration() const = 0;  // the file that names the plugin
  // Why it is not installed, or does not stay so: another program takes the entry out again and again.
  [[nodiscard]] virtual std::string problem() const = 0;
};

struct Removal {
  std::vector<std::string> done;  // what was changed, for a person
  std::string left;               // why the binary is still there; empty: it is not
};

// The entry out of every list of the folder, then the binary away. What is not there is no error. Blocking; works
// without an agent (`underpass-cni uninstall`, `underpassctl detach --node`). Only conf_dir, bin_dir, cache_dir and
// grace are read.
Result<Removal> uninstall(const InstallOptions& options);

}  // namespace underpass::cni
