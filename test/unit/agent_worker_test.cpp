// SPDX-License-Identifier: Apache-2.0
// The agent's end of a worker: a real process, and the packet socket between the two.
#include "agent/workers/worker.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <memory>

#include "test/support/process.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

using workers::Worker;

// A process that says nothing, and its end of the socket.
struct Silent {
  Process process{{.argv = {"sleep", "60"}}};
  UniqueFd socket{};

  workers::Launched launched() {
    int pair[2] = {};
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    socket.reset(pair[1]);
    return {.pid = process.pid(),
            .pidfd = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid(), 0))),
            .control = UniqueFd(pair[0])};
  }
};

TEST_CASE("agent's worker: the end of one is not taken for the end of the next") {
  boost::asio::io_context io;
  Silent first, second;
  int ends = 0, ends_of_next = 0;
  std::unique_ptr<Worker> worker, next;
  worker = std::make_unique<Worker>(
      io, 1, first.launched(), false, Worker::Events{.lost = [&](const std::string&, bool) {
        ++ends;
        worker.reset();
        next = std::make_unique<Worker>(io, 2, second.launched(), false,
                                        Worker::Events{.lost = [&](const std::string&, bool) { ++ends_of_next; }});
      }});
  io.poll();
  // Both of its descriptors have something to say at once.
  first.process.kill();
  first.socket.reset();
  io.run_for(seconds(1));
  CHECK(ends == 1);
  CHECK(ends_of_next == 0);
  second.process.kill();
  io.run_for(seconds(1));
  CHECK(ends_of_next == 1);
}

}  // namespace
}  // namespace underpass::test
