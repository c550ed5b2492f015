// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/services.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <string_view>

namespace underpass::dataplane {
namespace {

// Records and metrics may name a Service for a while after it went.
constexpr std::size_t kRememberedNames = 4096;

template <std::size_t kSize>
void copy_name(char (&out)[kSize], std::string_view name) {
  assert(name.size() < kSize && "the decoders let no longer name pass");
  std::memcpy(out, name.data(), name.size());
}

up_service make_value(std::uint32_t id, std::uint32_t slots, const compile::PortKey& key,
                      const compile::PortTable& table) {
  up_service value{};
  value.id = id;
  value.slots = slots;
  value.affinity_s = table.affinity_seconds;
  value.flags = (table.maglev ? UP_SERVICE_MAGLEV : 0) | (key.external ? UP_SERVICE_EXTERNAL : 0);
  value.port = htons(key.port);
  value.protocol = static_cast<__u8>(key.protocol);
  value.v6 = key.v6 ? 1 : 0;
  copy_name(value.namespace_name, key.service.ns);
  copy_name(value.name, key.service.name);
  return value;
}

compile::PortKey key_of(const up_service& value) {
  return {.service = {value.namespace_name, value.name},
          .protocol = static_cast<model::Protocol>(value.protocol),
          .port = ntohs(value.port),
          .v6 = value.v6 != 0,
          .external = (value.flags & UP_SERVICE_EXTERNAL) != 0};
}

std::string describe(const compile::PortKey& key) {
  return "Service " + key.service.to_string() + ": port " + std::to_string(key.port) +
         (key.protocol == model::Protocol::kTcp ? "/TCP" : "/UDP");
}

std::size_t blocks_of(const compile::Slots& slots) {
  return (slots.maglev.size() + compile::kMaglevBlock - 1) / compile::kMaglevBlock;
}

std::span<const std::uint16_t> block_of(const compile::Slots& slots, std::uint32_t block) {
  const auto all = std::span(slots.maglev).subspan(block * compile::kMaglevBlock);
  return all.first(std::min(all.size(), compile::kMaglevBlock));
}

}  // namespace

Services::Services(ServiceMaps& maps) : maps_(maps) {
  std::set<compile::PortKey> torn;
  maps_.for_each_service([&](const compile::Frontend& frontend, const up_service& value) {
    const auto key = key_of(value);
    Port& port = ports_[key];
    if (!port.frontends.empty() && std::memcmp(&port.value, &value, sizeof(value)) != 0) torn.insert(key);
    port.id = value.id;
    port.value = value;
    port.slots.targets.resize(std::max<std::size_t>(port.slots.targets.size(), value.slots));
    if ((value.flags & UP_SERVICE_MAGLEV) != 0 && value.slots != 0) port.slots.maglev.resize(compile::kMaglevEntries);
    port.frontends.insert(frontend);
    owners_[frontend] = key;
    names_[value.id] = key;
    next_id_ = std::max(next_id_, value.id + 1);
  });
  adopt_slots();
  // An agent died between two frontends of one port: the next apply() must write them all.
  for (const auto& key : torn) ports_.at(key).value = {};
  for (const auto& address : maps_.nodes()) nodes_.insert(address);
  for (const auto& [key, port] : ports_) {
    frontend_count_ += port.frontends.size();
    slot_count_ += port.slots.targets.size();
    block_count_ += blocks_of(port.slots);
  }
}

// What no Service counts on goes: an agent died before it said how many there are, or before it took the last away.
void Services::adopt_slots() {
  using Place = std::pair<std::uint32_t, std::uint32_t>;
  const auto slots_of = [&](std::uint32_t id) -> compile::Slots* {
    const auto* key = find(id);
    return key == nullptr ? nullptr : &ports_.at(*key).slots;
  };
  std::vector<Place> stray_slots;
  maps_.for_each_slot([&](std::uint32_t id, std::uint32_t slot, const compile::SlotTarget& target) {
    auto* slots = slots_of(id);
    if (slots != nullptr && slot < slots->targets.size())
      slots->targets[slot] = target;
    else
      stray_slots.emplace_back(id, slot);
  });
  std::vector<Place> stray_blocks;
  maps_.for_each_block([&](std::uint32_t id, std::uint32_t block, const up_maglev& entries) {
    auto* slots = slots_of(id);
    const std::size_t begin = block * compile::kMaglevBlock;
    if (slots == nullptr || begin >= slots->maglev.size()) {
      stray_blocks.emplace_back(id, block);
      return;
    }
    const auto place = std::span(slots->maglev).subspan(begin);
    std::copy_n(std::begin(entries.slot), std::min(compile::kMaglevBlock, place.size()), place.begin());
  });
  for (const auto& [id, slot] : stray_slots) maps_.remove_slot(id, slot);
  for (const auto& [id, block] : stray_blocks) maps_.remove_block(id, block);
}

std::vector<Error> Services::apply(const compile::PortTables& wanted, const compile::ServiceCompiler::Update& update) {
  std::vector<Error> errors;
  auto removed = update.removed;
  auto changed = update.changed;
  if (std::exchange(adopted_, false)) {
    for (const auto& [key, port] : ports_)
      if (!wanted.contains(key)) removed.insert(key);
    for (const auto& [key, table] : wanted) changed.insert(key);
  }
  changed.insert(failed_.begin(), failed_.end());
  for (const auto& key : removed) remove_port(key);
  failed_.clear();
  for (const auto& key : changed) {
    const auto table = wanted.find(key);
    if (table == wanted.end()) continue;
    if (auto done = apply_port(key, table->second); !done) {
      errors.push_back({describe(key) + ": " + done.error().message});
      failed_.insert(key);
    }
  }
  return errors;
}

// First the slots that were not there, or were another backend's; then, with each frontend, how many there are; at the
// end what nobody can find any more.
Result<void> Services::apply_port(const compile::PortKey& key, const compile::PortTable& table) {
  const bool is_new = !ports_.contains(key);
  Port& port = ports_[key];
  if (is_new) {
    port.id = next_id_++;
    names_.emplace(port.id, key);
  }
  compile::Slots slots = port.slots;
  const auto plan = compile::plan_slots(slots, table);
  if (auto done = write_slots(port, slots, plan); !done) {
    if (is_new) remove_port(key);
    return done;
  }
  const auto overwrites = [&](const auto& write) { return write.slot < port.slots.targets.size(); };
  if (key.protocol == model::Protocol::kUdp && (!plan.removed.empty() || std::ranges::any_of(plan.writes, overwrites)))
    udp_loss_ = true;
  slot_count_ += slots.targets.size() - port.slots.targets.size();
  block_count_ += blocks_of(slots) - blocks_of(port.slots);
  port.slots = std::move(slots);

  const auto value = make_value(port.id, plan.count, key, table);
  const bool same = std::memcmp(&value, &port.value, sizeof(value)) == 0;
  Result<void> result;
  for (const auto& frontend : table.frontends) {
    const auto owner = owners_.find(frontend);
    if (same && owner != owners_.end() && owner->second == key) continue;
    if (auto done = maps_.put_service(frontend, value); !done) {
      result = done;
      continue;
    }
    if (owner == owners_.end()) ++frontend_count_;
    if (owner != owners_.end() && owner->second != key) ports_[owner->second].frontends.erase(frontend);
    owners_[frontend] = key;
    port.frontends.insert(frontend);
  }
  port.value = value;
  for (auto old = port.frontends.begin(); old != port.frontends.end();) {
    const auto frontend = *old++;
    if (std::ranges::binary_search(table.frontends, frontend)) continue;
    drop_frontend(key, frontend);
    port.frontends.erase(frontend);
  }
  for (const auto slot : plan.removed) maps_.remove_slot(port.id, slot);
  for (const auto block : plan.removed_blocks) maps_.remove_block(port.id, block);
  return result;
}

Result<void> Services::write_slots(const Port& port, const compile::Slots& next, const compile::SlotPlan& plan) {
  for (std::size_t i = 0; i < plan.writes.size(); ++i) {
    auto done = maps_.put_slot(port.id, plan.writes[i].slot, plan.writes[i].target);
    if (done) continue;
    take_back(port, std::span(plan.writes).first(i), {});
    return done;
  }
  for (std::size_t i = 0; i < plan.blocks.size(); ++i) {
    auto done = maps_.put_block(port.id, plan.blocks[i], block_of(next, plan.blocks[i]));
    if (done) continue;
    take_back(port, plan.writes, std::span(plan.blocks).first(i));
    return done;
  }
  return {};
}

// What was overwritten goes back, what was added goes: nobody counts on it yet.
void Services::take_back(const Port& port, std::span<const compile::SlotPlan::Write> writes,
                         std::span<const std::uint32_t> blocks) {
  for (const auto block : blocks) {
    if (port.slots.maglev.empty())
      maps_.remove_block(port.id, block);
    else
      (void)maps_.put_block(port.id, block, block_of(port.slots, block));
  }
  for (const auto& write : writes) {
    if (write.slot < port.slots.targets.size())
      (void)maps_.put_slot(port.id, write.slot, port.slots.targets[write.slot]);
    else
      maps_.remove_slot(port.id, write.slot);
  }
}

void Services::drop_frontend(const compile::PortKey& key, const compile::Frontend& frontend) {
  const auto owner = owners_.find(frontend);
  if (owner == owners_.end() || owner->second != key) return;
  maps_.remove_service(frontend);
  owners_.erase(owner);
  --frontend_count_;
}

void Services::remove_port(const compile::PortKey& key) {
  const auto found = ports_.find(key);
  if (found == ports_.end()) return;
  Port& port = found->second;
  for (const auto& frontend : port.frontends) drop_frontend(key, frontend);
  for (std::uint32_t slot = 0; slot < port.slots.targets.size(); ++slot) maps_.remove_slot(port.id, slot);
  for (std::uint32_t block = 0; block < blocks_of(port.slots); ++block) maps_.remove_block(port.id, block);
  if (key.protocol == model::Protocol::kUdp) udp_loss_ = true;
  slot_count_ -= port.slots.targets.size();
  block_count_ -= blocks_of(port.slots);
  gone_.insert(port.id);
  if (gone_.size() > kRememberedNames) {
    names_.erase(*gone_.begin());
    gone_.erase(gone_.begin());
  }
  failed_.erase(key);
  ports_.erase(found);
}

std::vector<Error> Services::apply_nodes(const std::vector<IpAddress>& addresses) {
  std::vector<Error> errors;
  const std::set<IpAddress> wanted(addresses.begin(), addresses.end());
  std::erase_if(nodes_, [&](const IpAddress& address) {
    if (wanted.contains(address)) return false;
    maps_.remove_node(address);
    return true;
  });
  for (const auto& address : wanted) {
    if (nodes_.contains(address)) continue;
    if (auto done = maps_.put_node(address); !done)
      errors.push_back({"Node address " + address.to_string() + ": " + done.error().message});
    else
      nodes_.insert(address);
  }
  return errors;
}

std::vector<Maps::Fill> Services::fill() const {
  const auto capacity = maps_.capacity();
  return {{.map = "up_services", .entries = frontend_count_, .capacity = capacity.services},
          {.map = "up_backends", .entries = slot_count_, .capacity = capacity.backends},
          {.map = "up_maglev", .entries = block_count_, .capacity = capacity.maglev}};
}

const compile::PortKey* Services::find(std::uint32_t id) const {
  const auto found = names_.find(id);
  return found == names_.end() ? nullptr : &found->second;
}

std::string Services::name_of(std::uint32_t id) const {
  const auto* key = find(id);
  return key == nullptr ? "" : key->service.to_string() + ":" + std::to_string(key->port);
}

bool Services::has_backend(std::uint32_t id, const compile::SlotTarget& target) const {
  const auto* key = find(id);
  const auto port = key == nullptr ? ports_.end() : ports_.find(*key);
  return port != ports_.end() && port->second.id == id &&
         std::ranges::find(port->second.slots.targets, target) != port->second.slots.targets.end();
}

}  // namespace underpass::dataplane
