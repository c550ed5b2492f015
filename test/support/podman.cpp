// SPDX-License-Identifier: Apache-2.0
#include "test/support/podman.h"

#include <signal.h>
#include <sys/mount.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <sstream>
#include <utility>

#include "test/support/files.h"

namespace underpass::test {
namespace {

bool is_gone(pid_t pid) { return ::kill(pid, 0) != 0 && errno == ESRCH; }

}  // namespace

Podman::Podman(const Sandbox& sandbox, std::string netns) : root_(sandbox.root() / "podman"), netns_(std::move(netns)) {
  fs::create_directories(root_ / "image/bin");
  fs::create_directories(networks());
  fs::copy_file("/bin/busybox", root_ / "image/bin/busybox");
  write_atomically(root_ / "containers.conf",
                   "[containers]\n"
                   "default_ulimits = [\"nofile=1024:1024\", \"nproc=512:512\"]\n"
                   "pids_limit = 0\n"
                   "[engine]\n"
                   "cgroup_manager = \"cgroupfs\"\n"  // no systemd runs here
                   "runtime = \"runc\"\n"             // crun refuses both versions of cgroups at once
                   "events_logger = \"none\"\n"
                   "lock_type = \"file\"\n"
                   "infra_image = \"" +
                       std::string(kPause) +
                       "\"\n"
                       "[network]\n"
                       "network_backend = \"cni\"\n"
                       "network_config_dir = \"" +
                       networks().string() + "\"\n");
  const auto archive = (root_ / "image.tar").string();
  run_ok({{"tar", "-C", (root_ / "image").string(), "-cf", archive, "."}});
  call({"import", archive, kBox});
  call({"import", "--change", R"(ENTRYPOINT ["/bin/busybox","sleep","1000"])", archive, kPause});
}

Podman::~Podman() {
  try {
    std::vector<pid_t> monitors;
    std::istringstream names(call({"ps", "--all", "--quiet"}));
    for (std::string name; names >> name;) monitors.push_back(monitor_of(name));
    call({"pod", "rm", "--all", "--force", "--time", "0"});
    call({"rm", "--all", "--force", "--time", "0"});
    const bool ended = eventually(
        seconds(10), [&] { return std::ranges::all_of(monitors, [](pid_t pid) { return pid <= 0 || is_gone(pid); }); });
    if (!ended) std::fprintf(stderr, "conmon: still running\n");
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
  }
  ::umount2((root_ / "root/vfs").c_str(), MNT_DETACH);
}

Finished Podman::run(const std::vector<std::string>& words, milliseconds deadline) const {
  Command command{.argv = {"podman", "--root", (root_ / "root").string(), "--runroot", (root_ / "run").string(),
                           "--tmpdir", (root_ / "tmp").string(), "--storage-driver", "vfs"},
                  .env = {"CONTAINERS_CONF=" + (root_ / "containers.conf").string()},
                  .netns = netns_};
  command.argv.insert(command.argv.end(), words.begin(), words.end());
  return test::run(command, deadline);
}

std::string Podman::call(const std::vector<std::string>& words, milliseconds deadline) const {
  auto done = run(words, deadline);
  if (!done.exit.ok())
    throw std::runtime_error("podman " + words.at(0) + ": " + done.exit.to_string() + ": " + done.out + done.err);
  while (done.out.ends_with('\n')) done.out.pop_back();
  return done.out;
}

pid_t Podman::start(const std::string& name, const std::string& network, const std::string& cgroup) const {
  call({"run", "--detach", "--name", name, "--pull", "never", "--network", network, "--cgroup-parent", cgroup, kBox,
        "/bin/busybox", "sleep", "1000"});
  return pid_of(name);
}

void Podman::remove(const std::string& name) const { call({"rm", "--force", "--time", "0", name}); }

std::string Podman::inspect(const std::string& name, const std::string& field) const {
  return call({"inspect", "--type", "container", "--format", "{{" + field + "}}", name});
}

pid_t Podman::pid_of(const std::string& name) const { return std::stoi(inspect(name, ".State.Pid")); }

pid_t Podman::monitor_of(const std::string& name) const { return std::stoi(inspect(name, ".State.ConmonPid")); }

}  // namespace underpass::test
