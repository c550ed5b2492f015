// SPDX-License-Identifier: Apache-2.0
// A client that a test can kill: connects to ADDRESS PORT and sends the bytes of Payload(99) without end while it reads
// and throws away what comes. With "deaf" as third argument it does not read.
#include <poll.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "test/support/payload.h"
#include "test/support/pod_net.h"

int main(int argc, char** argv) {
  using namespace underpass::test;
  if (argc < 3) return 2;
  const Address to = Address::of(argv[1], static_cast<std::uint16_t>(std::atoi(argv[2])));
  const int fd = ::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(fd, to.get(), to.size) != 0) {
    std::perror("connect");
    return 1;
  }
  if (argc == 3) {
    std::thread([fd] {
      std::string buffer(65536, '\0');
      pollfd waiting{fd, POLLIN, 0};
      while (::poll(&waiting, 1, -1) == 1) [[maybe_unused]]
        const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    }).detach();
  }
  std::string bytes(5000, '\0');
  for (std::uint64_t offset = 0;; offset += bytes.size()) {
    // The reader catches up now and then, or everything might go by TCP.
    if (offset / bytes.size() % 64 == 0) ::poll(nullptr, 0, 2);
    Payload(99).fill(offset, bytes);
    if (::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size())) return 1;
  }
}
