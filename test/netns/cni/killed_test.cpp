// SPDX-License-Identifier: Apache-2.0
// Installing and removing, killed before each of its system calls in turn: the folders are a working configuration at
// every moment, the next start completes what was begun, and removing leaves what was there.
#include <doctest/doctest.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <functional>
#include <map>
#include <string>

#include "test/netns/cni/scene.h"

namespace underpass::test {
namespace {

// Runs `body` in a child that is killed as it enters its nth system call. False where it ended before.
bool run_killed(int nth, const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    body();
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD);
  for (int stops = 0;;) {
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    REQUIRE(::waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      CHECK(WIFEXITED(status));
      return false;
    }
    const bool system_call = WSTOPSIG(status) == (SIGTRAP | 0x80);
    // Each has two stops, the odd ones as it is entered.
    if (system_call && ++stops == 2 * nth - 1) break;
  }
  ::kill(child, SIGKILL);
  REQUIRE(::waitpid(child, &status, 0) == child);
  return true;
}

class Folders {
 public:
  explicit Folders(const std::map<std::string, std::string>& files) : files_(files) {
    for (const auto* folder : {"net.d", "bin"}) {
      fs::remove_all(node_.root() / folder);
      fs::create_directory(node_.root() / folder);
    }
    fs::create_directory(node_.root() / "cache");
    for (const auto& [name, text] : files) std::ofstream(node_.root() / "net.d" / name) << text;
    first_ = node_.runtime().load();
  }

  [[nodiscard]] cni::InstallOptions options() const {
    auto options = node_.options();
    options.grace = milliseconds(0);
    // Small, so that it is written in one go.
    options.plugin = (node_.root() / "plugin").string();
    std::ofstream(options.plugin) << "#!/bin/true";
    return options;
  }

  void check_working() {
    const auto list = CniRuntime::load(node_.root() / "net.d");
    REQUIRE(list);
    CHECK(node_.runtime().has_programs(*list));
    CHECK(list->name == first_.name);
    auto types = list->types();
    if (types.back() == "underpass-cni") types.pop_back();
    CHECK(types == first_.types());
  }
  void check_as_before() const {
    std::map<std::string, std::string> now;
    for (const auto& entry : fs::directory_iterator(node_.root() / "net.d"))
      now[entry.path().filename()] = read_file(entry.path());
    CHECK(now == files_);
    CHECK(fs::is_empty(node_.root() / "bin"));
  }

 private:
  CniNode node_;
  std::map<std::string, std::string> files_;
  CniList first_;
};

void check_killed(const std::map<std::string, std::string>& files) {
  Folders folders(files);
  const auto options = folders.options();
  int calls = 0;
  for (bool killed = true; killed; ++calls) {
    killed = run_killed(calls + 1, [&] { cni::install_now(options); });
    folders.check_working();
    const auto state = cni::install_now(options);
    REQUIRE_MESSAGE(state.in_place, state.problem);
    folders.check_working();
    REQUIRE(cni::uninstall(options));
    folders.check_as_before();
  }
  CHECK(calls > 40);
  calls = 0;
  for (bool killed = true; killed; ++calls) {
    REQUIRE(cni::install_now(options).in_place);
    killed = run_killed(calls + 1, [&] { static_cast<void>(cni::uninstall(options)); });
    folders.check_working();
    REQUIRE(cni::uninstall(options));
    folders.check_as_before();
  }
  CHECK(calls > 40);
}

const std::string kList = R"({"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge"},{"type":"portmap"}]})";
const std::string kSingle = R"({"cniVersion":"0.4.0","name":"one","type":"bridge"})";

TEST_CASE("cni killed: anywhere in a list's installing and removing") {
  check_killed({{"10-net.conflist", kList}, {"20-one.conf", kSingle}});
}

TEST_CASE("cni killed: anywhere where a single plugin, *.conf, becomes a list and comes back") {
  check_killed({{"10-one.conf", kSingle}, {"20-net.conflist", kList}});
}

TEST_CASE("cni killed: anywhere where a single plugin, *.json, becomes a list and comes back") {
  check_killed({{"10-one.json", kSingle}, {"20-net.conflist", kList}});
}

}  // namespace
}  // namespace underpass::test
