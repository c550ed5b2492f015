// SPDX-License-Identifier: Apache-2.0
#include "test/semantics/ground.h"

#include <boost/json.hpp>
#include <memory>

namespace underpass::test {
namespace {

std::unique_ptr<Ground>& the_ground() {
  static std::unique_ptr<Ground> ground;
  return ground;
}

}  // namespace

Ground::Ground() {
  world_.objects.put(NamespaceObject{"outside"});
  for (const char* name : {"outside-a", "outside-b"}) {
    world_.add_pod("outside", name);
    world_.wait_not_enrolled("outside", name);
  }
}

Stage Ground::stage(const std::string& client, const std::string& server, int family, bool server_sends) const {
  return {.client = world_.at(client), .server = world_.at(server), .family = family, .server_sends = server_sends};
}

void Ground::prepare_fresh() {
  const std::string ns = "fresh-" + std::to_string(++prepared_);
  world_.objects.put(NamespaceObject{ns, {.mesh = "enabled", .short_circuit = "auto"}});
  for (const char* end : {"-a", "-b"}) world_.add_pod(ns, ns + end);
}

Ground::Fresh::Fresh(Ground& ground)
    : ground_(ground), ns_("fresh-" + std::to_string(++ground.used_)), client_(ns_ + "-a"), server_(ns_ + "-b") {
  while (ground_.prepared_ < ground_.used_ + 2) ground_.prepare_fresh();
  for (const std::string& pod : {client_, server_}) ground_.world_.wait_enrolled(ns_, pod, "");
}

Ground::Fresh::~Fresh() {
  for (const std::string& pod : {client_, server_}) {
    ground_.world_.objects.remove_pod(ns_, pod);
    try {
      ground_.world_.net.remove(pod);
    } catch (const std::exception&) {
      // What is left goes with the run (test/support/traces.h).
    }
  }
  ground_.world_.objects.remove_namespace(ns_);
}

Stage Ground::Fresh::stage(int family, bool server_sends) const {
  return ground_.stage(client_, server_, family, server_sends);
}

// Of a pod whose peers are all kept on TCP nothing more is learned.
bool Ground::Fresh::learning() const {
  const std::string text = verdict();
  return !text.contains("off") && text.contains("learning");
}

std::string Ground::Fresh::verdict() const {
  std::string text;
  for (const boost::json::value& pod : ground_.world_.ctl.json({"pods"}).as_array()) {
    if (text_of(pod.at("namespace")) != ns_) continue;
    std::string one = text_of(pod.at("shortCircuit"));
    const boost::json::value* reason = pod.as_object().if_contains("shortCircuitReason");
    if (one == "off" && reason != nullptr) one += " (" + text_of(*reason) + ")";
    if (one != text) text += (text.empty() ? "" : ", ") + one;
  }
  return text;
}

Ground& ground() {
  if (!the_ground()) the_ground() = std::make_unique<Ground>();
  return *the_ground();
}

void leave_ground() { the_ground().reset(); }

}  // namespace underpass::test
