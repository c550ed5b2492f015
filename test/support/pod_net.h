// SPDX-License-Identifier: Apache-2.0
// Pods as the network sees them: a network namespace each, a veth to a bridge, an IPv4 and an IPv6 address. The bridge
// stands in a namespace of its own, so that any number of runs can use the same addresses at the same time.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <map>
#include <memory>
#include <string>

#include "test/support/netns.h"

namespace underpass::test {

// A socket address of either family.
struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;

  static Address of(const std::string& ip, std::uint16_t port);
  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] int family() const { return storage.ss_family; }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  [[nodiscard]] std::string to_string() const;
};

// Where a socket lives and by which addresses it is reached; what everything that makes connections is given.
struct Place {
  std::string netns;  // path; empty: the caller's
  std::string v4 = "127.0.0.1";
  std::string v6 = "::1";
  std::string cgroup{};  // folder: its sockets are made in there; empty: where the caller is

  [[nodiscard]] std::string ip(int family) const { return family == AF_INET ? v4 : v6; }
};

class PodNet {
 public:
  enum class Bridge { kOwnNamespace, kCurrentNamespace };

  // `number`: the second byte of its pods' addresses, "77" of fd00:77::/64.
  explicit PodNet(Bridge bridge = Bridge::kOwnNamespace, int number = 77);
  ~PodNet();
  PodNet(const PodNet&) = delete;
  PodNet& operator=(const PodNet&) = delete;

  // Pods of both nets, each with a bridge in a namespace of its own, reach each other from now on: these namespaces
  // route over a veth between them. Before either has a pod. The device's name in this one's bridge_netns().
  std::string join_with(PodNet& other);

  // A new pod: 10.77.0.n (and on in 10.77.1), fd00:77::n, without duplicate address detection, reachable at once.
  const Place& add(const std::string& name);
  [[nodiscard]] const Place& at(const std::string& name) const;
  [[nodiscard]] NetnsCookie cookie(const std::string& name) const;
  // As a runtime removes a pod: the link goes, then the name of the namespace.
  void remove(const std::string& name);
  // The name alone: what is inside keeps running.
  void unname(const std::string& name);
  // Takes the pod's link off the bridge, or puts it back: packets are lost, and the pod sees its link up.
  void cut(const std::string& name);
  void join(const std::string& name);
  // Where the bridge stands; empty: in the caller's namespace.
  [[nodiscard]] std::string bridge_netns() const { return node_ ? node_->path() : std::string(); }

 private:
  struct Pod {
    Place place;
    std::string link;
    Netns netns;
  };

  [[nodiscard]] std::string v4(const std::string& end) const { return "10." + number_ + "." + end; }
  [[nodiscard]] std::string v6(const std::string& end) const { return "fd00:" + number_ + "::" + end; }
  void become_router(const PodNet& other, const std::string& device, const std::string& end,
                     const std::string& other_end);
  // Lines for `ip -batch` in the namespace at `netns`.
  static void configure(const std::string& netns, const std::string& lines);

  std::unique_ptr<Netns> node_;
  std::string prefix_;
  std::string bridge_;
  std::string number_;
  bool is_routed_ = false;
  int next_ = 1;
  std::map<std::string, Pod> pods_;
};

}  // namespace underpass::test
