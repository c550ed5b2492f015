// SPDX-License-Identifier: Apache-2.0
// Typed access to the pinned maps of Services. File descriptors are borrowed from whoever loaded them.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "agent/compile/services.h"
#include "agent/compile/slots.h"
#include "underpass/abi.h"
#include "underpass/result.h"

namespace underpass::dataplane {

class ServiceMaps {
 public:
  struct Fds {
    int services = -1, backends = -1, maglev = -1, nodes = -1, traffic = -1;
  };
  ServiceMaps() = default;
  explicit ServiceMaps(Fds fds) : fds_(fds) {}

  // Replaces a value as a whole: connect() sees the old one or the new one.
  Result<void> put_service(const compile::Frontend& frontend, const up_service& service);
  void remove_service(const compile::Frontend& frontend);
  void for_each_service(const std::function<void(const compile::Frontend&, const up_service&)>& visit) const;

  Result<void> put_slot(std::uint32_t service, std::uint32_t slot, const compile::SlotTarget& target);
  void remove_slot(std::uint32_t service, std::uint32_t slot);
  void for_each_slot(
      const std::function<void(std::uint32_t service, std::uint32_t slot, const compile::SlotTarget&)>& visit) const;

  // A block of Maglev's table, kMaglevBlock entries or, the last one, fewer.
  Result<void> put_block(std::uint32_t service, std::uint32_t block, std::span<const std::uint16_t> entries);
  void remove_block(std::uint32_t service, std::uint32_t block);
  void for_each_block(
      const std::function<void(std::uint32_t service, std::uint32_t block, const up_maglev&)>& visit) const;

  Result<void> put_node(const IpAddress& address);
  void remove_node(const IpAddress& address);
  [[nodiscard]] std::vector<IpAddress> nodes() const;

  [[nodiscard]] std::vector<std::pair<up_traffic_key, up_traffic>> traffic() const;
  void remove_traffic(const up_traffic_key& key);
  // The row that takes what finds no room.
  void add_traffic_overflow();

  struct Capacity {
    std::uint32_t services = 0, backends = 0, maglev = 0;
  };
  [[nodiscard]] Capacity capacity() const;

 private:
  Fds fds_;
};

}  // namespace underpass::dataplane
