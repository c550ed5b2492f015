// SPDX-License-Identifier: Apache-2.0
// Two nodes on one machine: an agent each with a cgroup, pins and folders of its own, and a bridge whose pods reach
// those of the other. Both read the same objects and have the same authority, which is the test's: so a test can play a
// pod of a third node, with a certificate that is as good as theirs, or worse.
#pragma once

#include <boost/json/value.hpp>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "test/support/capture.h"
#include "test/support/process.h"
#include "test/support/sockets.h"
#include "test/support/temp_folder.h"
#include "test/support/test_ca.h"
#include "test/support/tls_end.h"
#include "test/support/world.h"

namespace underpass::test {

inline constexpr int kFamilies[] = {AF_INET, AF_INET6};

class TwoNodes {
 public:
  struct Node {
    Node(int number, const Agent::Options& options);

    std::string name;
    Sandbox sandbox;
    PodNet net;
    Agent agent;
    Ctl ctl{sandbox};
    Pinned pinned{sandbox};
  };

  struct Options {
    std::vector<std::string> more{};  // arguments of both agents
    bool own_ca = false;              // the agents make one of their own
    std::string watchpoints = "always";
    std::string output{};     // file for the access logs; empty: kept, for lines()
    std::string mesh_spec{};  // of the object Mesh/default; empty: there is none
  };

  // "client" of node one and "server" of node two, both of namespace "shop" and with accounts of these names, wait for
  // each other's tunnels; "out" of node one and "far" of node two are outside the mesh.
  TwoNodes() : TwoNodes(Options{}) {}
  explicit TwoNodes(const Options& options);

  struct PodOptions {
    Settings settings{};
    Strings annotations{};
    std::string account{};  // empty: as the pod's name
  };
  // A pod of that node with label app: NAME.
  const Place& add(Node& node, const std::string& ns, const std::string& name) { return add(node, ns, name, {}); }
  const Place& add(Node& node, const std::string& ns, const std::string& name, const PodOptions& options);
  void put_pod(const Node& node, const std::string& ns, const std::string& name, const PodOptions& options) const;
  // A pod of a third node, which the test plays itself. It is in node one's net.
  const Place& add_foreign(const std::string& ns, const std::string& name);

  [[nodiscard]] const Place& at(const std::string& name) const { return places_.at(name); }
  [[nodiscard]] TlsManners as(const std::string& ns, const std::string& account) const {
    return {.svid = ca.svid(ns, account), .roots = ca.root()};
  }

  // Its worker is there, with a listener for tunnels. Throws with the agent's log.
  void wait_tunnels(const Node& node, const std::string& pod) const;
  // `node` reaches that pod through a tunnel, or does not any more.
  void wait_remote(const Node& node, const std::string& pod, bool is = true) const;

  // kind PeerAuthentication of "shop", for pods with label app: `pod` if that is not empty. `spec`: JSON of its other
  // members, such as "mtls": {"mode": "STRICT"}.
  void put_authentication(const std::string& pod, const std::string& spec) const;
  // kind AuthorizationPolicy of "shop" for `pod`: {"action": …, "rules": […]} as JSON members.
  void put_policy(const std::string& name, const std::string& pod, const std::string& spec) const;

  // Lines of the access log of this node, with that member "destination.pod".
  [[nodiscard]] static std::vector<boost::json::value> lines(const Node& node, const std::string& destination);
  [[nodiscard]] std::vector<pid_t> workers(const Node& node, const std::string& ns) const;
  // What its agent's metrics say.
  [[nodiscard]] std::string metrics(const Node& node) const;
  [[nodiscard]] std::string logs() const;

  // A place for a test's own files.
  [[nodiscard]] std::filesystem::path folder(const std::string& name) const { return shared_ / name; }

  TestCa ca;

 private:
  TempFolder shared_{"mtls"};

 public:
  const std::filesystem::path ca_dir = shared_ / "ca";
  Objects objects{shared_ / "objects"};
  Node one;
  Node two;
  const std::string wire;  // the device between the two, in node one's network namespace

 private:
  [[nodiscard]] bool is_remote(const Node& node, const std::string& pod) const;

  std::map<std::string, Place> places_;
};

// A program of that pod, which runs to its end well; what it wrote.
std::string run_at(const Place& place, std::vector<std::string> argv, milliseconds deadline = seconds(60));
// curl of that pod: the answer's body, and behind it its status in round brackets. "(000)": no answer.
std::string curl_at(const Place& place, const std::string& url, const std::vector<std::string>& more = {});
std::string url_of(const Place& server, int family, std::uint16_t port, const std::string& path = "/");

inline constexpr std::uint16_t kWebPort = 8080;
inline constexpr const char* kWebSays = "what the web server says";

// nginx in a pod, on both of its addresses.
Process start_web(const Place& place, const std::filesystem::path& folder);
// haproxy in a pod, a reverse proxy on port 8080 for the server's port 8080.
Process start_gateway(const Place& place, const Place& server, const std::filesystem::path& folder);

// Bytes both ways over a connection of that client to a listener of that server; how the dial ended, if it did.
std::string dial_and_talk(const Place& client, const Place& server, int family, const std::string& words = "hello");
// dial_and_talk() comes to end so: "" for well.
bool eventually_ends(const std::function<std::string()>& how, const std::string& wanted,
                     milliseconds deadline = seconds(15));

}  // namespace underpass::test
