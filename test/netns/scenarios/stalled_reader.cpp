// SPDX-License-Identifier: Apache-2.0
#include "test/netns/scenarios/stalled_reader.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "test/support/kernel_memory.h"
#include "test/support/payload.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

const Payload kPayload(42);

std::uint64_t growth(std::uint64_t before, std::uint64_t now) { return now > before ? now - before : 0; }

// Until send() says EAGAIN and poll() does not take it back for a while.
void send_until_stopped(int fd, const StallOptions& options, StallReport& report) {
  std::string bytes(options.message, '\0');
  for (std::uint64_t messages = 0; report.accepted < options.most_bytes && messages < options.most_messages;) {
    kPayload.fill(report.accepted, bytes);
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      report.accepted += static_cast<std::uint64_t>(n);
      ++messages;
      continue;
    }
    if (errno != EAGAIN) {
      report.failure = std::string("send: ") + std::strerror(errno);
      return;
    }
    pollfd waiting{fd, POLLOUT, 0};
    if (::poll(&waiting, 1, 500) == 0) return;
  }
  report.failure = "nothing stopped the sender";
}

void measure(const KernelMemory& before, const Pair& pair, StallReport& report) {
  const KernelMemory now = kernel_memory();
  const SocketMemory client = socket_memory(pair.client.get());
  const SocketMemory server = socket_memory(pair.server.get());
  report.unavailable = growth(before.unavailable, now.unavailable);
  report.slab = growth(before.slab, now.slab);
  report.message_objects = growth(before.message_objects, now.message_objects);
  report.sockets = client.send + client.receive + server.send + server.receive;
}

void drain(int fd, std::uint64_t total, StallReport& report) {
  std::string buffer(1u << 16, '\0');
  std::uint64_t received = 0;
  while (received < total) {
    if (!readable(fd, seconds(20))) {
      report.failure = "stuck: " + std::to_string(received) + " of " + std::to_string(total) + " bytes can be read";
      return;
    }
    const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) continue;
    if (n <= 0) {
      report.failure =
          "recv after " + std::to_string(received) + " bytes: " + (n == 0 ? "end of stream" : std::strerror(errno));
      return;
    }
    if (const auto wrong = kPayload.first_difference(received, {buffer.data(), static_cast<std::size_t>(n)})) {
      report.failure = "byte " + std::to_string(received + *wrong) + " is wrong";
      return;
    }
    received += static_cast<std::uint64_t>(n);
  }
}

}  // namespace

std::string StallReport::to_string() const {
  return std::to_string(accepted) + " bytes queued; memory +" + std::to_string(unavailable >> 10) + " KiB, slab +" +
         std::to_string(slab >> 10) + " KiB, +" + std::to_string(message_objects) + " objects of 1 KiB, sockets hold " +
         std::to_string(sockets >> 10) + " KiB" + (failure.empty() ? "" : "; " + failure);
}

StallReport run_stalled_reader(const Place& client, const Place& server, int family, const StallOptions& options) {
  const Pair pair =
      make_pair_between(client, server, family, [](int fd) { set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); });
  // Warm: first messages may go another way than later ones.
  for (int i = 0; i < 8; ++i) {
    send_all(pair.client.get(), "warm");
    receive_exactly(pair.server.get(), 4);
  }
  StallReport report;
  const KernelMemory before = kernel_memory();
  send_until_stopped(pair.client.get(), options, report);
  measure(before, pair, report);
  if (options.stalled) options.stalled(pair.client.get());
  if (!report.failure.empty()) return report;
  // A sender that sleeps must be woken by the reader, and its byte comes last.
  std::string last(1, '\0');
  kPayload.fill(report.accepted, last);
  std::thread sender(
      [&] { [[maybe_unused]] const ssize_t n = ::send(pair.client.get(), last.data(), 1, MSG_NOSIGNAL); });
  drain(pair.server.get(), report.accepted + 1, report);
  if (!report.failure.empty()) ::shutdown(pair.client.get(), SHUT_RDWR);
  sender.join();
  return report;
}

}  // namespace underpass::test
