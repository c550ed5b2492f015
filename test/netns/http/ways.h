// SPDX-License-Identifier: Apache-2.0
// The ways over which each scenario of HTTP is played: between two pods outside the mesh, which says what is right, and
// through a worker, which must make no difference.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <span>
#include <string>

#include "test/netns/proxy/scene.h"

namespace underpass::test {

struct Way {
  const char* client;
  const char* server;
  bool is_proxied;
};

inline constexpr Way kPlain{.client = "out", .server = "far", .is_proxied = false};
inline constexpr Way kWorker{.client = "a", .server = "b", .is_proxied = true};  // one worker, for both ends
inline constexpr Way kInbound{.client = "out", .server = "b", .is_proxied = true};
inline constexpr Way kOutbound{.client = "a", .server = "out", .is_proxied = true};
inline constexpr Way kAllWays[] = {kPlain, kWorker, kInbound, kOutbound};
inline constexpr Way kTwoWays[] = {kPlain, kWorker};
inline constexpr Way kWorkerWays[] = {kWorker, kInbound, kOutbound};

class HttpGround {
 public:
  explicit HttpGround(const std::string& mesh_spec = "", const std::string& mode = "off") : scene(mode, {}, mesh_spec) {
    scene.add("elsewhere", "far", {.mesh = "disabled"});
  }

  [[nodiscard]] const Place& at(const char* pod) const { return scene.at(pod); }
  [[nodiscard]] std::uint64_t worker_rss_kib() const;

  // Calls body(way, client's place, server's place).
  template <typename Body>
  void play(std::span<const Way> ways, Body body) const {
    for (const Way& way : ways) {
      CAPTURE(std::string(way.client));
      CAPTURE(std::string(way.server));
      const auto before = scene.world.established(UP_WAY_PROXIED);
      body(way, at(way.client), at(way.server));
      CHECK((scene.world.established(UP_WAY_PROXIED) > before) == way.is_proxied);
    }
  }

  Scene scene;
};

}  // namespace underpass::test
