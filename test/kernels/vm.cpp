// SPDX-License-Identifier: Apache-2.0
#include "test/kernels/vm.h"

#include <boost/json.hpp>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

#include "test/support/ctl.h"
#include "test/support/files.h"
#include "test/support/process.h"

namespace underpass::kernels {
namespace {

namespace json = boost::json;
using namespace test;

const fs::path kSource = UNDERPASS_SOURCE_DIR;
const fs::path kGround = kSource / "build" / "kernels";

constexpr auto kPrepare = seconds(600);  // once; the packages are kept
constexpr auto kBoot = seconds(1200);    // an idle machine needs 500 s of it

std::string first_line(const fs::path& file) {
  const std::string text = read_file(file);
  return text.substr(0, text.find('\n'));
}

std::string tail(const std::string& text) { return text.size() <= 3000 ? text : text.substr(text.size() - 3000); }

// Kernels, emulator and the image with the programs of this build. A kernel that cannot be fetched is no failure here.
void prepare_once() {
  static const bool done = [] {
    const Finished prepared = run({.argv = {kSource / "test/kernels/prepare"}}, kPrepare);
    if (!fs::exists(kGround / "tools")) throw std::runtime_error("test/kernels/prepare: " + prepared.err);
    run_ok({.argv = {kSource / "test/kernels/image", built_program("").parent_path(), kGround / "programs.cpio"}});
    return true;
  }();
  (void)done;
}

Command emulator(const fs::path& folder) {
  const fs::path tools = kGround / "tools";
  const std::string libraries = tools / "usr/lib/x86_64-linux-gnu";
  const fs::path program = tools / "usr/bin/qemu-system-x86_64";
  return {.argv = {fs::exists(program) ? program.string() : program.filename().string(),
                   "-L",
                   tools / "usr/share/qemu",
                   "-L",
                   tools / "usr/share/seabios",
                   "-M",
                   "q35",
                   "-accel",
                   "tcg,thread=multi",
                   "-cpu",
                   "max",
                   "-smp",
                   "2",
                   "-m",
                   "1024",
                   "-nodefaults",
                   "-no-user-config",
                   "-display",
                   "none",
                   "-no-reboot",
                   "-serial",
                   "file:" + (folder / "console.log").string(),
                   "-serial",
                   "file:" + (folder / "results.jsonl").string(),
                   "-kernel",
                   folder / "vmlinuz",
                   "-initrd",
                   folder / "initramfs",
                   "-append",
                   "console=ttyS0 panic=-1 quiet"},
          .env = {"LD_LIBRARY_PATH=" + libraries + ":" + (tools / "lib/x86_64-linux-gnu").string()}};
}

void read_steps(const fs::path& file, Measured& found) {
  std::istringstream lines(read_file(file));
  for (std::string line; std::getline(lines, line);) {
    boost::system::error_code error;
    json::parse_options options;
    options.allow_invalid_utf8 = true;  // the end of an output may begin in the middle of a character
    const json::value value = json::parse(line, error, {}, options);
    if (error || !value.is_object() || !value.as_object().contains("step")) continue;  // cut off in the middle
    found.steps[text_of(value.at("step"))] = value.as_object();
  }
}

Measured boot(const std::string& kernel) {
  Measured found;
  if (kernel == kLongKernel && std::getenv("UNDERPASS_LONG") == nullptr) {
    found.unavailable = "only with --long";
    return found;
  }
  prepare_once();
  const fs::path folder = kGround / kernel;
  if (fs::exists(folder / "unavailable")) {
    found.unavailable = first_line(folder / "unavailable");
    return found;
  }
  found.release = first_line(folder / "release");
  // Kernels unpack several archives that stand one after the other.
  write_atomically(folder / "initramfs", read_file(kGround / "programs.cpio") + read_file(folder / "modules.cpio"));
  for (const char* log : {"console.log", "results.jsonl"}) write_atomically(folder / log, "");

  const auto start = Clock::now();
  Process machine(emulator(folder));
  const std::optional<Exit> exit = machine.wait(kBoot);
  machine.kill();
  found.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  read_steps(folder / "results.jsonl", found);
  if (!exit || !exit->ok() || !found.steps.contains("end")) {
    found.failure = (exit ? exit->to_string() : "not finished after " + std::to_string(kBoot.count()) + " s") + ": " +
                    machine.err() + "\n" + tail(read_file(folder / "console.log"));
  }
  return found;
}

}  // namespace

boost::json::object Measured::step(const std::string& name) const {
  const auto found = steps.find(name);
  if (found != steps.end()) return found->second;
  return {{"step", name}, {"error", "the step was not reported"}};
}

bool Measured::started() const { return step("agent").contains("state"); }

std::map<std::string, std::string> Measured::capabilities() const {
  std::map<std::string, std::string> rows;
  const json::object agent = step("agent");
  if (!agent.contains("check")) return rows;
  for (const json::value& row : agent.at("check").as_array()) rows[text_of(row.at("name"))] = text_of(row.at("result"));
  return rows;
}

bool Measured::stays_on_tcp() const {
  for (const auto& [name, result] : capabilities()) {
    if (result == "tcp") return true;
  }
  return false;
}

const Measured& measured(const std::string& kernel) {
  static std::map<std::string, Measured> booted;
  const auto known = booted.find(kernel);
  if (known != booted.end()) return known->second;
  return booted.emplace(kernel, boot(kernel)).first->second;
}

}  // namespace underpass::kernels
