// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/control/routing_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "underpass/routing_table_json.h"

namespace underpass::control {
namespace {

constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

Result<std::string> read_whole(int fd, std::uint64_t size) {
  std::string text(size, '\0');
  for (std::size_t have = 0; have < text.size();) {
    const ssize_t got = ::pread(fd, text.data() + have, text.size() - have, static_cast<off_t>(have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read");
    if (got == 0) return fail("ends too early");  // not where it is sealed
    have += static_cast<std::size_t>(got);
  }
  return text;
}

}  // namespace

Result<RoutingTable> load_routing_table(int fd, const worker::Config& announced) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0) return fail("routing table: the descriptor is no memfd");
  if ((seals & kSeals) != kSeals) return fail("routing table: the memfd is not sealed against every change");
  struct stat file{};
  if (::fstat(fd, &file) != 0) return fail_errno("routing table: fstat");
  const auto size = static_cast<std::uint64_t>(file.st_size);
  if (size != announced.size)
    return fail("routing table: " + std::to_string(size) + " bytes, announced were " + std::to_string(announced.size));
  if (size > kMaxRoutingTable)
    return fail("routing table: " + std::to_string(size) + " bytes: at most " + std::to_string(kMaxRoutingTable));
  auto text = read_whole(fd, size);
  if (!text) return fail_in("routing table", text.error());
  auto table = decode_routing_table(*text);
  if (table && table->revision != announced.revision)
    return fail("routing table: revision " + std::to_string(table->revision) + ", announced was " +
                std::to_string(announced.revision));
  return table;
}

}  // namespace underpass::control
