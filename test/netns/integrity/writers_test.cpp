// SPDX-License-Identifier: Apache-2.0
// Two writers on one socket, through the mesh.
#include <doctest/doctest.h>

#include <cstdlib>

#include "test/netns/accounts.h"
#include "test/netns/scenarios/two_writers.h"

namespace underpass::test {
namespace {

TEST_CASE("two writers on one socket with a small send buffer keep their order") {
  const World world;
  const char* megabytes = std::getenv("UNDERPASS_RECORDS_MB");
  const std::uint64_t bytes = (megabytes != nullptr ? std::strtoull(megabytes, nullptr, 0) : 500) << 20;
  for (const int family : {AF_INET, AF_INET6}) {
    const Accounts accounts(world);
    const RecordsReport report = run_two_writers(world.at("a"), world.at("b"), family, bytes / 2);
    MESSAGE(report.records << " records, redirected " << (accounts.redirected_bytes() >> 20) << " of " << (bytes >> 21)
                           << " MiB, torn " << report.torn << "; by TCP because queue-full "
                           << accounts.fallbacks(UP_WHY_QUEUE_FULL) << ", unread " << accounts.fallbacks(UP_WHY_UNREAD)
                           << ", reader-busy " << accounts.fallbacks(UP_WHY_READER_BUSY) << ", reader-waits "
                           << accounts.fallbacks(UP_WHY_READER_WAITS));
    CHECK(report.failure == "");
    CHECK(report.torn <= report.records / 100);
    CHECK(accounts.short_circuited() == 1);
    CHECK(accounts.redirected_bytes() > 0);
  }
}

}  // namespace
}  // namespace underpass::test
