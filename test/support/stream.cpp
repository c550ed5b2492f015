// SPDX-License-Identifier: Apache-2.0
#include "test/support/stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <exception>
#include <functional>
#include <thread>

#include "test/support/sockets.h"
#include "test/support/stream_state.h"

namespace underpass::test {
namespace {

// Of the socket that reads `direction`; a listener's is inherited.
void set_low_water(const DirectionPlan& direction, int fd, bool early) {
  if (direction.low_water > 0 && direction.low_water_early == early) {
    set_option(fd, SOL_SOCKET, SO_RCVLOWAT, direction.low_water);
  }
}

UniqueFd make_listener(const StreamPlan& plan, const Place& place) {
  const bool dual = plan.family == Family::kV4ToDualStack;
  Place bound = place;
  if (dual) bound.v6 = "::";
  return listen_at(bound, plan.family == Family::kV4 ? AF_INET : AF_INET6, [&](int fd) {
    if (plan.defer_accept) set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 10);
    if (plan.fast_open) set_option(fd, IPPROTO_TCP, TCP_FASTOPEN, 512);
    set_low_water(plan.direction[kClient], fd, true);
  });
}

// Both directions of one end, until its socket is closed.
void run_end(StreamState& state, int end, int fd, StreamWriter& writer) {
  if (state.plan.wait[end] != Wait::kBlocking) set_nonblocking(fd, true);
  set_low_water(state.plan.direction[1 - end], fd, false);
  StreamReader reader(state, end, fd);
  std::thread reading([&] { reader.run(); });
  writer.run();
  if (state.plan.closes_last == end) {
    reading.join();
    writer.finish();
  } else {
    ::shutdown(fd, SHUT_WR);
    reading.join();
  }
  state.close(end);
}

void run_server(StreamState& state, int listener) {
  const int fd = state.adopt(kServer, accept_from(listener, state.plan.patience));
  StreamWriter writer(state, kServer, fd);
  run_end(state, kServer, fd, writer);
}

void run_client(StreamState& state, const Place& place, const Address& to) {
  const int fd = state.adopt(kClient, socket_in(place.netns, to.family(), SOCK_STREAM));
  set_low_water(state.plan.direction[kServer], fd, true);
  StreamWriter writer(state, kClient, fd);
  if (state.plan.fast_open) {
    writer.fast_open(to.get(), to.size);
  } else if (::connect(fd, to.get(), to.size) != 0) {
    state.fail("connect to " + to.to_string() + ": " + std::strerror(errno));
  }
  run_end(state, kClient, fd, writer);
}

void guarded(StreamState& state, const std::function<void()>& f) {
  try {
    f();
  } catch (const std::exception& e) {
    state.fail(e.what());
  }
  state.end_done();
}

// Ends the stream when nothing moves any more.
void watch(StreamState& state) {
  std::uint64_t moved_before = 0;
  auto since = Clock::now();
  while (!state.wait_done(milliseconds(200))) {
    const std::uint64_t moved = state.sent[0] + state.sent[1] + state.received[0] + state.received[1];
    if (moved != moved_before) since = Clock::now();
    moved_before = moved;
    if (!state.failed.load() && Clock::now() - since > state.plan.patience) state.fail("stuck: " + state.describe());
  }
}

}  // namespace

std::string StreamState::describe() {
  std::string text;
  const std::lock_guard lock(mutex_);
  for (const int end : {kClient, kServer}) {
    text += std::string(end == kClient ? "client" : ", server") + " sent " + std::to_string(sent[end].load()) +
            " of which " + std::to_string(received[end].load()) + " were received";
    if (!fds_[end]) {
      text += ", closed";
      continue;
    }
    const int fd = fds_[end].get();
    tcp_info info{};
    socklen_t size = sizeof info;
    ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size);
    pollfd now{fd, POLLIN | POLLOUT | POLLRDHUP, 0};
    ::poll(&now, 1, 0);
    int unread = 0;
    ::ioctl(fd, FIONREAD, &unread);
    text += ", tcp state " + std::to_string(info.tcpi_state) + ", poll events " + std::to_string(now.revents) +
            ", FIONREAD " + std::to_string(unread);
  }
  return text;
}

StreamOutcome run_stream(const StreamPlan& plan, const Place& a, const Place& b, const std::atomic<bool>& stop) try {
  StreamState state(plan, stop);
  const Place& client = plan.from_b ? b : a;
  const Place& server = plan.from_b ? a : b;
  const bool six = plan.family == Family::kV6;
  const UniqueFd listener = make_listener(plan, server);
  const Address to = Address::of(six ? server.v6 : server.v4, local_address(listener.get()).port());
  std::thread server_end([&] { guarded(state, [&] { run_server(state, listener.get()); }); });
  std::thread client_end([&] { guarded(state, [&] { run_client(state, client, to); }); });
  watch(state);
  server_end.join();
  client_end.join();
  StreamOutcome outcome{state.received[0] + state.received[1], state.failure(), state.false_eagain};
  if (!outcome.failure.empty()) outcome.failure = plan.to_string() + ": " + outcome.failure;
  return outcome;
} catch (const std::exception& e) {
  return {.failure = plan.to_string() + ": " + e.what()};
}

}  // namespace underpass::test
