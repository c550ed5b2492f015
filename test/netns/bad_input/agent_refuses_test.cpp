// SPDX-License-Identifier: Apache-2.0
// Ground on which the agent must not start: it ends with 1 (2 where the command line is wrong), says what is wrong with
// what and what to do, and leaves everything as it was.
#include <doctest/doctest.h>
#include <linux/capability.h>

#include <initializer_list>

#include "test/netns/foreign.h"
#include "test/netns/lifecycle/watch.h"
#include "test/support/files.h"
#include "test/support/world.h"

namespace underpass::test {
namespace {

// Starts an agent that is to refuse with this exit code and these words in its message.
void check_refuses(const Sandbox& sandbox, const Agent::Options& options, int code,
                   std::initializer_list<std::string> words) {
  Agent agent(sandbox, options);
  const std::optional<Exit> exit = agent.refusal();
  const std::string log = agent.log();
  MESSAGE(log);
  REQUIRE_MESSAGE(exit, "the agent keeps running");
  CHECK(exit->code == code);
  for (const std::string& word : words)
    CHECK_MESSAGE(log.find(word) != std::string::npos, "no \"" << word << "\" in: " << log);
  CHECK_MESSAGE(log.size() < 2000, "a message for a person is shorter");
}

TEST_CASE("--cgroup-root that is no cgroup2") {
  const Sandbox sandbox;
  check_refuses(sandbox, {.cgroup_root = sandbox.root()}, 1, {"--cgroup-root", sandbox.root(), "cgroup2"});
  check_refuses(sandbox, {.cgroup_root = "/no/such/cgroup"}, 1, {"--cgroup-root", "/no/such/cgroup", "No such file"});
  if (fs::exists("/sys/fs/cgroup/cpu")) check_refuses(sandbox, {.cgroup_root = "/sys/fs/cgroup/cpu"}, 1, {"cgroup2"});
  CHECK_FALSE(Pinned(sandbox).any());
}

TEST_CASE("--pods-cgroup that is no cgroup2, or that is missing") {
  const Sandbox sandbox;
  check_refuses(sandbox, {.more = {"--pods-cgroup", sandbox.root()}}, 1, {"--pods-cgroup", sandbox.root(), "cgroup2"});
  check_refuses(sandbox, {.more = {"--pods-cgroup", "/no/such/cgroup"}}, 1, {"/no/such/cgroup", "No such file"});
  check_refuses(sandbox, {.more = {"--unknown-pods", "deny"}}, 2, {"--unknown-pods deny needs --pods-cgroup"});
  check_refuses(sandbox, {.more = {"--unknown-pods", "maybe"}}, 2, {"--unknown-pods", "maybe"});
  CHECK_FALSE(Pinned(sandbox).any());
}

TEST_CASE("--bpffs that is no bpffs") {
  const Sandbox sandbox;
  check_refuses(sandbox, {.bpffs = sandbox.state_dir()}, 1, {"--bpffs", sandbox.state_dir(), "mount -t bpf"});
  check_refuses(sandbox, {.bpffs = "/no/such/folder"}, 1, {"--bpffs", "/no/such/folder", "No such file"});
}

TEST_CASE("a capability is missing") {
  const Sandbox sandbox;
  check_refuses(sandbox, {.drop_capabilities = {CAP_BPF, CAP_SYS_ADMIN}}, 1, {"CAP_BPF"});
  check_refuses(sandbox, {.drop_capabilities = {CAP_NET_ADMIN}}, 1, {"CAP_NET_ADMIN"});
  CHECK_FALSE(Pinned(sandbox).any());
  CHECK(programs_at(sandbox.cgroup()).empty());
}

TEST_CASE("a source that is none, or a folder that is not there") {
  const Sandbox sandbox;
  check_refuses(sandbox, {.source = "nonsense"}, 2, {"--source", "nonsense", "dir:"});
  check_refuses(sandbox, {.source = "dir:"}, 2, {"--source", "dir:"});
  check_refuses(sandbox, {.source = "dir:/no/such/folder"}, 1, {"/no/such/folder", "No such file"});
  check_refuses(sandbox, {.source = "dir:/etc/hostname"}, 1, {"/etc/hostname"});
  CHECK_FALSE(Pinned(sandbox).any());
  CHECK(programs_at(sandbox.cgroup()).empty());
}

TEST_CASE("a command line that is wrong") {
  const Sandbox sandbox;
  check_refuses(sandbox, {.more = {"--no-such-flag"}}, 2, {"--no-such-flag"});
  check_refuses(sandbox, {.more = {"--node-budget", "much"}}, 2, {"--node-budget"});
  check_refuses(sandbox, {.watchpoints = "sometimes"}, 2, {"--watchpoints"});
}

TEST_CASE("an address that cannot be listened at") {
  const Sandbox sandbox;
  const UniqueFd listener = listen_at({}, AF_INET);
  const std::string taken = local_address(listener.get()).to_string();
  check_refuses(sandbox, {.metrics = taken}, 1, {"--metrics", taken, "in use"});
  check_refuses(sandbox, {.ready = taken}, 1, {"--ready", taken, "in use"});
  check_refuses(sandbox, {.metrics = "nowhere"}, 1, {"--metrics", "nowhere"});
}

TEST_CASE("a second agent on the run-dir of a first") {
  World world;
  check_refuses(world.sandbox, {}, 1, {world.sandbox.run_dir(), "another agent"});
  CHECK(world.ctl.state() == "ready");
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "short-circuit");
  // What a killed one left is no agent.
  world.agent.kill9();
  CHECK(fs::exists(world.sandbox.run_dir() / "admin.sock"));
  world.agent.start();
}

TEST_CASE("a file where the admin socket should be") {
  const Sandbox sandbox;
  write_atomically(sandbox.run_dir() / "admin.sock", "precious");
  check_refuses(sandbox, {}, 1, {"admin.sock"});
  CHECK(read_file(sandbox.run_dir() / "admin.sock") == "precious");
}

TEST_CASE("an exclusive connect4 program on the cgroup is named") {
  const Sandbox sandbox;
  ForeignPrograms foreign(sandbox.cgroup());
  foreign.attach_connect4(true);
  check_refuses(sandbox, {}, 1, {"connect4", "tb_connect4", sandbox.cgroup()});
  CHECK(programs_at(sandbox.cgroup()).size() == 1);
  CHECK_FALSE(Pinned(sandbox).any());
}

TEST_CASE("pinned maps of another layout") {
  World world;
  for (const std::uint32_t layout : {UP_LAYOUT + 1u, 4711u}) {
    CAPTURE(layout);
    world.agent.stop();
    up_config config = world.pinned.config();
    config.layout = layout;
    world.pinned.set_config(config);
    const std::set<std::uint32_t> maps = world.pinned.map_ids();
    const std::set<std::uint32_t> programs = programs_at(world.sandbox.cgroup());
    const std::string pods = run_ok({{"bpftool", "map", "dump", "pinned", world.sandbox.pins() / "up_pods"}});
    check_refuses(world.sandbox, {}, 1,
                  {world.sandbox.pins(), "layout " + std::to_string(layout), "layout " + std::to_string(UP_LAYOUT),
                   "underpassctl detach"});
    CHECK(world.pinned.config().layout == layout);
    CHECK(world.pinned.map_ids() == maps);
    CHECK(programs_at(world.sandbox.cgroup()) == programs);
    CHECK(run_ok({{"bpftool", "map", "dump", "pinned", world.sandbox.pins() / "up_pods"}}) == pods);
    CHECK(way_in_kernel(world, world.at("a"), world.at("b")) == "short-circuit");
    // What the message says to do helps.
    CHECK(world.ctl.run({"detach"}).exit.ok());
    CHECK(world.ctl.run({"attach"}).exit.ok());
    world.agent.start();
    world.wait_enrolled("shop", "a");
    CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "short-circuit");
  }
}

TEST_CASE("a pin that was replaced by something else") {
  World world;
  for (const char* name : {"up_pods", "up_config", "up_conns"}) {
    CAPTURE(name);
    world.agent.stop();
    const fs::path pin = world.sandbox.pins() / name;
    fs::remove(pin);
    run_ok({{"bpftool", "map", "create", pin, "type", "array", "key", "4", "value", "12", "entries", "3", "name",
             "garbage"}});
    const std::set<std::uint32_t> maps = world.pinned.map_ids();
    check_refuses(world.sandbox, {}, 1, {pin, "underpassctl detach"});
    CHECK(world.pinned.map_ids() == maps);
    CHECK(world.ctl.run({"detach"}).exit.ok());
    CHECK(world.ctl.run({"attach"}).exit.ok());
    CHECK_FALSE(world.pinned.any());
    world.agent.start();
    world.wait_enrolled("shop", "a");
    CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "short-circuit");
  }
}

TEST_CASE("a pin that is missing") {
  World world;
  for (const char* name : {"up_pods", "up_config", "link_connect4", "link_sockops"}) {
    CAPTURE(name);
    world.agent.stop();
    fs::remove(world.sandbox.pins() / name);
    world.agent.launch();
    const bool settled =
        eventually(seconds(15), [&] { return !world.agent.running() || world.ctl.state() == "ready"; });
    CHECK(settled);
    // Either it repairs what is missing, or it refuses and says how to go on; never something between.
    if (world.agent.running()) {
      world.wait_enrolled("shop", "a");
      world.wait_enrolled("shop", "b");
    } else {
      MESSAGE(world.agent.log());
      CHECK(world.ctl.run({"detach"}).exit.ok());
      CHECK(world.ctl.run({"attach"}).exit.ok());
      world.agent.start();
      world.wait_enrolled("shop", "a");
      world.wait_enrolled("shop", "b");
    }
    for (const int family : {AF_INET, AF_INET6})
      CHECK(way_of_new_connection(world, world.at("a"), world.at("b"), family) == "short-circuit");
  }
}

}  // namespace
}  // namespace underpass::test
