// SPDX-License-Identifier: Apache-2.0
// The agent's own cgroups, below --cgroup-root: "underpass/sockets", whose sockets the programs mark as workers', and
// one for each worker, with limits. Where the controllers are those of cgroup v1 (hybrid hosts), the limits are in a
// cgroup of the same name there.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "underpass/result.h"

namespace underpass::workers {

class Cgroups {
 public:
  static Result<Cgroups> make(const std::string& cgroup_root);

  [[nodiscard]] const std::string& sockets() const { return sockets_; }

  // The cgroup.procs files that a worker is to be written into, and what is not limited for want of a controller.
  struct Place {
    std::string cgroup;
    std::vector<std::string> procs;
    std::string unlimited;
  };
  Result<Place> add_worker(const std::string& name) const;
  // When its processes are gone.
  void remove_worker(const std::string& name) const;
  // When no worker is left.
  void remove_all() const;

 private:
  std::string top_, sockets_;
  std::map<std::string, std::string> v1_;  // controller → folder of ours in its hierarchy
};

}  // namespace underpass::workers
