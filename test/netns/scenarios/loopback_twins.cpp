// SPDX-License-Identifier: Apache-2.0
#include "test/netns/scenarios/loopback_twins.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include "test/support/files.h"
#include "test/support/payload.h"

namespace underpass::test {
namespace {

Pair connect_twin(const std::string& netns, int family) {
  const Place inside{.netns = netns};
  const UniqueFd listener = listen_at(inside, family, {}, 5000);
  Pair pair;
  pair.client = connect_from(inside, local_address(listener.get()), [&](int fd) {
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    const Address from = Address::of(inside.ip(family), 6000);
    if (::bind(fd, from.get(), from.size) != 0) throw_errno("bind " + from.to_string());
  });
  pair.server = accept_from(listener.get());
  for (const UniqueFd* fd : {&pair.client, &pair.server}) set_option(fd->get(), IPPROTO_TCP, TCP_NODELAY, 1);
  return pair;
}

}  // namespace

std::string run_loopback_twins(const Place& a, const Place& b, int family,
                               const std::function<void(const Pair&, const Pair&)>& live) {
  const Pair in_a = connect_twin(a.netns, family);
  const Pair in_b = connect_twin(b.netns, family);
  Random random(7);
  std::uint64_t offset = 0;
  try {
    for (int round = 0; round < 2000; ++round) {
      // Both pods have a message on the way before either is read.
      const std::size_t size = random.log_uniform(1, 4000);
      std::string of_a(size, '\0');
      std::string of_b(size, '\0');
      Payload(1).fill(offset, of_a);
      Payload(2).fill(offset, of_b);
      const bool from_client = random.one_in(2);
      send_all((from_client ? in_a.client : in_a.server).get(), of_a);
      send_all((from_client ? in_b.client : in_b.server).get(), of_b);
      const std::string at_b = receive_exactly((from_client ? in_b.server : in_b.client).get(), size, seconds(5));
      const std::string at_a = receive_exactly((from_client ? in_a.server : in_a.client).get(), size, seconds(5));
      if (at_a == of_b || at_b == of_a)
        return "round " + std::to_string(round) + ": bytes of one pod arrived in the other";
      if (at_a != of_a || at_b != of_b) return "round " + std::to_string(round) + ": bytes arrived changed";
      offset += size;
    }
  } catch (const std::exception& e) {
    return "after " + std::to_string(offset) + " bytes: " + e.what();
  }
  if (live) live(in_a, in_b);
  for (const UniqueFd* fd : {&in_a.client, &in_a.server, &in_b.client, &in_b.server}) {
    if (readable(fd->get(), milliseconds(0))) return "bytes are left over";
  }
  return "";
}

}  // namespace underpass::test
