// SPDX-License-Identifier: Apache-2.0
// Certificates of a real agent's pods, as operators see them: over the admin socket, in `status`, in the log.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "test/support/files.h"
#include "test/support/process.h"
#include "test/support/world.h"

namespace underpass::test {
namespace {

namespace json = boost::json;

constexpr seconds kSoon(20);
const std::string kIdentity = "spiffe://cluster.local/ns/shop/sa/default";

// Two captured pods of this node, and one of another that is in the mesh too.
struct Scene {
  explicit Scene(std::vector<std::string> flags = {})
      : world({.mesh = "enabled", .capture = "always"}, usual_state(), with(flags)) {
    world.objects.put(PodObject{.ns = "shop", .name = "far", .node = "node-b", .ips = {"10.78.0.9"}});
  }
  static Agent::Options with(std::vector<std::string>& flags) {
    Agent::Options options;
    options.more = std::move(flags);
    return options;
  }

  [[nodiscard]] json::array rows() const { return world.ctl.json({"certs"}).as_array(); }
  [[nodiscard]] std::string serial(const std::string& kind = "svid") const {
    for (const auto& row : rows())
      if (row.at("kind") == json::string(kind)) return text_of(row.at("serial"));
    return "";
  }
  [[nodiscard]] std::size_t roots() const {
    std::size_t count = 0;
    for (const auto& row : rows()) count += row.at("kind") == "root" ? 1 : 0;
    return count;
  }
  // What `status` complains of.
  [[nodiscard]] std::string reasons() const { return json::serialize(world.ctl.json({"status"}).at("reasons")); }
  [[nodiscard]] fs::path file(const char* name) const { return world.sandbox.state_dir() / "ca" / name; }

  World world;
};

TEST_CASE("certs: nothing is made while no pod speaks with another node") {
  const World world({.mesh = "enabled"});
  CHECK(world.ctl.json({"certs"}) == json::array());
  const auto table = world.ctl.run({"certs"});
  CHECK(table.exit.ok());
  CHECK(table.err.starts_with("no certificates: "));
  CHECK(world.ctl.run({"certs", "rotate-root"}).exit.code == 1);
  CHECK_FALSE(fs::exists(world.sandbox.state_dir() / "ca"));
}

TEST_CASE("certs: a pod of another node comes, and openssl believes what is printed; keys are nowhere") {
  const Scene scene;
  REQUIRE(eventually(kSoon, [&] { return scene.rows().size() == 3; }));
  const auto svid = scene.rows()[2];
  CHECK(text_of(svid.at("identity")) == kIdentity);
  CHECK(text_of(svid.at("state")) == "valid");

  const auto pem = scene.world.ctl.run({"certs", "-o", "pem"});
  REQUIRE(pem.exit.ok());
  const auto chain = pem.out.substr(0, pem.out.find("# root"));
  const auto at = [&](const char* name) { return (scene.world.sandbox.root() / name).string(); };
  write_atomically(at("chain"), chain);
  write_atomically(at("bundle"), pem.out.substr(chain.size()));
  run_ok({.argv = {"openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", at("bundle"), "-untrusted",
                   at("chain"), at("chain")}});
  CHECK(run_ok({.argv = {"openssl", "x509", "-noout", "-serial", "-in", at("chain")}}) ==
        "serial=" + text_of(svid.at("serial")) + "\n");

  const auto config = scene.world.ctl.run({"proxy", "config", "shop/a", "-o", "json"});
  CHECK(config.exit.ok());
  const auto secret = [](const std::string& text) { return text.contains("PRIVATE") || text.contains("MIGH"); };
  CHECK(secret(read_file(scene.file("ca-key.pem"))));  // as keys look
  for (const auto& text : {pem.out, config.out, json::serialize(scene.rows()), scene.world.agent.log()})
    CHECK_FALSE(secret(text));
  struct stat facts{};
  REQUIRE(::stat(scene.file("root-key.pem").c_str(), &facts) == 0);
  CHECK((facts.st_mode & 07777U) == 0600);
}

TEST_CASE("certs: renewed every few seconds, and the root replaced meanwhile") {
  const Scene scene({"--certificate-lifetime", "4s", "--root-overlap", "1s"});
  REQUIRE(eventually(kSoon, [&] { return scene.rows().size() == 3; }));
  const auto first = scene.serial(), root = scene.serial("root");
  CHECK(eventually(kSoon, [&] { return scene.serial() != first; }));
  CHECK(scene.world.ctl.run({"certs", "rotate-root"}).exit.ok());
  CHECK(eventually(kSoon, [&] { return scene.roots() == 2; }));
  CHECK(eventually(kSoon, [&] { return scene.roots() == 1; }));
  CHECK(scene.serial("root") != root);
  CHECK(scene.world.ctl.state() == usual_state());
}

TEST_CASE("certs: a damaged folder is told, and mended without a restart") {
  const Scene scene({"--certificate-lifetime", "10s"});
  REQUIRE(eventually(kSoon, [&] { return scene.rows().size() == 3; }));
  const auto key = read_file(scene.file("ca-key.pem"));
  write_existing(scene.file("ca-key.pem"), "damaged");
  CHECK(eventually(kSoon, [&] { return scene.world.ctl.state() == "degraded"; }));
  CHECK(scene.reasons().contains("ca-key.pem: no private key in PEM"));
  // Until its certificate has ended, and there is none.
  CHECK(eventually(kSoon, [&] { return text_of(scene.rows()[2].at("state")) == "missing"; }));
  CHECK(scene.reasons().contains("certificate " + kIdentity + ": there is none"));
  CHECK(scene.world.agent.log().contains("error certificate-problem"));
  write_atomically(scene.file("ca-key.pem"), key);
  REQUIRE(::chmod(scene.file("ca-key.pem").c_str(), 0600) == 0);
  CHECK(eventually(kSoon, [&] { return scene.world.ctl.state() == usual_state(); }));
  CHECK(text_of(scene.rows()[2].at("state")) == "valid");
}

}  // namespace
}  // namespace underpass::test
