// SPDX-License-Identifier: Apache-2.0
// Typed access to the pinned maps. File descriptors are borrowed from whoever loaded them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "agent/compile/compile.h"
#include "agent/dataplane/connection.h"
#include "underpass/abi.h"
#include "underpass/ids.h"
#include "underpass/result.h"

namespace underpass::dataplane {

class Maps {
 public:
  struct Fds {
    int config = -1, pods = -1, ips = -1, sources = -1, conns = -1, socks = -1, budget = -1, stats = -1;
    int habits = -1;  // -1: programs that collect none
    int known = -1, excluded = -1, errands = -1, source_count = -1;
  };
  Maps() = default;
  explicit Maps(Fds fds) : fds_(fds) {}

  Result<void> set_config(const up_config& config);
  [[nodiscard]] up_config config() const;

  // Enrolled pods and their addresses, as they stand in the kernel.
  [[nodiscard]] compile::Tables tables() const;
  Result<void> put_pod(NetnsCookie cookie, const up_pod& pod);
  void remove_pod(NetnsCookie cookie);
  Result<void> put_ip(const IpAddress& address, NetnsCookie cookie);
  void remove_ip(const IpAddress& address);

  // Ends at the first one, and copies none.
  [[nodiscard]] bool has_connections() const;
  [[nodiscard]] std::vector<Connection> connections() const;
  [[nodiscard]] std::optional<Connection> connection(std::uint64_t id) const;
  // How many records there can be.
  [[nodiscard]] std::size_t connections_capacity() const;

  // Pods of this node that are seen and not enrolled, and what those that are keep out of the mesh.
  Result<void> put_known(NetnsCookie cookie);
  void remove_known(NetnsCookie cookie);
  Result<void> put_excluded(const compile::ExcludedPort& port);
  void remove_excluded(const compile::ExcludedPort& port);
  // Where workers may go on their own account.
  Result<void> put_errand(const compile::Errand& errand);
  void remove_errand(const compile::Errand& errand);

  // Takes the socket out of the sockhash: it is a plain TCP socket again. Its queue must be empty.
  void unmap_socket(SocketCookie cookie);

  // Makes sure that the pool exists, and the count of its source records; never touches what is out of it.
  void add_pool(NetnsCookie pod);
  // Forgets pools of pods that are gone, once nothing is out of them; not the node's own.
  void drop_empty_pools(const std::map<NetnsCookie, up_pod>& pods, NetnsCookie host);
  [[nodiscard]] std::uint64_t used_of_pool(NetnsCookie pod) const;

  // Makes sure that there is a row for what will be seen of the pod; never touches what has been.
  void add_habits(NetnsCookie pod);
  // As if nothing had been seen of the pod yet. Nothing where it has no row.
  void reset_habits(NetnsCookie pod);
  // Forgets pods that are gone.
  void forget_habits(const std::map<NetnsCookie, up_pod>& pods);
  [[nodiscard]] std::map<NetnsCookie, up_habits> habits() const;

  // Forgets source records that nobody consumed in time, and counts the others anew where there were such.
  void drop_old_sources(std::uint64_t now_ns);

  // Summed over the CPUs.
  [[nodiscard]] up_stats stats() const;

  struct Fill {
    const char* map;
    std::uint64_t entries;
    std::uint64_t capacity;
  };
  [[nodiscard]] std::vector<Fill> fill() const;

 private:
  Fds fds_;
};

}  // namespace underpass::dataplane
