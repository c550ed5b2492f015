// SPDX-License-Identifier: Apache-2.0
// What languages make of sockets in their own libraries: Python, Node.js, Java, Go.
#include <unistd.h>

#include "test/semantics/observe.h"
#include "test/semantics/programs/program.h"
#include "test/semantics/row.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

const std::string& code(const std::string& name) {
  static std::map<std::string, std::string> known;
  return known.try_emplace(name, read_file(std::string(UNDERPASS_PROGRAMS) + "/" + name)).first->second;
}

// The same program as server and as client: `argv` and "server" or "client", address, port. The client says what it
// saw.
void talk(Scene& scene, const std::vector<std::string>& argv) {
  const auto with = [&](const char* role) {
    std::vector<std::string> all = argv;
    all.insert(all.end(), {role, server_ip(scene), "8080"});
    return Command{.argv = all};
  };
  const Server server(scene, with("server"), 8080);
  const std::string said = run_client(scene, with("client"));
  scene.saw(said.ends_with('\n') ? said.substr(0, said.size() - 1) : said);
}

std::filesystem::path source(const Scene& scene, const std::string& name) {
  std::filesystem::path file = scene.shared_folder() / name;
  if (!fs::exists(file)) write_file(file, code(name));
  return file;
}

BEHAVIOUR("programs: Python, http.server and urllib") {
  need_program("python3");
  talk(scene, {"python3", source(scene, "echo.py")});
}

BEHAVIOUR("programs: Node.js, HTTP server and client") {
  need_program("node");
  talk(scene, {"node", source(scene, "echo.js")});
}

BEHAVIOUR("programs: Java, HttpServer and HttpClient") {
  need_program("java");
  const std::filesystem::path classes = scene.shared_folder() / "java";
  if (!fs::exists(classes)) {
    need_program("javac");
    run_ok({.argv = {"javac", "-d", classes, source(scene, "Echo.java")}}, seconds(120));
  }
  talk(scene, {"java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", classes, "Echo"});
}

BEHAVIOUR("programs: Go, io.Copy between two TCP connections") {
  need_program("go");
  const std::filesystem::path program = scene.shared_folder() / "gocopy";
  if (!fs::exists(program)) {
    run_ok(
        {.argv = {"go", "build", "-o", program, source(scene, "copy.go")}, .env = {"GO111MODULE=off", "CGO_ENABLED=0"}},
        seconds(180));
  }
  talk(scene, {program});
}

}  // namespace
}  // namespace underpass::test
