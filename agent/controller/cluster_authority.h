// SPDX-License-Identifier: Apache-2.0
// The cluster's authority: read from its Secret, made there where there is none, kept in order (ca/upkeep.h), and its
// roots published in a ConfigMap. What signs is in force only after the Secret says it, so that no other leader ever
// signs by another. Of the leader alone.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/ca/upkeep.h"
#include "agent/k8s/api/api_client.h"
#include "underpass/ids.h"

namespace boost::asio {
class io_context;
}

namespace underpass::controller {

struct AuthorityOptions {
  NamespacedName secret;
  NamespacedName trust_bundle;  // a ConfigMap
  ca::UpkeepOptions upkeep{};
  std::chrono::milliseconds look{10'000};  // how often both are read again
};

class ClusterAuthority {
 public:
  // `changed`: authority() or problem() is another. `io` and `client` outlive it.
  static std::unique_ptr<ClusterAuthority> make(boost::asio::io_context& io, k8s::ApiClient& client,
                                                AuthorityOptions options, std::function<void()> changed);
  virtual ~ClusterAuthority() = default;

  virtual void start() = 0;
  // Null: nothing may be signed, for the reason that problem() gives, or not yet.
  [[nodiscard]] virtual const ca::Authority* authority() const = 0;
  [[nodiscard]] virtual const std::string& problem() const = 0;  // empty: none
};

}  // namespace underpass::controller
