// SPDX-License-Identifier: Apache-2.0
// The programs that play a server or a client of HTTP in a pod.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "test/netns/http/ways.h"
#include "test/support/process.h"

namespace underpass::test {

// Starts it in that pod's place, and waits until `port` can be dialled from there.
Process start_server(const Place& place, std::vector<std::string> argv, std::uint16_t port);
// A client that is to end well; what it wrote.
std::string run_client(const Place& place, std::vector<std::string> argv, milliseconds deadline = seconds(60));

inline constexpr std::uint16_t kNginxPort = 8080;

// nginx in a pod: files of `folder`/files, uploads by PUT to /up/, and what its configuration says more.
class Nginx {
 public:
  Nginx(const HttpGround& ground, const char* pod, const std::string& more_locations = "");

  [[nodiscard]] const std::filesystem::path& files() const { return files_; }
  [[nodiscard]] std::string url(const std::string& path) const { return base_ + path; }
  // Its lines, as "METHOD URI STATUS BYTES CONNECTION": one of each request.
  [[nodiscard]] std::vector<std::string> log() const;

 private:
  std::filesystem::path folder_;
  std::filesystem::path files_;
  std::string base_;
  std::optional<Process> process_;
};

void write_file(const std::filesystem::path& path, const std::string& text);

}  // namespace underpass::test
