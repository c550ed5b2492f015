// SPDX-License-Identifier: Apache-2.0
// Named network namespaces, and how to do something inside one: on a thread of its own, so that the caller never moves.
#pragma once

#include <functional>
#include <string>

#include "underpass/ids.h"
#include "underpass/unique_fd.h"

namespace underpass::test {

// Where named network namespaces live, as iproute2 has it.
inline constexpr const char* kNetnsFolder = "/var/run/netns";

// A network namespace of its own under kNetnsFolder, its loopback up. Removed by the destructor.
class Netns {
 public:
  explicit Netns(std::string name);
  Netns(Netns&&) noexcept;
  Netns& operator=(Netns&&) = delete;
  ~Netns();

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::string path() const { return std::string(kNetnsFolder) + "/" + name_; }
  [[nodiscard]] NetnsCookie cookie() const;
  // Takes the name away; the namespace lives on while a process or a socket is in it.
  void unname();

 private:
  std::string name_;
};

// Runs `f` in the namespace at `path` (empty: here, on the calling thread). Exceptions come through.
void run_in_netns(const std::string& path, const std::function<void()>& f);

// A socket (SOCK_CLOEXEC) of the namespace at `path`. Its cgroup is the one of the calling process.
UniqueFd socket_in(const std::string& path, int family, int type, int protocol = 0);

// A sysctl of the namespace, "net.ipv4.tcp_fastopen" = "1031".
void set_sysctl(const std::string& path, std::string name, const std::string& value);

}  // namespace underpass::test
