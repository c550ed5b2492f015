// SPDX-License-Identifier: Apache-2.0
// What a worker is left with beside its sockets: what it may ask of the kernel, as a hostile one finds it, and how a
// real one looks from outside.
#include <doctest/doctest.h>

#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "test/netns/hostile/stage.h"
#include "test/netns/hostile/system_calls.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

constexpr std::uint64_t kMemoryLimit = 512ull << 20;

std::map<std::string, std::string> status_of(pid_t pid) {
  std::map<std::string, std::string> out;
  std::istringstream lines(read_file("/proc/" + std::to_string(pid) + "/status"));
  for (std::string line; std::getline(lines, line);)
    if (const auto colon = line.find(":\t"); colon != std::string::npos)
      out[line.substr(0, colon)] = line.substr(colon + 2);
  return out;
}

std::string link_of(pid_t pid, const std::string& what) {
  return fs::read_symlink("/proc/" + (pid == 0 ? "self" : std::to_string(pid)) + "/" + what).string();
}

// The file that says how much memory the process and those of its cgroup may take: of v2, or of v1.
std::uint64_t memory_limit_of(pid_t pid, const fs::path& cgroup) {
  if (fs::exists(cgroup / "memory.max")) return std::strtoull(read_file(cgroup / "memory.max").c_str(), nullptr, 10);
  std::istringstream lines(read_file("/proc/" + std::to_string(pid) + "/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const auto at = line.find(":memory:");
    if (at == std::string::npos) continue;
    const fs::path folder = "/sys/fs/cgroup/memory" + line.substr(at + 8);
    CHECK(folder.filename() == cgroup.filename());
    return std::strtoull(read_file(folder / "memory.limit_in_bytes").c_str(), nullptr, 10);
  }
  return 0;
}

TEST_CASE("hostile confinement: no system call leads out") {
  const Stage stage;
  const UniqueFd listener = listen_at(stage.at("out"), AF_INET);
  const Dialogue talk(stage.at("a"), local_address(listener.get()));
  for (const auto& name : system_call_tries()) {
    CAPTURE(name);
    CHECK(talk.ask("call " + name) == (name == "clone3" ? "ENOSYS" : "EPERM"));
  }
}

TEST_CASE("hostile confinement: a real worker from outside") {
  const Stage stage;
  const pid_t pid = stage.scene.worker_pid("bank");
  auto status = status_of(pid);
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
    CAPTURE(set);
    CHECK(status[set] == "0000000000000000");
  }
  CHECK(status["NoNewPrivs"] == "1");
  CHECK(status["Seccomp"] == "2");
  CHECK(status["Uid"] == "65534\t65534\t65534\t65534");
  CHECK(status["Gid"] == "65534\t65534\t65534\t65534");
  CHECK(status["Groups"].find_first_not_of(' ') == std::string::npos);
  CHECK(fs::is_empty("/proc/" + std::to_string(pid) + "/root/"));

  std::set<std::string> networks{link_of(0, "ns/net"), link_of(stage.scene.worker_pid("shop"), "ns/net")};
  for (const char* pod : {"a", "b", "c", "out"})
    run_in_netns(stage.at(pod).netns, [&] { networks.insert(fs::read_symlink("/proc/thread-self/ns/net")); });
  CHECK(networks.size() == 6);
  CHECK_FALSE(networks.contains(link_of(pid, "ns/net")));
  for (const char* space : {"ns/mnt", "ns/pid", "ns/ipc", "ns/uts", "ns/cgroup"}) {
    CAPTURE(space);
    CHECK(link_of(pid, space) != link_of(0, space));
    CHECK(link_of(pid, space) != link_of(stage.scene.worker_pid("shop"), space));
  }
  // Nothing of the node is open in it: sockets, memory, the log and what waits.
  for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    const std::string open = fs::read_symlink(entry.path()).string();
    CAPTURE(open);
    CHECK((open.starts_with("socket:") || open.starts_with("pipe:") || open.starts_with("anon_inode:") ||
           open == "/dev/null" || open.starts_with("/memfd:std")));  // the last: the log of an agent in a test
  }
  CHECK(memory_limit_of(pid, stage.scene.world.sandbox.cgroup() / "underpass/worker-bank") == kMemoryLimit);
}

TEST_CASE("hostile confinement: a worker that takes too much memory is killed and another comes; nobody else notices") {
  const Stage stage;
  const UniqueFd listener = listen_at(stage.at("out"), AF_INET);
  const Pair of_bank = make_pair_between(stage.at("c"), stage.at("out"), AF_INET);
  const pid_t before = stage.scene.worker_pid("shop"), bank = stage.scene.worker_pid("bank");
  REQUIRE(memory_limit_of(before, stage.scene.world.sandbox.cgroup() / "underpass/worker-shop") == kMemoryLimit);
  {
    const Dialogue talk(stage.at("a"), local_address(listener.get()));
    talk.tell("eat 700");
    REQUIRE(readable(talk.fd(), seconds(30)));
    char byte = 0;
    CHECK(::recv(talk.fd(), &byte, 1, 0) <= 0);
  }
  CHECK(eventually(seconds(10), [&] {
    const auto now = stage.scene.worker("shop");
    return now.size() == 1 && now.front() != before;
  }));
  CHECK(stage.scene.world.agent.log().contains("killed by signal 9"));
  CHECK(stage.scene.worker_pid("bank") == bank);
  exchange(of_bank.client.get(), of_bank.server.get(), 2);
  stage.check_bank_is_served();
  const Dialogue again(stage.at("a"), local_address(listener.get()));
  CHECK(again.ask("peer").starts_with("id="));
}

}  // namespace
}  // namespace underpass::test
