// SPDX-License-Identifier: Apache-2.0
// Who may use the admin socket. Needs root, to be somebody else.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <thread>

#include "agent/admin/client.h"
#include "test/unit/admin_server_fixture.h"

using namespace underpass;
using test::AdminServer;
using test::RawClient;

namespace {

const admin::Handler kEcho = [](const boost::json::object& request, const admin::Reply& reply) { reply(request); };

// Runs `work` as the user nobody. The raw call changes the calling thread alone.
template <typename Work>
void as_nobody(Work work) {
  bool changed = false;
  std::thread([&] {
    changed = ::syscall(SYS_setresuid, 65534, 65534, 65534) == 0;
    if (changed) work();
  }).join();
  REQUIRE(changed);
}

}  // namespace

TEST_CASE("admin credentials: the socket itself keeps others out") {
  AdminServer server(kEcho);
  REQUIRE(::chmod(server.run_dir().c_str(), 0755) == 0);
  as_nobody([&] {
    const auto answer = admin::call(server.path(), {{"command", "a"}}, test::kDeadline);
    REQUIRE(!answer);
    CHECK(answer.error().kind == admin::CallError::Kind::kForbidden);
    CHECK(answer.error().message == "connect to " + server.path() + ": Permission denied");
  });
}

TEST_CASE("admin credentials: a user who is neither root nor the agent's own is refused, whatever the file's mode") {
  AdminServer server(kEcho);
  REQUIRE(::chmod(server.run_dir().c_str(), 0755) == 0);
  REQUIRE(::chmod(server.path().c_str(), 0666) == 0);
  as_nobody([&] {
    RawClient nobody(server.path());
    CHECK(nobody.read_line() == R"({"error":{"code":"failed","message":)"
                                R"("permission denied: only root and the agent's own user may use this socket"}})");
    CHECK(nobody.read_line() == std::nullopt);
  });
  RawClient root(server.path());
  CHECK(root.ask(R"({"command":"a"})") == R"({"result":{"command":"a"}})");
}
