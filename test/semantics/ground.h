// SPDX-License-Identifier: Apache-2.0
// Where behaviours are run: one sandbox with the real agent, a pair of pods that are not enrolled, a pair that says
// `on`, and as many fresh pairs that say `auto` as there are rows. Shared by all test cases, since an agent takes its
// time to start.
#pragma once

#include <string>

#include "test/semantics/scene.h"

namespace underpass::test {

class Ground {
 public:
  Ground();

  [[nodiscard]] const World& world() const { return world_; }
  [[nodiscard]] Stage plain(int family, bool server_sends) const {
    return stage("outside-a", "outside-b", family, server_sends);
  }
  [[nodiscard]] Stage on(int family, bool server_sends) const { return stage("a", "b", family, server_sends); }

  // A pair of pods of a workload that the agent has never seen.
  class Fresh {
   public:
    explicit Fresh(Ground& ground);
    ~Fresh();
    Fresh(const Fresh&) = delete;
    Fresh& operator=(const Fresh&) = delete;

    [[nodiscard]] Stage stage(int family, bool server_sends) const;
    [[nodiscard]] bool learning() const;
    // "off (splice)": what became of its two pods.
    [[nodiscard]] std::string verdict() const;

   private:
    Ground& ground_;
    std::string ns_;
    std::string client_;
    std::string server_;
  };

 private:
  // Makes the next fresh pair known to the agent, so that it is enrolled when its turn comes.
  void prepare_fresh();

  [[nodiscard]] Stage stage(const std::string& client, const std::string& server, int family, bool server_sends) const;

  World world_;
  int prepared_ = 0;
  int used_ = 0;
};

// The one ground, made when it is first asked for, and taken down when the tests have run (table.cpp).
Ground& ground();
void leave_ground();

}  // namespace underpass::test
