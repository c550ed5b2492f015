// SPDX-License-Identifier: Apache-2.0
#include "test/support/capture.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "test/support/files.h"
#include "test/support/netns.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

constexpr int kQueueBytes = 256 << 20;
constexpr std::size_t kLargestPacket = 1 << 17;  // segments that the veth leaves whole

// Behind the Ethernet header; 0: not TCP. Headers of the tests' own pods: no IPv6 extension headers.
std::size_t tcp_offset(std::string_view packet) {
  if (packet.size() < ETH_HLEN + 40) return 0;
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(packet[i]); };
  const unsigned type = at(12) << 8 | at(13);
  if (type == ETH_P_IP && at(ETH_HLEN + 9) == IPPROTO_TCP) return ETH_HLEN + (at(ETH_HLEN) & 15u) * 4;
  if (type == ETH_P_IPV6 && at(ETH_HLEN + 6) == IPPROTO_TCP) return ETH_HLEN + 40;
  return 0;
}

}  // namespace

Capture::Capture(const std::string& netns, const std::string& device) {
  run_in_netns(netns, [&] {
    fd_ = UniqueFd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd_) throw_errno("socket AF_PACKET");
    set_option(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, kQueueBytes);
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(::if_nametoindex(device.c_str()));
    if (address.sll_ifindex == 0) throw_errno("device " + device);
    if (::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      throw_errno("bind to " + device);
  });
}

void Capture::take() {
  std::string packet(kLargestPacket, '\0');
  for (;;) {
    const ssize_t size = ::recv(fd_.get(), packet.data(), packet.size(), MSG_TRUNC);
    if (size < 0 && errno == EAGAIN) break;
    if (size < 0) throw_errno("recv of packets");
    if (static_cast<std::size_t>(size) > packet.size()) throw std::runtime_error("a packet is too large to be kept");
    packets_.emplace_back(packet.data(), static_cast<std::size_t>(size));
  }
  tpacket_stats stats{};
  socklen_t size = sizeof stats;
  if (::getsockopt(fd_.get(), SOL_PACKET, PACKET_STATISTICS, &stats, &size) != 0) throw_errno("PACKET_STATISTICS");
  if (stats.tp_drops != 0) throw std::runtime_error(std::to_string(stats.tp_drops) + " packets were not captured");
}

bool Capture::has(std::string_view text) {
  take();
  return std::ranges::any_of(packets_, [&](const std::string& packet) { return packet.contains(text); });
}

std::size_t Capture::bytes() const {
  return std::accumulate(packets_.begin(), packets_.end(), std::size_t{0},
                         [](std::size_t sum, const std::string& packet) { return sum + packet.size(); });
}

std::size_t Capture::count_of_port(std::uint16_t port) {
  take();
  return static_cast<std::size_t>(std::ranges::count_if(packets_, [&](const std::string& packet) {
    const std::size_t at = tcp_offset(packet);
    const auto number = [&](std::size_t i) {
      return static_cast<unsigned char>(packet[i]) << 8 | static_cast<unsigned char>(packet[i + 1]);
    };
    return at != 0 && (number(at) == port || number(at + 2) == port);
  }));
}

}  // namespace underpass::test
