// SPDX-License-Identifier: Apache-2.0
// How behaviours put into words what a system call did, and how they wait for what TCP leaves to chance: when bytes
// arrive, and in how many pieces.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "test/support/eventually.h"

namespace underpass::test {

// Longer than anything takes that comes at all, also on a busy machine.
inline constexpr milliseconds kPatience = seconds(4);
// Long enough for what comes at once; what has not come then is said not to come.
inline constexpr milliseconds kMoment = milliseconds(30);

// "5", or "EAGAIN" for -1.
std::string outcome(long result);
// "yes" or "no".
const char* yes(bool value);
// 'hello', or length and checksum where it is long or no text.
std::string quote(std::string_view bytes);
// "POLLIN|POLLRDHUP"; "nothing".
std::string poll_names(short events);
// poll() of one descriptor.
short poll_for(int fd, short events, milliseconds timeout);
// What poll() says as soon as one of `events` is there; "nothing" when it does not come.
std::string await_events(int fd, short events, milliseconds timeout = kPatience);

// recv() with one buffer: "5 'hello'", "0" or an errno.
std::string receive(int fd, std::size_t size, int flags);
// Waits until there is something, then receives without sleeping.
std::string receive_next(int fd, std::size_t size, int flags = 0);
// Waits until so many bytes can be peeked: what follows does not depend on when pieces arrive. Throws if they don't
// come.
void await_bytes(int fd, std::size_t size);
// Sends all of a short text without blocking; throws if it does not fit.
void say(int fd, std::string_view text);

// Bytes that know their place (test/support/payload.h), by key 7.
std::string payload(std::uint64_t offset, std::size_t size);
// Reads such bytes with polls until `total` have come (and then no more) or the stream ends:
// "100000 bytes, all right", ", then the end", ", then ECONNRESET", ", then nothing", ", byte 17 is wrong".
std::string read_payload(int fd, std::uint64_t total, std::size_t chunk = 65536);
// The same, and then what comes after them.
std::string read_payload_to_end(int fd, std::size_t chunk = 65536);
// Sends `total` such bytes in messages of `message` and reads them at the same time, in one thread and without
// blocking.
std::string transfer(int from, int to, std::uint64_t total, std::size_t message, std::size_t chunk = 65536);
// Sends such bytes without blocking until the kernel takes no more; returns how many.
std::uint64_t fill(int fd, std::size_t message);

// Runs `body` in a forked child that ends with it (with SIGKILL if the test goes first); the child's exit code.
class Child {
 public:
  explicit Child(const std::function<int()>& body);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  // The exit code; throws when it does not come.
  int wait();
  void kill9();

 private:
  int pid_ = -1;
};

}  // namespace underpass::test
