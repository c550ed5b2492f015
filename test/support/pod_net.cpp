// SPDX-License-Identifier: Apache-2.0
#include "test/support/pod_net.h"

#include <arpa/inet.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

#include "test/support/process.h"
#include "test/support/traces.h"

namespace underpass::test {
namespace {

// The addresses of a bridge that routes.
constexpr const char* kRouterV4 = "255.254";
constexpr const char* kRouterV6 = "ffff";

std::string next_prefix() {
  static int n = 0;
  return name_prefix(::getpid()) + static_cast<char>('a' + n++ % 26);
}

}  // namespace

Address Address::of(const std::string& ip, std::uint16_t port) {
  Address out;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
  if (::inet_pton(AF_INET, ip.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out.size = sizeof *v4;
  } else if (::inet_pton(AF_INET6, ip.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    out.size = sizeof *v6;
  } else {
    throw std::runtime_error("\"" + ip + "\": not an IP address");
  }
  return out;
}

std::uint16_t Address::port() const {
  return ntohs(family() == AF_INET ? reinterpret_cast<const sockaddr_in*>(&storage)->sin_port
                                   : reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port);
}

std::string Address::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* ip = family() == AF_INET
                       ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr)
                       : static_cast<const void*>(&reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr);
  ::inet_ntop(family(), ip, text.data(), text.size());
  return (family() == AF_INET ? std::string(text.data()) : "[" + std::string(text.data()) + "]") + ":" +
         std::to_string(port());
}

PodNet::PodNet(Bridge bridge, int number)
    : prefix_(next_prefix()), bridge_(prefix_ + "br"), number_(std::to_string(number)) {
  if (bridge == Bridge::kOwnNamespace) node_ = std::make_unique<Netns>(prefix_ + "-node");
  configure(bridge_netns(), "link add " + bridge_ + " type bridge\nlink set " + bridge_ + " up\n");
}

PodNet::~PodNet() {
  pods_.clear();
  if (!node_) run({{"ip", "link", "delete", bridge_}});
}

void PodNet::configure(const std::string& netns, const std::string& lines) {
  run_ok({.argv = {"ip", "-batch", "-"}, .netns = netns, .input = lines});
}

std::string PodNet::join_with(PodNet& other) {
  if (!node_ || !other.node_) throw std::runtime_error("only a bridge in a namespace of its own can route");
  const std::string device = prefix_ + "x", other_device = other.prefix_ + "x";
  for (const PodNet* net : {this, &other}) set_sysctl(net->bridge_netns(), "net.ipv6.conf.default.accept_dad", "0");
  configure(bridge_netns(),
            "link add " + device + " type veth peer name " + other_device + " netns " + other.node_->name() + "\n");
  become_router(other, device, "1", "2");
  other.become_router(*this, other_device, "2", "1");
  return device;
}

// Without duplicate address detection: an address that is tentative cannot ask for a neighbour's.
void PodNet::become_router(const PodNet& other, const std::string& device, const std::string& end,
                           const std::string& other_end) {
  const std::string netns = bridge_netns();
  set_sysctl(netns, "net.ipv6.conf." + bridge_ + ".accept_dad", "0");
  set_sysctl(netns, "net.ipv4.ip_forward", "1");
  set_sysctl(netns, "net.ipv6.conf.all.forwarding", "1");
  const auto v4_link = [](const std::string& number) { return "10.1.1." + number; };
  const auto v6_link = [](const std::string& number) { return "fd00:1::" + number; };
  configure(netns, "addr add " + v4(kRouterV4) + "/16 dev " + bridge_ + "\naddr add " + v6(kRouterV6) + "/64 dev " +
                       bridge_ + " nodad\naddr add " + v4_link(end) + "/24 dev " + device + "\naddr add " +
                       v6_link(end) + "/64 dev " + device + " nodad\nlink set " + device + " up\nroute add " +
                       other.v4("0.0") + "/16 via " + v4_link(other_end) + " dev " + device + "\nroute add " +
                       other.v6("") + "/64 via " + v6_link(other_end) + " dev " + device + "\n");
  is_routed_ = true;
}

const Place& PodNet::add(const std::string& name) {
  const std::string n = std::to_string(next_);
  Pod pod{.place = {}, .link = prefix_ + "v" + n, .netns = Netns(prefix_ + "-" + name)};
  // 200 to a row, so that no last number exceeds 255.
  const std::string end = std::to_string((next_ - 1) / 200) + "." + std::to_string((next_ - 1) % 200 + 1);
  ++next_;
  pod.place = {.netns = pod.netns.path(), .v4 = v4(end), .v6 = v6(n)};
  configure(bridge_netns(), "link add " + pod.link + " type veth peer name eth0 netns " + pod.netns.name() +
                                "\nlink set " + pod.link + " master " + bridge_ + " up\n");
  configure(pod.place.netns, "addr add " + pod.place.v4 + "/16 dev eth0\naddr add " + pod.place.v6 +
                                 "/64 dev eth0 nodad\nlink set eth0 up\n");
  if (is_routed_)
    configure(pod.place.netns,
              "route add default via " + v4(kRouterV4) + "\nroute add ::/0 via " + v6(kRouterV6) + "\n");
  return pods_.emplace(name, std::move(pod)).first->second.place;
}

const Place& PodNet::at(const std::string& name) const { return pods_.at(name).place; }
NetnsCookie PodNet::cookie(const std::string& name) const { return pods_.at(name).netns.cookie(); }

void PodNet::remove(const std::string& name) {
  configure(bridge_netns(), "link delete " + pods_.at(name).link + "\n");
  pods_.erase(name);
}

void PodNet::unname(const std::string& name) { pods_.at(name).netns.unname(); }
void PodNet::cut(const std::string& name) {
  configure(bridge_netns(), "link set " + pods_.at(name).link + " nomaster\n");
}
void PodNet::join(const std::string& name) {
  configure(bridge_netns(), "link set " + pods_.at(name).link + " master " + bridge_ + "\n");
}

}  // namespace underpass::test
