// SPDX-License-Identifier: Apache-2.0
// Two captured namespaces: "shop" with a and b, "bank" with c. And what tests of workers ask again and again.
#pragma once

#include <signal.h>

#include <string>

#include "test/netns/proxy/scene.h"

namespace underpass::test {

class TwoWorkers {
 public:
  explicit TwoWorkers(const Agent::Options& options = {}, const std::string& mesh_spec = "");

  [[nodiscard]] const Place& at(const std::string& name) const { return scene.at(name); }
  // A new connection between them, by the counts of the programs: "proxied", "direct".
  [[nodiscard]] std::string way(const std::string& from, const std::string& to, int family = AF_INET) const;
  // Kills the worker and waits for the next one; its process.
  pid_t kill_worker(const std::string& name = "shop") const;
  [[nodiscard]] bool has_other_worker(const std::string& name, pid_t than) const;
  // "state" of `status`, and whether it says this somewhere.
  [[nodiscard]] bool status_says(const std::string& text) const;

  Scene scene;
};

// A connection of a pod's that goes out, and one that comes in, both through the worker of "shop".
class Live {
 public:
  explicit Live(const TwoWorkers& two);
  // Bytes go both ways.
  void check() const;
  // One end closes, and the other is told in good order.
  void end();

  Pair out, in;
};

// What a test's own deadline is for things that take the agent a moment.
inline constexpr seconds kSoon{10};

}  // namespace underpass::test
