// SPDX-License-Identifier: Apache-2.0
// The agent's end of a worker's control socket, and what its BPF programs answer in the product: here every connection
// wants to go to one place that the test names.
#pragma once

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "test/support/eventually.h"
#include "test/support/temp_folder.h"
#include "test/unit/proxy_tcp.h"
#include "underpass/packet_socket.h"
#include "underpass/routing_table_json.h"
#include "underpass/worker_codec.h"
#include "userspace_proxy/control/worker.h"

namespace underpass::test {

inline constexpr NetnsCookie kPod = 4711;
inline constexpr seconds kLong(20);

class FakePeers final : public session::Peers {
 public:
  bool ask(int, up_peer& peer) override {
    if (unknown) return false;
    peer = {};
    peer.id = ++asked;
    peer.client_netns = 77;
    peer.identity = 2;
    peer.direction = UP_INBOUND;
    peer.client_port = htons(5555);
    peer.client = IpAddress::parse("10.0.0.9")->to_abi();
    const std::lock_guard lock(mutex_);
    peer.server = target_.addr;
    peer.server_port = htons(target_.port);
    std::snprintf(peer.client_namespace, sizeof(peer.client_namespace), "shop");
    std::snprintf(peer.client_pod, sizeof(peer.client_pod), "web-0");
    return true;
  }
  bool announce(int, std::uint64_t id) override {
    errno = EPERM;
    announced = id;
    return !refuses;
  }
  bool announce_errand(int) override { return !refuses; }
  bool announce_client(int, const up_tunnelled&) override { return !refuses; }
  void lead_to(const Place4& target) {
    const std::lock_guard lock(mutex_);
    target_ = target;
  }

  std::atomic<bool> unknown = false;
  std::atomic<bool> refuses = false;
  std::atomic<std::uint64_t> asked = 0;
  std::atomic<std::uint64_t> announced = 0;

 private:
  std::mutex mutex_;
  Place4 target_;
};

inline UniqueFd make_memfd(std::string_view text,
                           int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) {
  UniqueFd fd(::memfd_create("config", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  require(static_cast<bool>(fd), "memfd_create");
  write_all(fd.get(), text);
  require(::fcntl(fd.get(), F_ADD_SEALS, seals) == 0, "seal");
  return fd;
}

// The agent's end. A thread of it reads, keeps what it read, and answers Want with sockets while `answers` is set.
class FakeAgent {
 public:
  explicit FakeAgent(UniqueFd socket) : socket_(std::move(socket)), thread_([this] { read(); }) {}
  ~FakeAgent() { close(); }
  FakeAgent(const FakeAgent&) = delete;
  FakeAgent& operator=(const FakeAgent&) = delete;

  void close() {
    stopped_ = true;
    ::shutdown(socket_.get(), SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
    socket_.reset();
  }

  void send(const worker::Message& message, const std::vector<int>& fds = {}) const {
    send_text(worker::encode(message), fds);
  }
  void send_text(const std::string& text, const std::vector<int>& fds = {}) const {
    const auto sent = send_packet(socket_.get(), text, fds);
    if (!sent || !*sent) throw std::runtime_error("the agent cannot send");
  }
  void send_config(const RoutingTable& table) const {
    const std::string text = to_text(table);
    const auto memfd = make_memfd(text);
    send(worker::Config{.revision = table.revision, .size = text.size()}, {memfd.get()});
  }
  void send_dials(bool v6, std::uint64_t count) const {
    std::vector<UniqueFd> sockets;
    std::vector<int> fds;
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(count, worker::kMaxDescriptors); ++i) {
      sockets.emplace_back(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      set_on(sockets.back().get(), IPPROTO_TCP, TCP_NODELAY);
      fds.push_back(sockets.back().get());
    }
    send(worker::Dials{.netns = kPod, .v6 = v6}, fds);
  }

  // The next message of this kind that was not looked at yet; none in time: an exception.
  template <typename Kind>
  Kind wait_for(std::vector<UniqueFd>* fds = nullptr) {
    std::optional<Kind> found;
    const bool came = eventually(kLong, [&] {
      const std::lock_guard lock(mutex_);
      const auto at =
          std::ranges::find_if(received_, [](const auto& item) { return std::holds_alternative<Kind>(item.message); });
      if (at == received_.end()) return false;
      found = std::get<Kind>(at->message);
      if (fds != nullptr) *fds = std::move(at->fds);
      received_.erase(at);
      return true;
    });
    if (!came) throw std::runtime_error("the worker does not say what the test waits for");
    return *found;
  }
  // A report for which `holds`.
  template <typename Holds>
  worker::Report wait_for_report(Holds holds) {
    for (;;)
      if (auto report = wait_for<worker::Report>(); holds(report)) return report;
  }
  [[nodiscard]] bool hung_up_on() const { return ended_; }

  std::atomic<bool> answers = true;

 private:
  struct Item {
    worker::Message message;
    std::vector<UniqueFd> fds;
  };

  void read() {
    while (!stopped_ && !ended_) {
      readable(socket_.get(), milliseconds(100));
      auto packet = receive_packet(socket_.get());
      if (packet && !*packet) continue;
      if (!packet || (*packet)->is_end()) {
        ended_ = true;
        return;
      }
      auto message = worker::decode((*packet)->text);
      if (!message) throw std::runtime_error(message.error().message);
      if (const auto* want = std::get_if<worker::Want>(&*message); want != nullptr && answers) {
        try {
          send_dials(want->v6, want->count);
        } catch (const std::runtime_error&) {
          // The worker has hung up meanwhile, for a later agent: what is read next says so.
        }
      }
      const std::lock_guard lock(mutex_);
      received_.push_back({std::move(*message), std::move((*packet)->fds)});
    }
  }

  UniqueFd socket_;
  std::atomic<bool> stopped_ = false;
  std::atomic<bool> ended_ = false;
  std::mutex mutex_;
  std::vector<Item> received_;
  std::thread thread_;
};

inline sockaddr_un control_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return address;
}

// As an agent that comes later.
inline UniqueFd connect_to_control(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const auto address = control_address(path);
  require(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0, "connect " + path);
  return fd;
}

inline UniqueFd bind_control(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const auto address = control_address(path);
  require(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0, "bind " + path);
  return fd;
}

}  // namespace underpass::test
