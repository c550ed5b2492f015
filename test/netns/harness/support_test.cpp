// SPDX-License-Identifier: Apache-2.0
// The ground the other tests stand on: sandboxes, pods, processes, and that nothing of them stays behind.
#include <doctest/doctest.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>

#include "test/support/files.h"
#include "test/support/kernel_memory.h"
#include "test/support/objects.h"
#include "test/support/pinned.h"
#include "test/support/pod_net.h"
#include "test/support/process.h"
#include "test/support/sandbox.h"
#include "test/support/sockets.h"
#include "test/support/supervisor.h"
#include "test/support/tasks.h"
#include "test/support/traces.h"

namespace underpass::test {
namespace {

TEST_CASE("a process is started, fed, heard and reaped") {
  CHECK(run_ok({.argv = {"cat"}, .input = "words"}) == "words");
  const Finished failed = run({{"sh", "-c", "echo oops >&2; exit 3"}});
  CHECK(failed.exit.code == 3);
  CHECK(failed.err == "oops\n");
  CHECK(run_ok({.argv = {"sh", "-c", "echo $COLOUR"}, .env = {"COLOUR=blue"}}) == "blue\n");
  CHECK_THROWS_WITH_AS(run({{"no-such-program"}}), "program no-such-program: not found in PATH", std::runtime_error);
  Process sleeper({{"sleep", "1000"}});
  const pid_t pid = sleeper.pid();
  CHECK_FALSE(sleeper.wait(milliseconds(0)));
  sleeper.signal(SIGTERM);
  const std::optional<Exit> exit = sleeper.wait(seconds(5));
  REQUIRE(exit);
  CHECK(exit->signal == SIGTERM);
  CHECK(::kill(pid, 0) != 0);
}

TEST_CASE("a process can lose a capability for good") {
  const std::string status =
      run_ok({.argv = {"cat", "/proc/self/status"}, .drop_capabilities = {CAP_SYS_ADMIN, CAP_BPF}});
  const std::size_t at = status.find("CapEff:");
  REQUIRE(at != std::string::npos);
  const std::uint64_t effective = std::stoull(status.substr(at + 7), nullptr, 16);
  CHECK((effective & (1ull << CAP_SYS_ADMIN)) == 0);
  CHECK((effective & (1ull << CAP_BPF)) == 0);
  CHECK((effective & (1ull << CAP_NET_ADMIN)) != 0);
}

TEST_CASE("a sandbox has a cgroup and a bpffs, and leaves neither") {
  fs::path cgroup;
  fs::path root;
  {
    const Sandbox sandbox;
    cgroup = sandbox.cgroup();
    root = sandbox.root();
    CHECK(read_file("/proc/self/cgroup").find(cgroup.filename().string() + "\n") != std::string::npos);
    CHECK(run_ok({{"cat", "/proc/self/cgroup"}}).find(cgroup.filename().string() + "\n") != std::string::npos);
    struct statfs about{};
    REQUIRE(::statfs(sandbox.bpffs().c_str(), &about) == 0);
    CHECK(about.f_type == 0xcafe4a11);
    CHECK(programs_at(cgroup).empty());
    fs::create_directories(cgroup / "inner" / "innermost");  // as an agent may leave them
  }
  CHECK_FALSE(fs::exists(cgroup));
  CHECK_FALSE(fs::exists(root));
  CHECK(read_file("/proc/self/cgroup").find(cgroup.filename().string()) == std::string::npos);
}

TEST_CASE("pods reach each other by IPv4 and IPv6, with addresses that other runs may use too") {
  PodNet one;
  PodNet two(PodNet::Bridge::kCurrentNamespace);
  for (PodNet* net : {&one, &two}) {
    const Place a = net->add("a");
    const Place b = net->add("b");
    CHECK(net->cookie("a") != net->cookie("b"));
    for (const int family : {AF_INET, AF_INET6}) {
      const Pair pair = make_pair_between(a, b, family);
      send_all(pair.client.get(), "hello");
      CHECK(receive_exactly(pair.server.get(), 5) == "hello");
    }
  }
  one.remove("b");
  CHECK_FALSE(fs::exists(one.at("a").netns + "x"));
  CHECK(fs::exists(one.at("a").netns));
}

TEST_CASE("a pod that is cut off loses packets and keeps its link") {
  PodNet net;
  const Place a = net.add("a");
  const Place b = net.add("b");
  const Pair pair = make_pair_between(a, b, AF_INET);
  net.cut("b");
  send_all(pair.client.get(), "hello");
  CHECK_FALSE(readable(pair.server.get(), milliseconds(50)));
  net.join("b");
  CHECK(receive_exactly(pair.server.get(), 5) == "hello");
}

TEST_CASE("a task asleep in recv() is seen there") {
  const Pair pair = make_pair_between({}, {}, AF_INET6);
  char byte = 0;
  Task reader([&] { CHECK(::recv(pair.server.get(), &byte, 1, 0) == 1); });
  CHECK(reader.eventually_sleeps_in(SYS_recvfrom));
  CHECK_FALSE(reader.sleeps_in(SYS_poll));
  send_all(pair.client.get(), "x");
  reader.join();
  CHECK(byte == 'x');
}

TEST_CASE("kernel memory of a queue is seen") {
  const Pair pair = make_pair_between({}, {}, AF_INET);
  send_all(pair.client.get(), std::string(20000, 'x'));
  CHECK(eventually(seconds(5), [&] { return socket_memory(pair.server.get()).receive >= 20000; }));
  CHECK(kernel_memory().unavailable > 0);
  CHECK(kernel_memory().slab > 0);
  CHECK(kernel_memory().message_objects > 0);
}

TEST_CASE("objects are YAML with or without our label") {
  CHECK(to_yaml(NamespaceObject{"shop"}) == "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n");
  const std::string pod = to_yaml(PodObject{.ns = "shop",
                                            .name = "web",
                                            .node = "n",
                                            .netns = "/x",
                                            .ips = {"10.0.0.1"},
                                            .settings = {.mesh = "disabled", .short_circuit = "off"}});
  CHECK(pod.find("  labels:\n    underpass.dev/mesh: \"disabled\"\n") != std::string::npos);
  CHECK(pod.find("    underpass.dev/short-circuit: \"off\"\n    underpass.dev/netns: \"/x\"\n") != std::string::npos);
  CHECK(pod.find("podIP: \"10.0.0.1\"") != std::string::npos);
}

// What a killed run leaves is made here by hand, with the pid of a process that has ended.
TEST_CASE("leftovers of dead runs are swept, those of living ones are not") {
  const pid_t dead = [] {
    Process process({{"true"}});
    REQUIRE(process.wait(seconds(5)));
    return process.pid();
  }();
  const fs::path cgroup = cgroup2_mount() / (sandbox_prefix(dead) + "0");
  const fs::path folder = fs::temp_directory_path() / (sandbox_prefix(dead) + "0");
  const std::string link = name_prefix(dead) + "av1";
  fs::create_directory(cgroup);
  fs::create_directories(folder / "run");
  run_ok({{"ip", "link", "add", link, "type", "veth", "peer", "name", name_prefix(dead) + "p"}});
  const Netns own(name_prefix(::getpid()) + "living");
  Netns left(name_prefix(dead) + "x");
  const std::string left_path = left.path();
  const Sandbox living;
  sweep_leftovers();
  CHECK_FALSE(fs::exists(cgroup));
  CHECK_FALSE(fs::exists(folder));
  CHECK_FALSE(fs::exists("/sys/class/net/" + link));
  CHECK_FALSE(fs::exists(left_path));
  CHECK(fs::exists(own.path()));
  CHECK(fs::exists(living.cgroup()));
  CHECK(fs::exists(living.root()));
}

// A whole run inside this one, stopped from outside while a process of its own is inside its sandbox.
TEST_CASE("a run that is interrupted leaves nothing") {
  for (const int number : {SIGTERM, SIGINT}) {
    Process run({{"/proc/self/exe", "--test-case=for another case: wait to be stopped", "--no-skip"}});
    fs::path cgroup;
    REQUIRE(eventually(seconds(10), [&] {
      const std::string text = run.out();
      const std::size_t begin = text.find("waiting in ");
      const std::size_t end = text.find('\n', begin);
      if (end == std::string::npos) return false;
      cgroup = text.substr(begin + 11, end - begin - 11);
      return true;
    }));
    CHECK(fs::exists(cgroup));
    run.signal(number);
    const std::optional<Exit> exit = run.wait(seconds(10));
    REQUIRE(exit);
    CHECK(exit->code == 128 + number);
    CHECK_FALSE(fs::exists(cgroup));
    CHECK_FALSE(fs::exists(fs::temp_directory_path() / cgroup.filename()));
  }
}

TEST_CASE("for another case: wait to be stopped" * doctest::skip()) {
  const Sandbox sandbox;
  PodNet net;
  net.add("a");
  Process inside({{"sleep", "1000"}});
  std::printf("waiting in %s\n", sandbox.cgroup().c_str());
  std::fflush(stdout);
  inside.wait(seconds(60));
}

}  // namespace
}  // namespace underpass::test
