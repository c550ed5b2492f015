// SPDX-License-Identifier: Apache-2.0
// underpass-cni: what a container runtime runs for each sandbox, and by hand what takes it off the node again. Linked
// statically, since it runs on whatever the host has.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "agent/cni/installer.h"
#include "agent/cni/plugin.h"

namespace {

using underpass::cni::Environment;
using underpass::cni::InstallOptions;

constexpr int kFailure = 1;
constexpr int kUsage = 2;
constexpr std::size_t kLongestInput = std::size_t{16} << 20;

constexpr std::string_view kHelp =
    "underpass-cni - the CNI plugin of the Underpass service mesh. A container runtime runs it as the last of a list "
    "of\n"
    "plugins (CNI 0.3.1, 0.4.0, 1.0.0, 1.1.0): it lets a pod of the mesh start when underpassd has taken it in.\n"
    "\n"
    "usage: underpass-cni --help | --version\n"
    "       underpass-cni uninstall [--bin-dir D] [--conf-dir D] [--cache-dir D]\n"
    "\n"
    "uninstall takes its entry out of every plugin list, then this program away; no agent is needed, and one that "
    "runs\n"
    "must be stopped first, since it would put both back.\n"
    "  --bin-dir    where the program is (/opt/cni/bin)\n"
    "  --conf-dir   where the lists are (/etc/cni/net.d)\n"
    "  --cache-dir  where libcni keeps what each sandbox was made with (/var/lib/cni): while one of them names the\n"
    "               program, it stays, since the runtime needs it to end that sandbox\n"
    "\n"
    "Exit codes: 0 done, 1 failed, 2 usage.\n";

void put(std::FILE* to, std::string_view text) { std::fwrite(text.data(), 1, text.size(), to); }

int refuse_usage(const std::string& cause) {
  put(stderr, "underpass-cni: " + cause + ": see underpass-cni --help\n");
  return kUsage;
}

int uninstall(const std::vector<std::string>& arguments) {
  InstallOptions options;
  for (std::size_t i = 1; i < arguments.size(); i += 2) {
    const auto& flag = arguments[i];
    auto* value = flag == "--bin-dir"     ? &options.bin_dir
                  : flag == "--conf-dir"  ? &options.conf_dir
                  : flag == "--cache-dir" ? &options.cache_dir
                                          : nullptr;
    if (value == nullptr) return refuse_usage(flag + ": is not known");
    if (i + 1 == arguments.size()) return refuse_usage(flag + ": its folder is missing");
    *value = arguments[i + 1];
  }
  const auto removal = underpass::cni::uninstall(options);
  if (!removal) {
    put(stderr, "underpass-cni: " + removal.error().message + "\n");
    return kFailure;
  }
  for (const auto& line : removal->done) put(stdout, line + "\n");
  if (!removal->left.empty()) put(stdout, removal->left + "\n");
  return 0;
}

int run_by_hand(const std::vector<std::string>& arguments) {
  if (arguments.empty()) return refuse_usage("CNI_COMMAND is not set: container runtimes run this program");
  if (arguments[0] == "--help" || arguments[0] == "-h") return put(stdout, kHelp), 0;
  if (arguments[0] == "--version") return put(stdout, "underpass-cni " UNDERPASS_VERSION "\n"), 0;
  if (arguments[0] == "uninstall") return uninstall(arguments);
  return refuse_usage(arguments[0] + ": is not known");
}

// What is too long is cut, and so no JSON any more.
std::string read_input() {
  std::string text;
  std::vector<char> chunk(64UL * 1024);
  while (text.size() < kLongestInput) {
    const auto got = ::read(STDIN_FILENO, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(chunk.data(), static_cast<std::size_t>(got));
  }
  return text;
}

int run_for_runtime(const Environment& environment) {
  try {
    const auto outcome = underpass::cni::run_plugin(environment, read_input());
    put(stdout, outcome.output);
    return outcome.exit_code;
  } catch (const std::exception& problem) {  // no memory
    if (environment.command == "DEL") return 0;
    put(stdout, std::string(R"({"cniVersion":"1.0.0","code":11,"msg":"underpass-cni: )") + problem.what() + "\"}");
    return kFailure;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto environment = Environment::of_process();
  if (!arguments.empty() || environment.command.empty()) return run_by_hand(arguments);
  return run_for_runtime(environment);
}
