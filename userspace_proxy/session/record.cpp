// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/record.h"

#include <cstring>

#include "underpass/spiffe_id.h"

namespace underpass::session {
namespace {

template <std::size_t size>
std::string_view text_of(const char (&field)[size]) {
  return {field, ::strnlen(field, size)};
}

}  // namespace

Record::Record(const up_peer& peer, NetnsCookie pod, const Routes& routes, std::string_view peer_id)
    : client_netns(peer.direction == UP_OUTBOUND ? pod : peer.client_netns),
      server_netns(peer.direction == UP_OUTBOUND ? peer.server_netns : pod),
      service(peer.service),
      remote(peer.workload),
      client(peer.client),
      server(peer.server),
      dialled(peer.dialled),
      client_port(peer.client_port),
      server_port(peer.server_port),
      dialled_port(peer.service == 0 ? __be16{0} : peer.dialled_port),
      inbound(peer.direction != UP_OUTBOUND),
      tunnel(peer.direction == UP_TUNNEL ? UP_TUNNEL_HBONE : static_cast<up_tunnel>(peer.tunnel)) {
  // Of our own pod the table says it; of other clients the kernel attests a number.
  const auto identity_of = [&](NetnsCookie netns) -> std::string_view {
    const auto* own = routes.find_pod(netns);
    return own == nullptr ? std::string_view() : own->identity;
  };
  std::string_view source = inbound ? peer_id : identity_of(pod);
  if (source.empty() && peer.client_netns != 0) {
    if (const auto* attested = routes.find_identity(peer.identity)) source = *attested;
  }
  std::string_view destination = identity_of(inbound ? pod : peer.server_netns);
  if (destination.empty() && tunnel != UP_TUNNEL_NONE) {
    if (const auto* expected = routes.find_identity(peer.server_identity)) destination = *expected;
  }
  // Of who came by a certificate that says the namespace; the rest is what is known of the address.
  auto client_namespace = text_of(peer.client_namespace);
  if (!peer_id.empty())
    if (const auto certified = parse_spiffe_id(peer_id)) client_namespace = certified->ns;
  names_.reserve(256);
  add(kSourceNamespace, client_namespace);
  add(kSourcePod, client_namespace == text_of(peer.client_namespace) ? text_of(peer.client_pod) : std::string_view());
  add(kSourceIdentity, source);
  add(kDestinationNamespace, text_of(peer.server_namespace));
  add(kDestinationPod, text_of(peer.server_pod));
  add(kDestinationIdentity, destination);
  add(kServiceNamespace, text_of(peer.service_namespace));
  add(kServiceName, text_of(peer.service_name));
  names_.shrink_to_fit();
}

void Record::add(Name which, std::string_view text) {
  // An identity is as long as the agent made it; the offsets have 16 bits.
  names_ += text.substr(0, 4096);
  ends_[which] = static_cast<std::uint16_t>(names_.size());
}

}  // namespace underpass::session
