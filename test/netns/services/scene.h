// SPDX-License-Identifier: Apache-2.0
// Pods behind a Service: "web-1" and "web-2" of namespace "shop", labelled app: web, each with a Responder that says
// the pod's name; "a", the world's, asks. The Service itself is each test's own.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "test/netns/services/client.h"
#include "test/netns/services/responder.h"
#include "test/support/service_tables.h"
#include "test/support/world.h"

namespace underpass::test {

inline constexpr const char* kVip4 = "10.96.0.1";
inline constexpr const char* kVip6 = "fd00:96::1";
inline constexpr std::uint16_t kTarget = 8080;  // where the pods listen, by name "web" (TCP) and "web-udp"

// Enrolled, everything by TCP.
inline const Settings kPlainTcp{.mesh = "enabled", .short_circuit = "off"};

class Scene {
 public:
  explicit Scene(const Settings& settings = kPlainTcp);

  // A pod with a Responder, behind the Services that select app: web.
  void add_backend(const std::string& name, const Settings& settings = {});
  // Its object; to be changed and put().
  [[nodiscard]] PodObject backend_object(const std::string& name) const;
  void set_ready(const std::string& name, bool ready);
  // Its Responder alone goes.
  void silence(const std::string& name) { responders_.erase(name); }
  [[nodiscard]] Responder& responder(const std::string& name) { return *responders_.at(name); }

  // Ports http 80, named 81 → "web", both TCP, and dns 53/UDP; both families.
  [[nodiscard]] static ServiceObject web_service();
  // Waits until connect() finds just these pods there; throws with what it finds.
  void wait_backends(const Address& at, const std::set<std::string>& pods, std::uint8_t protocol = IPPROTO_TCP) const;
  // Puts the Service, and waits for its port 80 (TCP) and 53 (UDP) in both families.
  void put_and_wait(const ServiceObject& service, const std::set<std::string>& pods) const;
  void wait_gone(const Address& at, std::uint8_t protocol = IPPROTO_TCP) const;

  [[nodiscard]] const Place& client() const { return world.at("a"); }
  [[nodiscard]] ServiceTables tables() const { return ServiceTables(world.sandbox); }

  World world;

 private:
  std::map<std::string, std::unique_ptr<Responder>> responders_;
};

}  // namespace underpass::test
