// SPDX-License-Identifier: Apache-2.0
// Where the Kubernetes objects come from. Both sources tell the same thing, everything that there is now, so that
// nothing above them knows which one it is.
#pragma once

#include <functional>

#include "agent/k8s/contents.h"

namespace underpass::k8s {

class Source {
 public:
  // Told all that the source has now; the reference is good for the call only. Never called again by a destroyed
  // source.
  using Listener = std::function<void(const Contents&)>;

  Source() = default;
  virtual ~Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  // From then on the listener is told of every change, from the thread that runs the io_context. Call it once.
  virtual void start() = 0;
};

}  // namespace underpass::k8s
