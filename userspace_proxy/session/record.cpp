// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/record.h"

#include <cstring>

namespace underpass::session {
namespace {

template <std::size_t size>
std::string_view text_of(const char (&field)[size]) {
  return {field, ::strnlen(field, size)};
}

}  // namespace

Record::Record(const up_peer& peer, NetnsCookie pod, const Routes& routes)
    : client_netns(peer.direction == UP_INBOUND ? peer.client_netns : pod),
      server_netns(peer.direction == UP_INBOUND ? pod : peer.server_netns),
      service(peer.service),
      client(peer.client),
      server(peer.server),
      dialled(peer.dialled),
      client_port(peer.client_port),
      server_port(peer.server_port),
      dialled_port(peer.service == 0 ? __be16{0} : peer.dialled_port),
      inbound(peer.direction == UP_INBOUND) {
  // Of our own pod the table says it; of other clients the kernel attests a number.
  const auto identity_of = [&](NetnsCookie netns) -> std::string_view {
    const auto* own = routes.find_pod(netns);
    return own == nullptr ? std::string_view() : own->identity;
  };
  std::string_view source = inbound ? std::string_view() : identity_of(pod);
  if (source.empty() && peer.client_netns != 0) {
    if (const auto* attested = routes.find_identity(peer.identity)) source = *attested;
  }
  names_.reserve(256);
  add(kSourceNamespace, text_of(peer.client_namespace));
  add(kSourcePod, text_of(peer.client_pod));
  add(kSourceIdentity, source);
  add(kDestinationNamespace, text_of(peer.server_namespace));
  add(kDestinationPod, text_of(peer.server_pod));
  add(kDestinationIdentity, identity_of(inbound ? pod : peer.server_netns));
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
