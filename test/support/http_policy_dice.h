// SPDX-License-Identifier: Apache-2.0
// Random policies, connections and requests of a world so small that they meet.
#pragma once

#include <optional>
#include <string>

#include "test/support/policy_dice.h"
#include "userspace_proxy/authz/authorizer.h"

namespace underpass::test {

// A request that owns what a Subject refers to.
struct DrawnRequest {
  http::Request request;
  std::string host;
  std::string path;
  std::optional<jwt::Claims> claims;

  [[nodiscard]] authz::Subject subject() const {
    return {.request = request, .host = host, .path = path, .claims = claims ? &*claims : nullptr};
  }
  [[nodiscard]] std::string to_string() const;
};

HttpPolicySet draw_http_policies(Dice& dice);
authz::Peer draw_peer(Dice& dice);
DrawnRequest draw_request(Dice& dice);

}  // namespace underpass::test
