// SPDX-License-Identifier: Apache-2.0
#include "test/support/service_tables.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>

#include <cerrno>

#include "test/support/files.h"
#include "test/support/pinned.h"
#include "underpass/ip_address.h"
#include "underpass/seal.h"

namespace underpass::test {
namespace {

template <typename Value, typename Key>
std::optional<Value> find(const UniqueFd& map, const Key& key) {
  Value value{};
  if (::bpf_map_lookup_elem(map.get(), &key, &value) == 0) return value;
  if (errno == ENOENT) return std::nullopt;
  throw_errno("look up in a map of Services");
}

std::string ip_of(const Address& address) {
  const std::string text = address.to_string();
  const std::string ip = text.substr(0, text.rfind(':'));
  return ip.starts_with('[') ? ip.substr(1, ip.size() - 2) : ip;
}

up_service_key key_of(const Address& at, std::uint8_t protocol) {
  up_service_key key{};
  key.addr = IpAddress::parse(ip_of(at)).value().to_abi();
  key.port = htons(at.port());
  key.protocol = protocol;
  return key;
}

}  // namespace

ServiceTables::ServiceTables(const Sandbox& sandbox)
    : services_(open_pinned_map(sandbox.pins() / "up_services")),
      backends_(open_pinned_map(sandbox.pins() / "up_backends")),
      affinity_(open_pinned_map(sandbox.pins() / "up_affinity")) {}

std::optional<up_service> ServiceTables::service(const Address& at, std::uint8_t protocol) const {
  return find<up_service>(services_, key_of(at, protocol));
}

void ServiceTables::put(const Address& at, const up_service& service) const {
  const up_service_key key = key_of(at, service.protocol);
  up_service row = service;
  row.seal = up_service_seal(&key, row.id, row.slots, row.affinity_s, row.flags);
  if (::bpf_map_update_elem(services_.get(), &key, &row, BPF_ANY) != 0) throw_errno("write up_services");
}

std::multiset<std::string> ServiceTables::slots(const Address& at, std::uint8_t protocol) const {
  std::multiset<std::string> out;
  const auto found = service(at, protocol);
  for (std::uint32_t slot = 0; found && slot < found->slots; ++slot) {
    const auto backend = find<up_backend>(backends_, up_backend_key{.service = found->id, .slot = slot});
    out.insert(backend ? Address::of(IpAddress(backend->addr).to_string(), ntohs(backend->port)).to_string()
                       : "missing");
  }
  return out;
}

std::optional<up_affinity> ServiceTables::affinity(std::uint64_t client_netns, std::uint32_t service) const {
  return find<up_affinity>(affinity_, up_affinity_key{.client_netns = client_netns, .service = service, .pad = 0});
}

}  // namespace underpass::test
