// SPDX-License-Identifier: Apache-2.0
#include "test/support/hbone_client.h"

#include <stdexcept>

#include "test/support/sockets.h"

namespace underpass::test {

HboneClient::HboneClient(const Place& from, const Place& server, const TlsManners& manners, int family, bool greets)
    : wire(std::make_unique<HboneWire>(connect_from(from, Address::of(server.ip(family), kHbonePort)),
                                       TlsEnd::Role::kClient, manners, greets)) {}

std::int32_t HboneClient::connect(const std::string& authority, const Head& more) {
  Head head{{":method", "CONNECT"}, {":authority", authority}};
  head.insert(head.end(), more.begin(), more.end());
  return wire->ask(head);
}

std::string HboneClient::status(std::int32_t tunnel) {
  const auto& stream = wire->streams[tunnel];
  (void)wire->turn_until([&] { return !stream.head.empty() || stream.closed; });
  return field_of(stream.head, ":status");
}

std::int32_t HboneClient::open(const std::string& authority, const Head& more) {
  const auto tunnel = connect(authority, more);
  if (const std::string said = status(tunnel); said != "200")
    throw std::runtime_error("CONNECT " + authority + ": " + (said.empty() ? "no answer; " + why_ended() : said));
  return tunnel;
}

std::string HboneClient::echo(std::int32_t tunnel, const std::string& bytes) {
  wire->send(tunnel, bytes);
  return wire->receive(tunnel, bytes.size());
}

bool HboneClient::is_ended(milliseconds deadline) {
  return wire->turn_until([&] { return wire->has_ended; }, deadline);
}

std::string how_it_is_met(const Place& from, const Place& server, const TlsManners& manners, int family) {
  try {
    HboneClient client(from, server, manners, family);
    client.wire->ping();
    if (client.wire->turn_until([&] { return client.wire->pings > 0; })) return "open";
    return client.why_ended().empty() ? "silent" : client.why_ended();
  } catch (const std::exception& error) {
    return error.what();
  }
}

std::string authority_of(const Place& server, std::uint16_t port, int family) {
  return Address::of(server.ip(family), port).to_string();
}

}  // namespace underpass::test
