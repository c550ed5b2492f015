// SPDX-License-Identifier: Apache-2.0
#include "test/netns/policy/forger.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <sys/ioctl.h>

#include <array>
#include <cstring>
#include <random>

#include "test/support/files.h"
#include "test/support/netns.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

constexpr std::size_t kEthernet = 14;
constexpr std::size_t kMac = 6;
const std::string kBroadcast(kMac, '\xff');

std::string bytes16(std::uint16_t value) { return {static_cast<char>(value >> 8), static_cast<char>(value)}; }
std::string bytes32(std::uint32_t value) {
  return bytes16(static_cast<std::uint16_t>(value >> 16)) + bytes16(static_cast<std::uint16_t>(value));
}
std::uint8_t byte_at(const std::string& bytes, std::size_t at) { return static_cast<std::uint8_t>(bytes.at(at)); }
std::uint16_t word_at(const std::string& bytes, std::size_t at) {
  return static_cast<std::uint16_t>(byte_at(bytes, at) << 8 | byte_at(bytes, at + 1));
}
std::uint32_t long_at(const std::string& bytes, std::size_t at) {
  return std::uint32_t{word_at(bytes, at)} << 16 | word_at(bytes, at + 2);
}

// RFC 1071.
std::uint16_t checksum(std::string bytes) {
  if (bytes.size() % 2 != 0) bytes += '\0';
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2) sum += word_at(bytes, i);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

// The address alone, as it stands in packets.
std::string ip_bytes(const Address& address) {
  if (address.family() == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address.storage);
    return {reinterpret_cast<const char*>(&v4->sin_addr), 4};
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
  return {reinterpret_cast<const char*>(&v6->sin6_addr), 16};
}

std::string pseudo_header(const std::string& from, const std::string& to, std::uint8_t protocol, std::size_t size) {
  if (from.size() == 4)
    return from + to + '\0' + static_cast<char>(protocol) + bytes16(static_cast<std::uint16_t>(size));
  return from + to + bytes32(static_cast<std::uint32_t>(size)) + std::string(3, '\0') + static_cast<char>(protocol);
}

std::string packet(const std::string& from, const std::string& to, std::uint8_t protocol, std::uint8_t hops,
                   const std::string& content) {
  if (from.size() == 16)
    return std::string("\x60\0\0\0", 4) + bytes16(static_cast<std::uint16_t>(content.size())) +
           static_cast<char>(protocol) + static_cast<char>(hops) + from + to + content;
  std::string header = std::string("\x45\0", 2) + bytes16(static_cast<std::uint16_t>(20 + content.size())) +
                       std::string("\0\0\x40\0", 4) + static_cast<char>(hops) + static_cast<char>(protocol) +
                       std::string(2, '\0') + from + to;
  header.replace(10, 2, bytes16(checksum(header)));
  return header + content;
}

std::string mac_of_eth0(const std::string& netns, int* index = nullptr) {
  const UniqueFd fd = socket_in(netns, AF_INET, SOCK_DGRAM);
  ifreq request{};
  std::strcpy(request.ifr_name, "eth0");
  if (index != nullptr) {
    if (::ioctl(fd.get(), SIOCGIFINDEX, &request) != 0) throw_errno("SIOCGIFINDEX eth0");
    *index = request.ifr_ifindex;
  }
  if (::ioctl(fd.get(), SIOCGIFHWADDR, &request) != 0) throw_errno("SIOCGIFHWADDR eth0");
  return {request.ifr_hwaddr.sa_data, kMac};
}

}  // namespace

Forger::Forger(const Place& attacker, const Place& server, Address as, Address to)
    : as_(as), to_(to), mac_(mac_of_eth0(attacker.netns, &link_)), server_mac_(mac_of_eth0(server.netns)) {
  socket_ = socket_in(attacker.netns, AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
  sockaddr_ll where{};
  where.sll_family = AF_PACKET;
  where.sll_protocol = htons(ETH_P_ALL);
  where.sll_ifindex = link_;
  if (::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0) throw_errno("bind eth0");
  // Solicitations go to a multicast address of the victim's.
  packet_mreq all{.mr_ifindex = link_, .mr_type = PACKET_MR_ALLMULTI, .mr_alen = 0, .mr_address = {}};
  if (::setsockopt(socket_.get(), SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) != 0) throw_errno("allmulti");
  thread_ = std::thread([this] { listen(); });
  poison();
}

Forger::~Forger() {
  stop_ = true;
  thread_.join();
}

void Forger::poison() const {
  const std::string ip = ip_bytes(as_);
  if (as_.family() == AF_INET6) return advertise(server_mac_, ip_bytes(to_), false);
  // A reply that nobody asked for.
  send_frame(server_mac_ + mac_ + bytes16(ETHERTYPE_ARP) + std::string("\0\1\x08\0\6\4\0\2", 8) + mac_ + ip +
             server_mac_ + ip_bytes(to_));
}

void Forger::advertise(const std::string& to_mac, const std::string& to_ip, bool solicited) const {
  const std::string ip = ip_bytes(as_);
  const std::string flags{solicited ? '\x60' : '\x20', 0, 0, 0};  // override
  std::string message = std::string("\x88\0\0\0", 4) + flags + ip + std::string("\2\1", 2) + mac_;
  message.replace(2, 2, bytes16(checksum(pseudo_header(ip, to_ip, IPPROTO_ICMPV6, message.size()) + message)));
  send_frame(to_mac + mac_ + bytes16(ETHERTYPE_IPV6) + packet(ip, to_ip, IPPROTO_ICMPV6, 255, message));
}

bool Forger::syn(const std::string& data, milliseconds deadline) {
  {
    const std::scoped_lock lock(mutex_);
    isn_ = std::random_device{}();
    next_ = isn_ + 1 + static_cast<std::uint32_t>(data.size());
    first_.reset();
    acked_ = isn_ + 1;
    payload_.clear();
  }
  reset_ = false;
  const auto answered = [&] {
    const std::scoped_lock lock(mutex_);
    return first_.has_value() || reset_;
  };
  for (const auto end = Clock::now() + deadline; Clock::now() < end && !answered();) {
    poison();
    emit(kSyn, isn_, data);
    (void)eventually(milliseconds(300), answered);
  }
  const std::scoped_lock lock(mutex_);
  return first_.has_value();
}

void Forger::acknowledge(const std::string& data) {
  emit(kAck | (data.empty() ? 0 : kPsh), next_, data);
  next_ += static_cast<std::uint32_t>(data.size());
}

bool Forger::connect(milliseconds deadline) {
  if (!syn("", deadline)) return false;
  acknowledge();
  return true;
}

void Forger::send(const std::string& data, bool urgent) {
  emit(static_cast<std::uint8_t>(kAck | kPsh | (urgent ? kUrg : 0)), next_, data);
  next_ += static_cast<std::uint32_t>(data.size());
}

void Forger::fin() { emit(kFin | kAck, next_++, ""); }
void Forger::reset() { emit(kRst | kAck, next_, ""); }

std::string Forger::payload() const {
  const std::scoped_lock lock(mutex_);
  return payload_;
}

std::uint32_t Forger::acknowledged() const {
  const std::scoped_lock lock(mutex_);
  return acked_ - isn_ - 1;
}

void Forger::emit(std::uint8_t flags, std::uint32_t seq, const std::string& data) const {
  std::uint32_t ack = 0;
  {
    const std::scoped_lock lock(mutex_);
    if (first_) ack = expected_;
  }
  const std::string from = ip_bytes(as_), to = ip_bytes(to_);
  // An empty Fast Open option with the SYN: that there is such a thing.
  const std::string options = (flags & kSyn) != 0 ? std::string("\2\4\x05\xa0\x22\2\1\1", 8) : "";
  const auto urgent = static_cast<std::uint16_t>((flags & kUrg) != 0 ? data.size() : 0);
  std::string segment = bytes16(as_.port()) + bytes16(to_.port()) + bytes32(seq) + bytes32(ack) +
                        static_cast<char>((20 + options.size()) / 4 << 4) + static_cast<char>(flags) + bytes16(65535) +
                        bytes16(0) + bytes16(urgent) + options + data;
  segment.replace(16, 2, bytes16(checksum(pseudo_header(from, to, IPPROTO_TCP, segment.size()) + segment)));
  const std::uint16_t type = from.size() == 4 ? ETHERTYPE_IP : ETHERTYPE_IPV6;
  send_frame(server_mac_ + mac_ + bytes16(type) + packet(from, to, IPPROTO_TCP, 64, segment));
}

void Forger::send_frame(const std::string& frame) const {
  if (::send(socket_.get(), frame.data(), frame.size(), 0) < 0) throw_errno("send a frame");
}

void Forger::listen() {
  std::array<char, 65536> buffer{};
  while (!stop_) {
    if (!readable(socket_.get(), milliseconds(20))) continue;
    const ssize_t size = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size > static_cast<ssize_t>(kEthernet)) take({buffer.data(), static_cast<std::size_t>(size)});
  }
}

void Forger::take(const std::string& frame) {
  if (frame.substr(kMac, kMac) == mac_) return;  // our own
  const std::uint16_t type = word_at(frame, 12);
  const std::string body = frame.substr(kEthernet);
  if (type == ETHERTYPE_ARP && as_.family() == AF_INET) return answer_arp(frame);
  if (type == ETHERTYPE_IP && body.size() >= 40 && byte_at(body, 9) == IPPROTO_TCP &&
      body.substr(16, 4) == ip_bytes(as_))
    return take_segment(
        body.substr(std::size_t{byte_at(body, 0) & 15u} * 4, word_at(body, 2) - (byte_at(body, 0) & 15u) * 4));
  if (type != ETHERTYPE_IPV6 || body.size() < 60 || as_.family() != AF_INET6) return;
  if (byte_at(body, 6) == IPPROTO_TCP && body.substr(24, 16) == ip_bytes(as_))
    take_segment(body.substr(40, word_at(body, 4)));
  else if (byte_at(body, 6) == IPPROTO_ICMPV6 && byte_at(body, 40) == 135)
    answer_solicitation(frame);
}

void Forger::answer_arp(const std::string& frame) const {
  const std::string body = frame.substr(kEthernet);
  if (body.size() < 28 || word_at(body, 6) != 1 || body.substr(24, 4) != ip_bytes(as_)) return;
  send_frame(body.substr(8, kMac) + mac_ + bytes16(ETHERTYPE_ARP) + std::string("\0\1\x08\0\6\4\0\2", 8) + mac_ +
             ip_bytes(as_) + body.substr(8, 10));
}

void Forger::answer_solicitation(const std::string& frame) const {
  const std::string body = frame.substr(kEthernet);
  if (body.size() >= 64 && body.substr(48, 16) == ip_bytes(as_))
    advertise(frame.substr(kMac, kMac), body.substr(8, 16), true);
}

void Forger::take_segment(const std::string& segment) {
  if (word_at(segment, 0) != to_.port() || word_at(segment, 2) != as_.port()) return;
  const std::uint32_t seq = long_at(segment, 4), ack = long_at(segment, 8);
  const std::uint8_t flags = byte_at(segment, 13);
  const std::string data = segment.substr(std::size_t{byte_at(segment, 12)} / 16 * 4);
  const std::scoped_lock lock(mutex_);
  if ((flags & kRst) != 0) reset_ = true;
  if ((flags & kAck) != 0) acked_ = ack;
  if ((flags & kSyn) != 0 && (flags & kAck) != 0 && ack - isn_ - 1 <= next_ - isn_ - 1) {
    first_ = seq;
    expected_ = seq + 1;
  }
  if (data.empty() || !first_ || seq != expected_) return;
  payload_ += data;
  expected_ += static_cast<std::uint32_t>(data.size());
}

}  // namespace underpass::test
