// SPDX-License-Identifier: Apache-2.0
// A server of HBONE as tests have one: at port 15008 of any place, with any certificate. It remembers what it was sent,
// and answers as it is told. What comes through a tunnel is its own to answer too: there is no application behind.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "test/support/hbone_wire.h"
#include "test/support/pod_net.h"

namespace underpass::test {

class HboneServer {
 public:
  // A CONNECT that came.
  struct Request {
    Head head;
    std::vector<std::string> client_uris;  // of the client's certificate
    std::string client_ip;                 // the tunnel's own
    std::size_t connection = 0;            // numbered from 0

    [[nodiscard]] std::string field(std::string_view name) const { return field_of(head, name); }
    [[nodiscard]] std::string authority() const { return field(":authority"); }
  };

  // What it does with a CONNECT.
  struct Answer {
    std::string status = "200";  // empty: none, the tunnel hangs
    std::uint32_t refuse = 0;    // RST_STREAM with this code instead
  };

  struct Manners {
    TlsManners tls{};
    std::function<Answer(const Request&)> answer = [](const Request&) { return Answer{}; };
    // What goes back for bytes that came through a tunnel: themselves.
    std::function<std::string(std::string_view)> reply = [](std::string_view bytes) { return std::string(bytes); };
    int family = AF_INET;
  };

  HboneServer(const Place& place, Manners manners);
  ~HboneServer();
  HboneServer(const HboneServer&) = delete;
  HboneServer& operator=(const HboneServer&) = delete;

  [[nodiscard]] std::vector<Request> requests() const;
  [[nodiscard]] std::size_t connections() const;           // that TLS was spoken on
  [[nodiscard]] std::vector<std::string> refused() const;  // handshakes that failed, and how
  // To every connection that stands: GOAWAY, or the end without a word.
  void go_away();
  void cut();
  // From now on.
  void answer_with(std::function<Answer(const Request&)> answer);
  [[nodiscard]] Answer answer_to(const Request& request) const;

 private:
  void accept();
  void serve(UniqueFd fd);
  void turn(HboneWire& wire, std::size_t number, const std::string& client_ip);

  Manners manners_;
  UniqueFd listener_;
  mutable std::mutex mutex_;
  std::vector<Request> requests_;
  std::vector<std::string> refused_;
  std::size_t connections_ = 0;
  std::atomic<int> farewells_ = 0;  // go_away() that were asked for
  std::atomic<int> cuts_ = 0;
  std::atomic<bool> over_ = false;
  std::list<std::jthread> threads_;
  std::jthread acceptor_;
};

}  // namespace underpass::test
