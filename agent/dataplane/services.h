// SPDX-License-Identifier: Apache-2.0
// Services in the kernel: what stands there, and how it becomes what is wanted with a handful of writes. At every
// moment connect() finds a Service as it was or as it is to be, and in each of its slots a backend of one or the other.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "agent/compile/services.h"
#include "agent/compile/slots.h"
#include "agent/dataplane/maps.h"
#include "agent/dataplane/service_maps.h"
#include "underpass/ids.h"
#include "underpass/result.h"

namespace underpass::dataplane {

class Services {
 public:
  // Takes over what an earlier agent left in the maps.
  explicit Services(ServiceMaps& maps);

  // Writes what an update changed, the first time everything, and what could not be written before. A port that does
  // not fit keeps what it had, or is not there; it is named in the result, and all others are applied.
  std::vector<Error> apply(const compile::PortTables& wanted, const compile::ServiceCompiler::Update& update);
  std::vector<Error> apply_nodes(const std::vector<IpAddress>& addresses);

  [[nodiscard]] bool empty() const { return ports_.empty(); }

  // "shop/web:80", also of a Service that went lately; empty: never heard of.
  [[nodiscard]] std::string name_of(std::uint32_t id) const;
  [[nodiscard]] const compile::PortKey* find(std::uint32_t id) const;
  // Is this a backend of the Service now?
  [[nodiscard]] bool has_backend(std::uint32_t id, const compile::SlotTarget& target) const;
  // Since the last call a datagram Service lost a backend.
  bool take_udp_loss() { return std::exchange(udp_loss_, false); }

  // Of up_services, up_backends and up_maglev.
  [[nodiscard]] std::vector<Maps::Fill> fill() const;

 private:
  struct Port {
    std::uint32_t id = 0;
    compile::Slots slots;
    std::set<compile::Frontend> frontends;
    up_service value{};
  };

  Result<void> apply_port(const compile::PortKey& key, const compile::PortTable& table);
  void adopt_slots();
  // All of the plan that is to be there before the count is; where there is no room for it, nothing of it.
  Result<void> write_slots(const Port& port, const compile::Slots& next, const compile::SlotPlan& plan);
  void take_back(const Port& port, std::span<const compile::SlotPlan::Write> writes,
                 std::span<const std::uint32_t> blocks);
  void remove_port(const compile::PortKey& key);
  void drop_frontend(const compile::PortKey& key, const compile::Frontend& frontend);

  ServiceMaps& maps_;
  std::map<compile::PortKey, Port> ports_;
  std::map<compile::Frontend, compile::PortKey> owners_;
  std::map<std::uint32_t, compile::PortKey> names_;
  std::set<std::uint32_t> gone_;  // of names_, those that are no more: the oldest are forgotten
  std::set<compile::PortKey> failed_;
  std::set<IpAddress> nodes_;
  std::uint32_t next_id_ = 1;
  bool udp_loss_ = false;
  bool adopted_ = true;  // what stands there may be another agent's: nothing was applied yet
  std::uint64_t frontend_count_ = 0;
  std::uint64_t slot_count_ = 0;
  std::uint64_t block_count_ = 0;
};

}  // namespace underpass::dataplane
