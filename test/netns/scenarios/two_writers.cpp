// SPDX-License-Identifier: Apache-2.0
#include "test/netns/scenarios/two_writers.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <thread>
#include <vector>

#include "test/support/payload.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

constexpr std::size_t kWriters = 2;

// What writer `writer` sends from `offset` on: its number in the top bit of every byte, so that each byte of the stream
// can be told to be whose, and seven bits that know their place.
void fill_of(std::size_t writer, std::uint64_t offset, std::span<char> out) {
  Payload(writer).fill(offset, out);
  for (char& byte : out) byte = static_cast<char>((byte & 0x7f) | (writer << 7));
}

std::size_t writer_of(char byte) { return static_cast<unsigned char>(byte) >> 7; }

// "" or why it failed.
std::string write_records(int fd, std::size_t writer, std::uint64_t count) {
  std::array<char, kRecordSize> record;
  for (std::uint64_t i = 0; i < count; ++i) {
    fill_of(writer, i * kRecordSize, record);
    const ssize_t n = ::send(fd, record.data(), record.size(), MSG_NOSIGNAL);
    if (n != kRecordSize) {
      return "record " + std::to_string(i) + " of writer " + std::to_string(writer) + ": send() returned " +
             std::to_string(n) + ": " + std::strerror(errno);
    }
  }
  return "";
}

// Takes the stream apart into the two writers' own.
class Judge {
 public:
  explicit Judge(RecordsReport& report) : report_(report) {}

  // False: something is wrong, and what follows would say no more.
  bool take(std::span<const char> bytes) {
    while (!bytes.empty()) {
      const std::size_t writer = writer_of(bytes.front());
      std::size_t n = 1;
      while (n < bytes.size() && writer_of(bytes[n]) == writer) ++n;
      if (writer != last_ && next_[last_] % kRecordSize != 0) ++report_.torn;
      last_ = writer;
      if (!take_run(writer, bytes.first(n))) return false;
      bytes = bytes.subspan(n);
    }
    return true;
  }

  [[nodiscard]] std::uint64_t next(std::size_t writer) const { return next_[writer]; }

 private:
  bool take_run(std::size_t writer, std::span<const char> bytes) {
    expected_.resize(bytes.size());
    fill_of(writer, next_[writer], expected_);
    if (std::memcmp(expected_.data(), bytes.data(), bytes.size()) != 0) {
      const std::size_t at =
          static_cast<std::size_t>(std::mismatch(bytes.begin(), bytes.end(), expected_.begin()).first - bytes.begin());
      report_.failure = "byte " + std::to_string(position_ + at) + " of the stream is of writer " +
                        std::to_string(writer) + " and not its byte " + std::to_string(next_[writer] + at);
      const std::uint64_t expected = (next_[writer] + at) / kRecordSize;
      if (expected * kRecordSize >= next_[writer]) {
        report_.failure += find_record(writer, expected, bytes.subspan(expected * kRecordSize - next_[writer]));
      }
      return false;
    }
    next_[writer] += bytes.size();
    position_ += bytes.size();
    report_.records = position_ / kRecordSize;
    return true;
  }

  // Which of the writer's records these bytes are, among those nearby.
  [[nodiscard]] static std::string find_record(std::size_t writer, std::uint64_t expected,
                                               std::span<const char> bytes) {
    if (bytes.size() < kRecordSize) return "";
    std::array<char, kRecordSize> record;
    for (std::uint64_t away = 0; away < 5000; ++away) {
      for (const bool later : {true, false}) {
        if (!later && away > expected) continue;
        const std::uint64_t number = later ? expected + away : expected - away;
        fill_of(writer, number * kRecordSize, record);
        if (std::memcmp(record.data(), bytes.data(), kRecordSize) != 0) continue;
        return "; it is record " + std::to_string(number) + ", " + std::to_string(away) +
               (later ? " later" : " earlier") + " than expected";
      }
    }
    return "";
  }

  RecordsReport& report_;
  std::array<std::uint64_t, kWriters> next_{};
  std::uint64_t position_ = 0;
  std::size_t last_ = 0;
  std::vector<char> expected_;
};

void read_records(int fd, std::uint64_t each, RecordsReport& report) {
  std::vector<char> buffer(1u << 16);
  Judge judge(report);
  Random random(1);
  while (true) {
    const ssize_t n = ::recv(fd, buffer.data(), random.log_uniform(1, buffer.size()), 0);
    if (n < 0 && errno == EAGAIN) continue;  // blocking_test.cpp looks at these
    if (n <= 0) break;
    if (!judge.take({buffer.data(), static_cast<std::size_t>(n)})) {
      ::shutdown(fd, SHUT_RDWR);
      return;
    }
    // Sometimes the reader falls behind, so that the writers meet a full queue.
    if (random.one_in(2000)) ::poll(nullptr, 0, 2);
  }
  for (std::size_t writer = 0; writer < kWriters; ++writer) {
    if (judge.next(writer) != each * kRecordSize) {
      report.failure = "the stream ends after " + std::to_string(judge.next(writer)) + " of " +
                       std::to_string(each * kRecordSize) + " bytes of writer " + std::to_string(writer);
    }
  }
}

}  // namespace

RecordsReport run_two_writers(const Place& client, const Place& server, int family, std::uint64_t bytes) {
  const Pair pair = make_pair_between(client, server, family, [](int fd) {
    set_option(fd, SOL_SOCKET, SO_SNDBUF, 4608);
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  });
  RecordsReport report;
  const std::uint64_t each = bytes / kRecordSize / kWriters;
  std::array<std::string, kWriters> failures;
  std::thread reader([&] { read_records(pair.server.get(), each, report); });
  std::vector<std::thread> writers;
  for (std::size_t i = 0; i < kWriters; ++i) {
    writers.emplace_back([&, i] { failures[i] = write_records(pair.client.get(), i, each); });
  }
  for (std::thread& writer : writers) writer.join();
  ::shutdown(pair.client.get(), SHUT_WR);
  reader.join();
  for (const std::string& failure : failures) {
    if (report.failure.empty()) report.failure = failure;
  }
  return report;
}

}  // namespace underpass::test
