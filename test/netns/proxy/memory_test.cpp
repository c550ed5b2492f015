// SPDX-License-Identifier: Apache-2.0
// What a worker needs: with nothing to do, and for each connection on which nothing happens.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include "test/netns/proxy/scene.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

constexpr bool kInstrumented = __has_feature(address_sanitizer);

constexpr double kIdleMiB = 12;
constexpr double kConnectionKiB = 10;
constexpr std::size_t kStep = 200;

// 10,000, or as many as this machine's limit of open files lets a worker have: two descriptors each.
std::size_t many() {
  constexpr rlim_t kOthers = 800;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) throw_errno("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  return std::min<std::size_t>(10000, (limit.rlim_max - kOthers) / 2 / kStep * kStep);
}

double rss_kib(pid_t pid) {
  const std::string text = read_file("/proc/" + std::to_string(pid) + "/smaps_rollup");
  return std::stod(text.substr(text.find("Rss:") + 4));
}

std::size_t sockets_of(pid_t pid) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& fd : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) ++count;
  return count;
}

TEST_CASE("proxy: memory of a worker, idle and with 10,000 idle connections") {
  const std::size_t connections = many();
  const Scene scene;
  const pid_t worker = scene.worker_pid();
  const double idle = rss_kib(worker);
  const UniqueFd listener = listen_at(scene.at("b"), AF_INET);
  const Address to = local_address(listener.get());
  std::vector<UniqueFd> clients, servers;
  while (clients.size() < connections) {
    run_in_netns(scene.at("a").netns, [&] {
      for (std::size_t i = 0; i < kStep; ++i) clients.push_back(connect_from({}, to));
    });
    for (std::size_t i = 0; i < kStep; ++i) servers.push_back(accept_from(listener.get()));
  }
  // Each has had bytes to carry.
  for (std::size_t i = 0; i < connections; ++i) {
    send_all(clients[i].get(), std::string(1000, 'c'));
    send_all(servers[i].get(), std::string(1000, 's'));
  }
  for (std::size_t i = 0; i < connections; ++i) {
    receive_exactly(servers[i].get(), 1000);
    receive_exactly(clients[i].get(), 1000);
  }
  CHECK(scene.world.established(UP_WAY_DIRECT) == 0);
  CHECK(sockets_of(worker) > 2 * connections);
  const double each = (rss_kib(worker) - idle) / static_cast<double>(connections);
  MESSAGE("worker: " << idle / 1024 << " MiB idle, " << each << " KiB for each of " << connections
                     << " idle connections");
  if (kInstrumented) return;
  CHECK(idle <= kIdleMiB * 1024);
  CHECK(each <= kConnectionKiB);
}

}  // namespace
}  // namespace underpass::test
