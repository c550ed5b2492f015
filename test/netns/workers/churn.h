// SPDX-License-Identifier: Apache-2.0
// Short connections in the background, one after the other at a given rate, each counted by how it ended: connect, four
// bytes there and back, close.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "test/support/pod_net.h"
#include "underpass/unique_fd.h"

namespace underpass::test {

// Accepts whatever comes to the listener, and sends back what it hears.
class EchoServer {
 public:
  explicit EchoServer(UniqueFd listener);
  ~EchoServer();
  EchoServer(const EchoServer&) = delete;
  EchoServer& operator=(const EchoServer&) = delete;

  [[nodiscard]] const Address& address() const { return address_; }

 private:
  void run(const std::atomic<bool>& stop);

  UniqueFd listener_;
  Address address_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

class Churn {
 public:
  struct Tally {
    std::uint64_t served = 0;
    std::uint64_t broken = 0;            // connected, and then ended before the answer
    std::uint64_t hung = 0;              // nothing came of it for kPatience
    std::map<std::string, int> refused;  // connect() failed, by error

    [[nodiscard]] std::string to_string() const;
  };

  Churn(const Place& from, const Address& to, unsigned per_second);
  ~Churn();
  Churn(const Churn&) = delete;
  Churn& operator=(const Churn&) = delete;

  [[nodiscard]] Tally tally();
  Tally stop();

 private:
  void run(std::chrono::microseconds every);
  void connect_once();

  const Place from_;
  const Address to_;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  Tally tally_;
  std::vector<std::thread> threads_;
};

}  // namespace underpass::test
