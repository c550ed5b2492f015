// SPDX-License-Identifier: Apache-2.0
// The image in the container that manifests/base/daemonset.yaml describes: its capabilities, mounts, user, root file
// system and namespaces, as podman has them. The mounts are of folders of the test, and of the machine's cgroups only
// one is the agent's.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <iostream>
#include <string>
#include <vector>

#include "agent/k8s/yaml.h"
#include "test/image/scene.h"
#include "test/support/agent.h"
#include "test/support/ctl.h"
#include "test/support/files.h"
#include "test/support/objects.h"

namespace underpass::test {
namespace {

namespace json = boost::json;
using Words = std::vector<std::string>;

constexpr const char* kObjects = "/objects";  // of --source, in the container
constexpr seconds kSoon{10};

json::value pod_spec() {
  const auto documents = k8s::parse_yaml(read_file(UNDERPASS_SOURCE_DIR "/manifests/base/daemonset.yaml"));
  REQUIRE(documents.has_value());
  return documents->front().value.at_pointer("/spec/template/spec");
}

Words words_of(const json::value& list) {
  Words out;
  for (const auto& word : list.as_array()) out.push_back(text_of(word));
  return out;
}

void append(Words& words, const Words& more) { words.insert(words.end(), more.begin(), more.end()); }

// Where the test has what the node has at this path.
fs::path folder_for(const PodmanNode& node, const std::string& mounted_at) {
  if (mounted_at == "/sys/fs/cgroup") return mounted_at;  // --cgroup-root names the one cgroup
  if (mounted_at == "/sys/fs/bpf") return node.sandbox.bpffs();
  if (mounted_at == "/run/underpass") return node.sandbox.run_dir();
  if (mounted_at == "/var/lib/underpass") return node.sandbox.state_dir();
  const auto folder = node.sandbox.root() / "node" / mounted_at.substr(1);
  fs::create_directories(folder);
  return folder;
}

class ContainerAgent {
 public:
  explicit ContainerAgent(PodmanNode& node) : node_(node), pod_(pod_spec()), container_(pod_.at("containers").at(0)) {
    Words words{"create", "--name", "agent", "--cgroup-parent",
                "/" + node.sandbox.cgroup().filename().string() + "/kubepods/pod" + kUid};
    append(words, host_namespaces());
    append(words, security());
    append(words, mounts());
    append(words, {"--memory", memory()});
    append(words, {load_image(node.podman)});
    const auto command = words_of(container_.at("command"));
    REQUIRE(command == Words{"/usr/local/bin/underpassd"});  // which is the entry point
    append(words, {std::string("--source=dir:") + kObjects, std::string("--node-name=") + kNode, "--cni=on",
                   "--cgroup-root=" + node.sandbox.cgroup().string(), "--watchpoints=always"});
    node.podman.call(words);
  }

  // How long until it is ready.
  milliseconds start() {
    const auto begin = Clock::now();
    node_.podman.call({"start", "agent"});
    const bool ready = eventually(seconds(30), [this] { return ctl_.state() == usual_state(); });
    const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - begin);
    REQUIRE_MESSAGE(ready, log());
    return took;
  }
  // A command in its container, as a probe runs it.
  [[nodiscard]] Finished execute(const Words& command) const {
    Words words{"exec", "agent"};
    append(words, command);
    return node_.podman.run(words);
  }
  [[nodiscard]] Words startup_probe() const { return words_of(container_.at_pointer("/startupProbe/exec/command")); }
  [[nodiscard]] std::string root() const { return "/proc/" + std::to_string(node_.podman.pid_of("agent")) + "/root"; }
  [[nodiscard]] std::string log() const {
    const auto done = node_.podman.run({"logs", "agent"});
    return done.out + done.err;
  }

 private:
  static constexpr const char* kUid = "0f7f1c2e-3d1a-4f36-9c59-1f4b6a0d7e11";

  [[nodiscard]] Words host_namespaces() const {
    CHECK(pod_.at("hostNetwork") == json::value(true));
    CHECK(pod_.at("hostPID") == json::value(true));
    return {"--network", "host", "--pid", "host", "--cgroupns", "host"};
  }
  [[nodiscard]] Words security() const {
    const auto& context = container_.at("securityContext");
    CHECK(context.at("privileged") == json::value(false));
    REQUIRE(context.at("readOnlyRootFilesystem") == json::value(true));
    REQUIRE(text_of(context.at_pointer("/seccompProfile/type")) == "Unconfined");
    REQUIRE(text_of(context.at_pointer("/appArmorProfile/type")) == "Unconfined");
    Words words{"--read-only",    "--read-only-tmpfs=false",
                "--user",         text_of(context.at("runAsUser")) + ":" + text_of(context.at("runAsGroup")),
                "--security-opt", "seccomp=unconfined",
                "--security-opt", "apparmor=unconfined"};
    for (const auto& name : words_of(context.at_pointer("/capabilities/drop"))) append(words, {"--cap-drop", name});
    for (const auto& name : words_of(context.at_pointer("/capabilities/add"))) append(words, {"--cap-add", name});
    return words;
  }
  [[nodiscard]] Words mounts() const {
    Words words{"--volume", node_.sandbox.objects().string() + ":" + kObjects + ":ro"};
    for (const auto& mount : container_.at("volumeMounts").as_array()) {
      const auto path = text_of(mount.at("mountPath"));
      std::string options = mount.as_object().contains("mountPropagation") ? "rslave" : "rprivate";
      if (const auto* read_only = mount.as_object().if_contains("readOnly"); read_only && read_only->as_bool())
        options += ",ro";
      append(words, {"--volume", folder_for(node_, path).string() + ":" + path + ":" + options});
    }
    return words;
  }
  // "512Mi", which podman calls "512m".
  [[nodiscard]] std::string memory() const {
    auto text = text_of(container_.at_pointer("/resources/limits/memory"));
    REQUIRE(text.ends_with("Mi"));
    return text.substr(0, text.size() - 2) + "m";
  }

  PodmanNode& node_;
  Ctl ctl_{node_.sandbox};
  json::value pod_;
  json::value container_;
};

// The object of a pod as the API server would have it.
PodObject object_of(const PlayedPod& pod, const Settings& settings) {
  return {.ns = "shop",
          .name = pod.name,
          .node = kNode,
          .netns = "/proc/" + std::to_string(pod.pid) + "/ns/net",
          .ips = pod.ips,
          .settings = settings};
}

std::optional<ConnectionRow> connection_between(const Ctl& ctl, const std::string& from, const std::string& to) {
  for (const auto& row : ctl.connections())
    if (row.source_pod == from && row.destination_pod == to && row.state == "established") return row;
  return std::nullopt;
}

TEST_CASE("image: the agent as its DaemonSet has it takes in pods of podman kube play") {
  if (!can_run_containers("the DaemonSet")) return;
  PodmanNode node;
  const Ctl ctl(node.sandbox);
  const Objects objects(node.sandbox.objects());
  const Words server{"/bin/busybox", "nc", "-ll", "-p", "8080", "-e", "/bin/busybox", "cat"};
  const auto web = node.play("web", server), client = node.play("client", {"/bin/busybox", "sleep", "1000"}),
             through = node.play("through", {"/bin/busybox", "sleep", "1000"});
  objects.put(NamespaceObject{"shop", {.mesh = "enabled", .short_circuit = "on"}});
  objects.put(object_of(web, {}));
  objects.put(object_of(client, {}));
  objects.put(object_of(through, {.capture = "always"}));
  write_atomically(folder_for(node, "/etc/cni/net.d") / "10-pods.conflist",
                   R"({"cniVersion":"0.4.0","name":"pods","plugins":[{"type":"bridge"}]})");

  ContainerAgent agent(node);
  const auto took = agent.start();
  CHECK(agent.execute(agent.startup_probe()).exit.ok());
  for (const auto* pod : {&web, &client, &through}) {
    const bool enrolled = eventually(kSoon, [&] {
      const auto row = ctl.pod("shop/" + pod->name);
      return row && row->enrolled;
    });
    REQUIRE_MESSAGE(enrolled, pod->name << ": " << ctl.run({"pods"}).out << agent.log());
  }

  for (const auto* pod : {&client, &through}) {
    node.execute(*pod, {"/bin/busybox", "sh", "-c",
                        "while :; do echo ping; /bin/busybox sleep 0.1; done | /bin/busybox nc " + web.ips.at(0) +
                            " 8080 >/dev/null"});
    const bool talks = eventually(kSoon, [&] {
      const auto row = connection_between(ctl, pod->name, "web");
      return row && row->bytes_sent > 20 && row->bytes_received > 20;
    });
    REQUIRE_MESSAGE(talks, ctl.run({"connections"}).out << agent.log());
  }
  const auto way = connection_between(ctl, "client", "web")->way;
  CHECK((way == "short-circuit" || way == "direct"));
  CHECK(connection_between(ctl, "through", "web")->way == "proxied");  // by the image's worker
  const auto shown = agent.execute({"/usr/local/bin/underpassctl", "connections"});
  CHECK(shown.exit.ok());
  CHECK_MESSAGE(shown.out.contains(way), shown.out);

  // Nobody writes into its root, and it put the CNI plugin onto the node, where it runs.
  CHECK(::open((agent.root() + "/written").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0);
  CHECK(errno == EROFS);
  const auto plugin = folder_for(node, "/opt/cni/bin") / "underpass-cni";
  REQUIRE(eventually(kSoon, [&] { return fs::exists(plugin); }));
  const auto version = run({.argv = {plugin}, .env = {"CNI_COMMAND=VERSION"}, .input = R"({"cniVersion":"1.0.0"})"});
  CHECK_MESSAGE(version.out.contains("supportedVersions"), version.out << version.err);

  // It ends when it is told to, and the connection goes on.
  node.podman.call({"stop", "--time", "30", "agent"});
  CHECK(node.podman.inspect("agent", ".State.ExitCode") == "0");
  const auto size = fs::file_size(image().archive);
  std::cout << "image: " << size / 1024 << " KiB, the agent ready " << took.count() << " ms after its container was "
            << "started, a connection of two pods is " << way << '\n';
}

}  // namespace
}  // namespace underpass::test
