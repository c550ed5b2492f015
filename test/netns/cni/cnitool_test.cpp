// SPDX-License-Identifier: Apache-2.0
// libcni itself, by its own cnitool: that it loads what we install, and is served by the plugin. Where there is no Go,
// or no way to the module, it says so.
#include <doctest/doctest.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>

#include "test/netns/cni/scene.h"

namespace underpass::test {
namespace {

constexpr const char* kModule = "github.com/containernetworking/cni/cnitool@v1.3.0";

std::optional<std::string> find_go() {
  std::string folders = "/usr/local/go/bin:/usr/lib/go/bin";
  if (const char* path = std::getenv("PATH")) folders = std::string(path) + ":" + folders;
  for (std::size_t begin = 0; begin < folders.size();) {
    const auto end = std::min(folders.find(':', begin), folders.size());
    const auto candidate = folders.substr(begin, end - begin) + "/go";
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    begin = end + 1;
  }
  return std::nullopt;
}

// Built once for a build folder; nothing, and said why, where that cannot be.
std::optional<std::string> find_cnitool() {
  const fs::path folder = UNDERPASS_CNITOOL_DIR;
  const auto tool = folder / "cnitool";
  if (fs::exists(tool)) return tool.string();
  const auto go = find_go();
  if (!go) {
    std::cout << "SKIPPED: libcni's cnitool: there is no Go here to build it\n";
    return std::nullopt;
  }
  const auto built =
      run({.argv = {*go, "install", kModule}, .env = {"GOBIN=" + folder.string(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod"}},
          seconds(180));
  if (fs::exists(tool)) return tool.string();
  std::cout << "SKIPPED: libcni's cnitool: go install " << kModule << ": " << built.err << "\n";
  return std::nullopt;
}

TEST_CASE("cni: libcni's own cnitool adds, checks and deletes by our list") {
  const auto tool = find_cnitool();
  if (!tool) return;
  CniNode node;
  node.install();
  const CniAgent agent(node.socket(), kYes);
  const auto pod = node.new_netns();
  // What libcni remembers is gone with this shell's /var/lib.
  const std::string script = "set -e; mount -t tmpfs none /var/lib; " + *tool + " add net " + pod.path() + "; " +
                             *tool + " check net " + pod.path() + "; " + *tool + " del net " + pod.path();
  const auto out = run_ok({.argv = {"unshare", "-m", "sh", "-c", script},
                           .env = {"NETCONFPATH=" + (node.root() / "net.d").string(),
                                   "CNI_PATH=" + (node.root() / "bin").string() + ":" + kPluginsFolder,
                                   "CNI_ARGS=" + node.sandbox(pod).args},
                           .netns = node.host_netns()},
                          seconds(60));
  const auto result = boost::json::parse(out);
  CHECK(result.at("cniVersion") == "1.0.0");
  const auto asked = agent.asked();
  REQUIRE(asked.size() == 3);
  CHECK(asked[0].request.command == cni::Command::kAdd);
  CHECK(asked[1].request.command == cni::Command::kCheck);
  CHECK(asked[2].request.command == cni::Command::kDel);
  for (const auto& [request, cookie] : asked) {
    CHECK(request.pod == NamespacedName{"shop", "web"});
    CHECK(cookie == pod.cookie());
  }
}

}  // namespace
}  // namespace underpass::test
