// SPDX-License-Identifier: Apache-2.0
// HTTP as languages have it in their own libraries: what a client sees of a server is the same with a worker between
// them, also where the worker translates between the versions of HTTP.
#include <doctest/doctest.h>

#include <functional>
#include <iostream>
#include <map>
#include <string>

#include "test/netns/http/programs.h"
#include "test/netns/http2/named_ground.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

using Argv = std::vector<std::string>;

fs::path put_program(const HttpGround& ground, const std::string& name) {
  const auto path = ground.scene.world.sandbox.root() / name;
  if (!fs::exists(path)) write_file(path, program_text(name));
  return path;
}

Argv with(Argv argv, const Argv& more) {
  argv.insert(argv.end(), more.begin(), more.end());
  return argv;
}

TEST_CASE("languages: Python's http.server, http.client and urllib") {
  const HttpGround ground;
  const Argv python{"/usr/bin/python3", put_program(ground, "web.py")};
  std::string right;
  ground.play(kAllWays, [&](const Way&, const Place& client, const Place& server) {
    const Process process = start_server(server, with(python, {"server", server.v4, "8091"}), 8091);
    const std::string said = run_client(client, with(python, {"client", server.v4, "8091"}));
    if (right.empty()) right = said;
    CHECK(said == right);
  });
  CHECK(right.contains("GET /here?x=1 200 OK"));
  CHECK(right.contains("urllib 200 /here?a=b%20c /here?a=b%20c\n"));
}

// Client and server of that version with nothing between them, and then each version to each port of b.
void check_versions(
    const NamedGround& ground,
    const std::function<Argv(const char* role, const char* version, const std::string& ip, std::uint16_t port)>& argv) {
  std::map<std::string, std::string> right;
  for (const char* version : {"1", "2"}) {
    const Place& far = ground.at("far");
    const std::uint16_t port = version[0] == '1' ? kHttp1Port : kHttp2Port;
    const Process process = start_server(far, argv("server", version, far.v4, port), port);
    right[version] = run_client(ground.at("out"), argv("client", version, far.v4, port));
    CAPTURE(right[version]);
    CHECK(right[version].contains("many"));
  }
  const Place& b = ground.at("b");
  const Process one = start_server(b, argv("server", "1", b.v4, kHttp1Port), kHttp1Port),
                two = start_server(b, argv("server", "2", b.v4, kHttp2Port), kHttp2Port);
  ground.play(kNamedWays, [&](const Way&, const Place& client, const Place& server) {
    for (const char* version : {"1", "2"}) {
      for (const std::uint16_t port : {kHttp1Port, kHttp2Port}) {
        CAPTURE(std::string(version));
        CAPTURE(port);
        CHECK(run_client(client, argv("client", version, server.v4, port)) == right[version]);
      }
    }
  });
}

TEST_CASE("languages: Node's http and http2") {
  if (is_skipped("Node's http and http2", "node")) return;
  const NamedGround ground;
  const std::string script = put_program(ground, "web.js");
  check_versions(ground, [&](const char* role, const char* version, const std::string& ip, std::uint16_t port) {
    return Argv{"node", script, role, version, ip, std::to_string(port)};
  });
}

TEST_CASE("languages: Go's net/http") {
  if (is_skipped("Go's net/http", "go")) return;
  const NamedGround ground;
  const std::string program = ground.scene.world.sandbox.root() / "web";
  const Finished built = run({.argv = {"go", "build", "-o", program, put_program(ground, "web.go")},
                              .env = {"GO111MODULE=off", "CGO_ENABLED=0"}},
                             seconds(200));
  if (!built.exit.ok()) {  // older than 1.25: no HTTP/2 without TLS, or no WaitGroup.Go
    std::cout << "SKIPPED: Go's net/http: " << built.err << "\n";
    return;
  }
  check_versions(ground, [&](const char* role, const char* version, const std::string& ip, std::uint16_t port) {
    return Argv{program, role, version, ip + ":" + std::to_string(port)};
  });
}

}  // namespace
}  // namespace underpass::test
