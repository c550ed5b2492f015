// SPDX-License-Identifier: Apache-2.0
// Clients that ask without a pause over connections that they keep, as long as nobody tells them to close, and count
// what became of each request.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "test/netns/http/wire.h"

namespace underpass::test {

class Load {
 public:
  struct Tally {
    std::size_t answered = 0;
    std::size_t told_to_go = 0;       // by Connection: close
    std::vector<std::string> broken;  // why, of the first few
    std::size_t breaks = 0;
    std::vector<std::string> answered_paths;  // each asked once
  };

  // Each client's paths begin with `name`.
  Load(std::string name, const Place& from, const Place& to, std::uint16_t port, int clients);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  [[nodiscard]] Tally tally();
  // Waits for so many more answers; false: they do not come.
  [[nodiscard]] bool goes_on(std::size_t more = 300);
  Tally stop();

 private:
  void run(int client);
  void ask(std::optional<Wire>& wire, const std::string& path);

  const std::string name_;
  const Place from_, to_;
  const std::uint16_t port_;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  Tally tally_;
  std::vector<std::thread> threads_;
};

}  // namespace underpass::test
