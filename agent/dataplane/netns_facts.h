// SPDX-License-Identifier: Apache-2.0
// Keeps the facts about pods' network namespaces fresh at little cost: a look at the file every time, a look inside
// only when the file is another one, when there was trouble, or when the last look is too long ago.
#pragma once

#include <sys/types.h>
#include <chrono>
#include <map>
#include <string>

#include "agent/compile/compile.h"
#include "underpass/model/objects.h"

namespace underpass::dataplane {

class NetnsFactCache {
 public:
  // The facts for the pods of `node_name` that name a netns, as of now.
  compile::NetnsFacts refresh(const model::Snapshot& snapshot, const std::string& node_name);

 private:
  using Clock = std::chrono::steady_clock;
  struct Known {
    dev_t device = 0;
    ino_t inode = 0;
    Clock::time_point looked;
    Result<compile::NetnsFact> fact;
  };
  std::map<std::string, Known> known_;  // by path
};

}  // namespace underpass::dataplane
