// SPDX-License-Identifier: Apache-2.0
// cares_lookup NAME SERVER: resolves NAME by c-ares, the resolver of Node.js, curl and Envoy, and prints the address.
#include <ares.h>
#include <netdb.h>
#include <poll.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

void print(void* failed, int status, int /*timeouts*/, ares_addrinfo* result) {
  if (status != ARES_SUCCESS) {
    std::fprintf(stderr, "cares_lookup: %s\n", ares_strerror(status));
    return;
  }
  *static_cast<bool*>(failed) = false;
  for (const ares_addrinfo_node* node = result->nodes; node != nullptr; node = node->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    if (::getnameinfo(node->ai_addr, node->ai_addrlen, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) == 0)
      std::printf("%s\n", text.data());
  }
  ares_freeaddrinfo(result);
}

// Until no question is open.
void drive(ares_channel channel) {
  for (;;) {
    std::array<ares_socket_t, ARES_GETSOCK_MAXNUM> sockets{};
    const int mask = ares_getsock(channel, sockets.data(), ARES_GETSOCK_MAXNUM);
    std::vector<pollfd> waits;
    for (unsigned i = 0; i < sockets.size(); ++i) {
      const int events = (ARES_GETSOCK_READABLE(static_cast<unsigned>(mask), i) ? POLLIN : 0) |
                         (ARES_GETSOCK_WRITABLE(static_cast<unsigned>(mask), i) ? POLLOUT : 0);
      if (events != 0) waits.push_back({sockets[i], static_cast<short>(events), 0});
    }
    if (waits.empty()) return;
    if (::poll(waits.data(), waits.size(), 200) == 0) ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    for (const pollfd& wait : waits) {
      ares_process_fd(channel, (wait.revents & (POLLIN | POLLERR | POLLHUP)) != 0 ? wait.fd : ARES_SOCKET_BAD,
                      (wait.revents & POLLOUT) != 0 ? wait.fd : ARES_SOCKET_BAD);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: cares_lookup NAME SERVER\n");
    return 2;
  }
  ares_channel channel = nullptr;
  bool failed = true;
  if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS || ares_init(&channel) != ARES_SUCCESS ||
      ares_set_servers_csv(channel, argv[2]) != ARES_SUCCESS) {
    std::fprintf(stderr, "cares_lookup: cannot start\n");
    return 1;
  }
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_INET;
  hints.ai_flags = ARES_AI_NOSORT;
  ares_getaddrinfo(channel, argv[1], nullptr, &hints, print, &failed);
  drive(channel);
  ares_destroy(channel);
  ares_library_cleanup();
  return failed ? 1 : 0;
}
