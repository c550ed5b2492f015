// SPDX-License-Identifier: Apache-2.0
// What manifests/ says of the agent, held against the agent: the capabilities of its container are enough, and it knows
// the flags that it is given there.
#include <doctest/doctest.h>
#include <linux/capability.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <boost/json/serialize.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "agent/k8s/yaml.h"
#include "test/netns/workers/scene.h"
#include "test/support/files.h"
#include "test/support/process.h"

namespace underpass::test {
namespace {

namespace json = boost::json;

// By their numbers (capabilities(7)).
constexpr std::array<std::string_view, CAP_LAST_CAP + 1> kCapabilities{"CHOWN",
                                                                       "DAC_OVERRIDE",
                                                                       "DAC_READ_SEARCH",
                                                                       "FOWNER",
                                                                       "FSETID",
                                                                       "KILL",
                                                                       "SETGID",
                                                                       "SETUID",
                                                                       "SETPCAP",
                                                                       "LINUX_IMMUTABLE",
                                                                       "NET_BIND_SERVICE",
                                                                       "NET_BROADCAST",
                                                                       "NET_ADMIN",
                                                                       "NET_RAW",
                                                                       "IPC_LOCK",
                                                                       "IPC_OWNER",
                                                                       "SYS_MODULE",
                                                                       "SYS_RAWIO",
                                                                       "SYS_CHROOT",
                                                                       "SYS_PTRACE",
                                                                       "SYS_PACCT",
                                                                       "SYS_ADMIN",
                                                                       "SYS_BOOT",
                                                                       "SYS_NICE",
                                                                       "SYS_RESOURCE",
                                                                       "SYS_TIME",
                                                                       "SYS_TTY_CONFIG",
                                                                       "MKNOD",
                                                                       "LEASE",
                                                                       "AUDIT_WRITE",
                                                                       "AUDIT_CONTROL",
                                                                       "SETFCAP",
                                                                       "MAC_OVERRIDE",
                                                                       "MAC_ADMIN",
                                                                       "SYSLOG",
                                                                       "WAKE_ALARM",
                                                                       "BLOCK_SUSPEND",
                                                                       "AUDIT_READ",
                                                                       "PERFMON",
                                                                       "BPF",
                                                                       "CHECKPOINT_RESTORE"};

json::value container() {
  const auto documents = k8s::parse_yaml(read_file(std::string(UNDERPASS_MANIFESTS) + "/base/daemonset.yaml"));
  REQUIRE(documents.has_value());
  return documents->front().value.at_pointer("/spec/template/spec/containers/0");
}

// The numbers of those that it does not have.
std::vector<int> missing_capabilities() {
  const auto had = container().at_pointer("/securityContext/capabilities/add").as_array();
  std::vector<int> out;
  for (std::size_t number = 0; number < kCapabilities.size(); ++number)
    if (std::ranges::find(had, json::value(kCapabilities[number])) == had.end())
      out.push_back(static_cast<int>(number));
  REQUIRE(out.size() + had.size() == kCapabilities.size());  // each name is one that there is
  return out;
}

std::string checked(const World& world) { return json::serialize(world.ctl.json({"check"})); }

TEST_CASE("manifest: the agent can do with its container's capabilities what it can do with all") {
  std::string with_all;
  {
    const World world;
    with_all = checked(world);
  }
  TwoWorkers two({.drop_capabilities = missing_capabilities()});
  CHECK(checked(two.scene.world) == with_all);
  const Live live(two);
  live.check();
  CHECK(two.way("a", "b") == "proxied");

  // A worker that says nothing any more is ended, and replaced.
  const pid_t worker = two.scene.worker_pid("shop");
  REQUIRE(::kill(worker, SIGSTOP) == 0);
  REQUIRE(eventually(seconds(60), [&] { return two.has_other_worker("shop", worker); }));
  CHECK(eventually(kSoon, [&] { return two.way("a", "b") == "proxied"; }));
  two.scene.world.agent.stop();
  two.scene.world.agent.start();
  CHECK(two.way("a", "b") == "proxied");
}

TEST_CASE("manifest: its container reaches pods' network namespaces and CNI folders, whosever they are") {
  const auto missing = missing_capabilities();
  constexpr const char* kNobody = "65534";
  const Process other({.argv = {"setpriv", "--reuid", kNobody, "--regid", kNobody, "--clear-groups", "sleep", "60"}});
  const std::string proc = "/proc/" + std::to_string(other.pid()), netns = proc + "/ns/net";
  REQUIRE(eventually(seconds(5), [&] { return read_file(proc + "/comm") == "sleep\n"; }));  // it is nobody now
  CHECK(run({.argv = {"stat", "-L", netns}, .drop_capabilities = missing}).exit.ok());

  const Sandbox sandbox;
  const auto folder = sandbox.root() / "cni";
  fs::create_directory(folder);
  run_ok({.argv = {"chown", kNobody, folder}});
  CHECK(run({.argv = {"touch", folder / "program"}, .drop_capabilities = missing}).exit.ok());
}

TEST_CASE("manifest: the agent knows the flags that its container gives it") {
  const auto help = run_ok({.argv = {built_program("underpassd"), "--help"}});
  const auto arguments = container().at("args").as_array();
  CHECK(arguments.size() > 2);
  for (const auto& argument : arguments) {
    const std::string text(argument.as_string());
    const auto flag = text.substr(0, text.find('='));
    CHECK_MESSAGE(help.contains(flag + " "), "no " << flag << " in: " << help);
  }
}

}  // namespace
}  // namespace underpass::test
