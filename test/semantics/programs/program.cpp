// SPDX-License-Identifier: Apache-2.0
#include "test/semantics/programs/program.h"

#include <sys/socket.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "test/semantics/observe.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

// Lines of /proc/<pid>/net/tcp: "0: 0100007F:1F90 00000000:0000 0A …", 0A being LISTEN.
bool listens(pid_t pid, std::uint16_t port) {
  char wanted[8];
  std::snprintf(wanted, sizeof wanted, ":%04X", unsigned{port});
  for (const char* table : {"tcp", "tcp6"}) {
    std::istringstream lines(read_file("/proc/" + std::to_string(pid) + "/net/" + table));
    for (std::string line; std::getline(lines, line);) {
      std::istringstream cells(line);
      std::string number;
      std::string local;
      std::string remote;
      std::string state;
      cells >> number >> local >> remote >> state;
      if (state == "0A" && local.ends_with(wanted)) return true;
    }
  }
  return false;
}

Command in(const std::string& netns, Command command) {
  command.netns = netns;
  return command;
}

}  // namespace

void need_program(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    if (!fs::exists(name)) throw Skip(name + " is not installed");
    return;
  }
  std::istringstream folders(std::string(std::getenv("PATH")) + ":/usr/sbin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (fs::exists(fs::path(folder) / name)) return;
  }
  throw Skip(name + " is not installed");
}

Server::Server(const Scene& scene, Command command, std::uint16_t port)
    : process_(in(scene.stage().server.netns, std::move(command))) {
  if (eventually(seconds(60), [&] { return !process_.running() || listens(process_.pid(), port); }) &&
      process_.running()) {
    return;
  }
  throw std::runtime_error("the server does not listen: " + process_.out() + process_.err());
}

Server::~Server() {
  process_.signal(SIGINT);
  (void)process_.wait(seconds(10));
}

std::string run_client(const Scene& scene, Command command, milliseconds deadline) {
  const Finished done = run(in(scene.stage().client.netns, std::move(command)), deadline);
  return done.exit.ok() ? done.out : "failed: " + done.exit.to_string() + ": " + done.out + done.err;
}

std::string server_ip(const Scene& scene) { return scene.stage().server.ip(scene.stage().family); }

std::string url_host(const Scene& scene) {
  return scene.stage().family == AF_INET ? server_ip(scene) : "[" + server_ip(scene) + "]";
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  if (!file.flush()) throw std::runtime_error("write " + path.string());
}

}  // namespace underpass::test
