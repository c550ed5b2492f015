// SPDX-License-Identifier: Apache-2.0
// Real programs between two pods: servers that are waited for, clients that run to their end, and what a machine may
// lack.
#pragma once

#include <string>
#include <vector>

#include "test/semantics/scene.h"
#include "test/support/process.h"

namespace underpass::test {

// Throws Skip unless the program is installed.
void need_program(const std::string& name);

// A server in the stage's server pod, listening on `port`. Each pod is a network namespace, so ports are its own.
class Server {
 public:
  Server(const Scene& scene, Command command, std::uint16_t port);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

 private:
  Process process_;
};

// Runs a client in the stage's client pod: what it wrote, or "failed: how, and what it said".
std::string run_client(const Scene& scene, Command command, milliseconds deadline = seconds(60));

// "10.77.0.1", "[fd00:77::1]": the server's address as it stands in a URL.
std::string url_host(const Scene& scene);
std::string server_ip(const Scene& scene);

void write_file(const std::filesystem::path& path, std::string_view text);

}  // namespace underpass::test
