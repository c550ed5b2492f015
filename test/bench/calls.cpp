// SPDX-License-Identifier: Apache-2.0
#include "test/bench/calls.h"

#include <sys/socket.h>
#include <unistd.h>

#include <vector>

#include "test/bench/transfer.h"
#include "test/support/files.h"
#include "test/support/sockets.h"

namespace underpass::bench {
namespace {

using Clock = std::chrono::steady_clock;

// A batch is timed as one and takes 10 to 100 µs: long against reading the clock, short against the time between two
// interrupts or preemptions, so that the median batch met none.
constexpr int kConnections = 16;
constexpr int kMessages = 32;  // queued before they are read: 2 KiB, far from any buffer's end
constexpr int kLargeMessages = 4;
constexpr int kCheapCalls = 512;
constexpr int kBatches = 16;  // on one connection, after as many that warm up: windows and buffers grow

// Nanoseconds of `count` calls of `call`, each.
template <typename F>
double time_each(int count, F&& call) {
  const auto begin = Clock::now();
  for (int i = 0; i < count; ++i) call(i);
  return std::chrono::duration<double, std::nano>(Clock::now() - begin).count() / count;
}

class Samples {
 public:
  void add(Call call, double nanoseconds) { of_call_[static_cast<std::size_t>(call)].push_back(nanoseconds); }
  [[nodiscard]] Numbers medians() const {
    Numbers out;
    for (const Numbers& values : of_call_) out.push_back(median(values));
    return out;
  }

 private:
  std::array<Numbers, kCalls.size()> of_call_;
};

// Closed by RST, so that no TIME_WAIT fills the table that the next connect() searches.
void close_hard(UniqueFd& fd) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  fd.reset();
}

void connect_and_accept(const UniqueFd& listener, Samples& samples) {
  const test::Address server = test::local_address(listener.get());
  std::array<UniqueFd, kConnections> clients;
  std::array<UniqueFd, kConnections> accepted;
  for (UniqueFd& fd : clients) fd = test::socket_in("", server.family(), SOCK_STREAM);
  samples.add(Call::kConnect, time_each(kConnections, [&](int i) {
                if (::connect(clients[static_cast<std::size_t>(i)].get(), server.get(), server.size) != 0) {
                  test::throw_errno("connect");
                }
              }));
  samples.add(Call::kAccept, time_each(kConnections, [&](int i) {
                const int fd = ::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
                accepted[static_cast<std::size_t>(i)].reset(fd);
              }));
  for (UniqueFd& fd : clients) close_hard(fd);
}

// Queues `messages`, then reads them, again and again. `done` gets what a send() and a recv() took in each batch.
template <typename F>
void send_and_receive(const UniqueFd& from, const UniqueFd& to, int messages, std::size_t bytes, F&& done) {
  std::vector<std::byte> buffer(bytes);
  for (int batch = 0; batch < 2 * kBatches; ++batch) {
    const double send_ns = time_each(messages, [&](int) { write_all(from, buffer); });
    const double recv_ns = time_each(messages, [&](int) { Reader(to).all(buffer); });
    if (batch >= kBatches) done(send_ns, recv_ns);
  }
}

void over_tcp(const UniqueFd& listener, Samples& samples) {
  UniqueFd client = test::connect_from({}, test::local_address(listener.get()));
  const UniqueFd server = accept_one(listener);
  set_nodelay(client);
  send_and_receive(client, server, kMessages, kSmallBytes, [&](double send_ns, double recv_ns) {
    samples.add(Call::kSend, send_ns);
    samples.add(Call::kRecv, recv_ns);
  });
  send_and_receive(client, server, kLargeMessages, kLargeBytes,
                   [&](double, double recv_ns) { samples.add(Call::kRecvLarge, recv_ns); });
  close_hard(client);
}

void over_unix(Samples& samples) {
  std::array<int, 2> fds{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) != 0) test::throw_errno("socketpair");
  const UniqueFd from(fds[0]);
  const UniqueFd to(fds[1]);
  send_and_receive(from, to, kMessages, kSmallBytes,
                   [&](double, double recv_ns) { samples.add(Call::kRecvUnix, recv_ns); });
}

Numbers medians_over(Seconds duration) {
  Samples samples;
  const auto end = Clock::now() + duration;
  do {
    const UniqueFd listener = test::listen_at({}, AF_INET);
    for (int i = 0; i < kBatches; ++i) connect_and_accept(listener, samples);
    over_tcp(listener, samples);
    over_unix(samples);
    samples.add(Call::kGetppid, time_each(kCheapCalls, [](int) { ::getppid(); }));
  } while (Clock::now() < end);
  return samples.medians();
}

}  // namespace

CallMeter::CallMeter(const Place& place)
    : child_(place, [](Channel& parent) {
        while (true) parent.send(medians_over(Seconds(parent.receive(std::chrono::hours(1)).at(0))));
      }) {}

std::map<Call, double> CallMeter::measure(Seconds duration) {
  child_.channel().send({duration.count()});
  const Numbers medians = child_.channel().receive();
  std::map<Call, double> out;
  for (const Call call : kCalls) out[call] = medians.at(static_cast<std::size_t>(call));
  return out;
}

}  // namespace underpass::bench
