// SPDX-License-Identifier: Apache-2.0
#include "test/netns/cni/scene.h"

#include <linux/sockios.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <stdexcept>
#include <utility>

namespace underpass::test {
namespace {

std::string make_list(const std::string& version, bool dual_stack, const fs::path& root) {
  std::string ranges = R"([[{"subnet": "10.99.0.0/16"}])";
  if (dual_stack) ranges += R"(, [{"subnet": "fd00:99::/64"}])";
  return "{\n  \"cniVersion\": \"" + version + R"(",
  "name": "net",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "mtu": 1400,
      "ipam": {"type": "host-local", "dataDir": ")" +
         (root / "ipam").string() + R"(", "ranges": )" + ranges + R"(]}
    },
    { "type": "portmap", "capabilities": {"portMappings": true} }
  ]
}
)";
}

NetnsCookie cookie_of(int netns) {
  NetnsCookie cookie = 0;
  run_in_netns("/proc/self/fd/" + std::to_string(netns), [&] {
    const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    socklen_t size = sizeof(cookie);
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) throw_errno("SO_NETNS_COOKIE");
  });
  return cookie;
}

}  // namespace

CniNode::CniNode(const std::string& version, bool dual_stack)
    : root_("cni"),
      host_("up-" + std::to_string(::getpid()) + "-host"),
      host_path_(host_.path()),
      list_(make_list(version, dual_stack, root_.path())) {
  for (const auto* folder : {"net.d", "bin", "state"}) fs::create_directory(root_ / folder);
  std::ofstream(list_file()) << list_;
  runtime_ = std::make_unique<CniRuntime>(
      CniRuntime::Folders{.conf = root_ / "net.d", .bin = {root_ / "bin", kPluginsFolder}, .cache = root_ / "cache"},
      host_path_);
}

cni::InstallOptions CniNode::options() const {
  return {.plugin = UNDERPASS_CNI,
          .bin_dir = (root_ / "bin").string(),
          .conf_dir = (root_ / "net.d").string(),
          .socket = socket(),
          .enrolment = enrolment_file(),
          .cache_dir = (root_ / "cache").string()};
}

void CniNode::install(int timeout_seconds) const {
  const auto state = cni::install_now(options());
  if (!state.in_place) throw std::runtime_error("install: " + state.problem);
  auto text = read_file(list_file());
  const std::string usual = R"("timeoutSeconds":20)";
  text.replace(text.find(usual), usual.size(), R"("timeoutSeconds":)" + std::to_string(timeout_seconds));
  write_atomically(list_file(), text);
}

Netns CniNode::new_netns() { return Netns("up-" + std::to_string(::getpid()) + "-pod" + std::to_string(++next_)); }

CniSandbox CniNode::sandbox(const Netns& netns, const std::string& pod) const {
  CniSandbox out{.id = netns.name(), .netns = netns.path(), .args = ""};
  const auto slash = pod.find('/');
  if (slash != std::string::npos)
    out.args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=" + pod.substr(0, slash) + ";K8S_POD_NAME=" + pod.substr(slash + 1) +
               ";K8S_POD_INFRA_CONTAINER_ID=" + out.id + ";K8S_POD_UID=uid-" + pod.substr(slash + 1);
  return out;
}

void CniNode::enrol(const cni::Enrolment& enrolment) const {
  if (auto written = cni::write_enrolment(enrolment_file(), enrolment); !written)
    throw std::runtime_error(written.error().message);
}

CniAgent::CniAgent(const std::string& socket, Handler handler) {
  server_ = io_.run([&] {
    auto made = cni::Server::listen(
        io_.io, socket, [this, handler = std::move(handler)](cni::Question question, cni::Server::Reply reply) {
          note(question);
          handler(std::move(question), std::move(reply));
        });
    if (!made) throw std::runtime_error(made.error().message);
    return std::move(*made);
  });
}

CniAgent::CniAgent(const std::string& socket, cni::Answer answer)
    : CniAgent(socket,
               [answer = std::move(answer)](const cni::Question&, const cni::Server::Reply& reply) { reply(answer); }) {
}

CniAgent::~CniAgent() {
  io_.run([this] {
    server_.reset();
    return true;
  });
}

void CniAgent::note(const cni::Question& question) {
  const std::lock_guard lock(mutex_);
  asked_.push_back({question.request, question.netns ? cookie_of(question.netns.get()) : 0});
}

std::vector<CniAgent::Asked> CniAgent::asked() const {
  const std::lock_guard lock(mutex_);
  return asked_;
}

}  // namespace underpass::test
