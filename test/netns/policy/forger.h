// SPDX-License-Identifier: Apache-2.0
// A forger on the same link as its victim: speaks TCP by raw frames, in the name of an address that is another pod's.
// It answers ARP and neighbour solicitations for that address, so what the server sends comes to it. The kernel of its
// own pod knows nothing of all this.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "test/support/eventually.h"
#include "test/support/pod_net.h"
#include "underpass/unique_fd.h"

namespace underpass::test {

class Forger {
 public:
  // Of the pod `attacker`, towards the pod `server`. Claims `as`, address and port of the victim, at once.
  Forger(const Place& attacker, const Place& server, Address as, Address to);
  ~Forger();
  Forger(const Forger&) = delete;
  Forger& operator=(const Forger&) = delete;

  // The link learns that `as` lives here.
  void poison() const;
  // A SYN with a sequence number of our own, with bytes on it for TCP Fast Open; again until it is answered. False: it
  // never is by a SYN-ACK.
  bool syn(const std::string& data = "", milliseconds deadline = seconds(5));
  // What completes the handshake, with bytes on it where there are any.
  void acknowledge(const std::string& data = "");
  bool connect(milliseconds deadline = seconds(5));
  void send(const std::string& data, bool urgent = false);
  void fin();
  void reset();

  // What came from the server since the SYN.
  [[nodiscard]] std::string payload() const;
  [[nodiscard]] bool was_reset() const { return reset_.load(); }
  // How much of what was sent the server's kernel says that it has.
  [[nodiscard]] std::uint32_t acknowledged() const;

 private:
  enum Flag : std::uint8_t { kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16, kUrg = 32 };

  void emit(std::uint8_t flags, std::uint32_t seq, const std::string& data) const;
  void listen();
  void take(const std::string& frame);
  void take_segment(const std::string& segment);
  void answer_arp(const std::string& frame) const;
  void answer_solicitation(const std::string& frame) const;
  void advertise(const std::string& to_mac, const std::string& to_ip, bool solicited) const;
  void send_frame(const std::string& frame) const;

  const Address as_;
  const Address to_;
  int link_ = 0;  // eth0
  std::string mac_;
  std::string server_mac_;
  UniqueFd socket_;
  std::uint32_t isn_ = 0;
  std::uint32_t next_ = 0;

  mutable std::mutex mutex_;
  std::optional<std::uint32_t> first_;  // the server's, once it has answered
  std::uint32_t expected_ = 0;
  std::uint32_t acked_ = 0;
  std::string payload_;
  std::atomic<bool> reset_ = false;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace underpass::test
