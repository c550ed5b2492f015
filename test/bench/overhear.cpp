// SPDX-License-Identifier: Apache-2.0
#include "test/bench/overhear.h"

#include <csignal>
#include <ctime>
#include <fstream>
#include <stdexcept>

#include "test/support/capture.h"

namespace underpass::bench {

void overhear(const std::string& netns, const std::string& device, const std::string& file) {
  sigset_t ends;
  ::sigemptyset(&ends);
  ::sigaddset(&ends, SIGTERM);
  ::sigaddset(&ends, SIGINT);
  ::sigprocmask(SIG_BLOCK, &ends, nullptr);
  test::Capture capture(netns, device);
  std::ofstream out(file, std::ios::binary);
  const timespec while_listening{.tv_sec = 0, .tv_nsec = 50'000'000};
  while (::sigtimedwait(&ends, nullptr, &while_listening) < 0) capture.take();
  capture.take();
  for (const std::string& packet : capture.packets()) out << packet;
  if (!out.flush()) throw std::runtime_error("cannot write " + file);
}

}  // namespace underpass::bench
