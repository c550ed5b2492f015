// SPDX-License-Identifier: Apache-2.0
// Services as connect() finds them: read from the pinned maps, so that a test need not believe the agent, or have one.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "test/support/pod_net.h"
#include "test/support/sandbox.h"
#include "underpass/abi.h"
#include "underpass/unique_fd.h"

namespace underpass::test {

class ServiceTables {
 public:
  explicit ServiceTables(const Sandbox& sandbox);

  // Of the Service that is dialled there; 0.0.0.0 and :: are those of NodePorts.
  [[nodiscard]] std::optional<up_service> service(const Address& at, std::uint8_t protocol = IPPROTO_TCP) const;
  // As an agent leaves it that dies in the middle.
  void put(const Address& at, const up_service& service) const;
  // "10.77.0.3:8080" of every slot, "missing" of one that is not there; empty too where there is no such Service.
  [[nodiscard]] std::multiset<std::string> slots(const Address& at, std::uint8_t protocol = IPPROTO_TCP) const;
  [[nodiscard]] std::optional<up_affinity> affinity(std::uint64_t client_netns, std::uint32_t service) const;

 private:
  UniqueFd services_;
  UniqueFd backends_;
  UniqueFd affinity_;
};

}  // namespace underpass::test
