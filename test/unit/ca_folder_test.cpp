// SPDX-License-Identifier: Apache-2.0
// The folder of an authority: made once, however many begin at once; an operator's used as it is; and what is wrong
// with one, said in one line that names the file.
#include "agent/ca/folder.h"
#include "agent/ca/folder_issuer.h"

#include <doctest/doctest.h>
#include <sys/wait.h>

#include "agent/ca/issue.h"
#include "agent/ca/keeper.h"
#include "agent/ca/upkeep.h"
#include "test/support/eventually.h"
#include "test/unit/ca_scene.h"

using namespace underpass;
using namespace underpass::test;
using namespace std::chrono;

namespace {

constexpr const char* kEmbedded[] = {ca::kRootCert, ca::kCaCert, ca::kCertChain, ca::kCaKey, ca::kRootKey};

mode_t mode_of(const std::filesystem::path& path) {
  struct stat facts{};
  require(::stat(path.c_str(), &facts) == 0, path.string());
  return facts.st_mode & 07777U;
}

// An authority in a folder, and ways to spoil it.
struct Scene {
  explicit Scene(bool make_one = true) {
    if (make_one) CHECK(open());
  }

  Result<ca::Opened> open(bool may_make = true) const { return ca::open_authority(folder, {}, now, may_make); }
  [[nodiscard]] std::string problem() const {
    const auto opened = open(false);
    return opened ? "" : opened.error().message;
  }
  [[nodiscard]] std::string path(const char* name) const { return folder.path_of(name); }
  [[nodiscard]] std::string read(const char* name) const { return read_file(path(name)); }
  void write(const char* name, const std::string& text) const { temp.write(std::string("ca/") + name, text); }

  TempFolder temp;
  ca::Folder folder{temp / "ca"};
  WallTime now = some_day();
};

// As an operator's own tool makes it: an RSA root, an intermediate of P-384.
struct OperatorScene : Scene {
  OperatorScene() : Scene(false) {
    require(::mkdir(folder.path().c_str(), 0755) == 0, "mkdir");
    temp.write("ext", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n");
    openssl({"req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", temp / "root.key", "-out", path(ca::kRootCert),
             "-subj", "/O=Example/CN=Root", "-days", "3650", "-addext", "keyUsage=critical,keyCertSign"});
    openssl({"ecparam", "-genkey", "-name", "secp384r1", "-out", path(ca::kCaKey)});
    openssl({"req", "-new", "-key", path(ca::kCaKey), "-subj", "/O=Example/CN=Signer", "-out", temp / "request"});
    openssl({"x509", "-req", "-in", temp / "request", "-CA", path(ca::kRootCert), "-CAkey", temp / "root.key",
             "-CAcreateserial", "-days", "400", "-extfile", temp / "ext", "-out", path(ca::kCaCert)});
    write(ca::kCertChain, read(ca::kCaCert) + read(ca::kRootCert));  // with the root, as Istio's guide does
    require(::chmod(path(ca::kCaKey).c_str(), 0600) == 0, "chmod");
    now = system_clock::now() + minutes(1);  // after whatever openssl makes
  }
};

}  // namespace

TEST_CASE("ca folder: made where there is none, for its owner alone") {
  const Scene scene;
  CHECK(mode_of(scene.folder.path()) == 0700);
  for (const char* name : kEmbedded) CHECK(mode_of(scene.path(name)) == 0600);
  CHECK_FALSE(std::filesystem::exists(scene.path(".replacing")));
  CHECK_FALSE(std::filesystem::exists(scene.path(".replacing.new")));
  const auto root = text_of(scene.temp, scene.read(ca::kRootCert));
  CHECK(root.contains("Not After : May 16 09:00:00 2041 GMT"));
  CHECK(text_of(scene.temp, scene.read(ca::kCaCert)).contains("Not After : May 16 09:00:00 2032 GMT"));
  // The next agent finds it.
  const auto before = scene.read(ca::kRootCert);
  CHECK(scene.open()->done.empty());
  CHECK(scene.read(ca::kRootCert) == before);
}

TEST_CASE("ca folder: processes that start at once end with one authority") {
  for (int round = 0; round < 5; ++round) {
    const Scene scene(false);
    int gate[2];
    require(::pipe(gate) == 0, "pipe");
    std::vector<pid_t> children;
    for (int i = 0; i < 6; ++i) {
      const pid_t child = ::fork();
      require(child >= 0, "fork");
      if (child == 0) {
        char byte = 0;
        ::close(gate[1]);
        (void)!::read(gate[0], &byte, 1);  // until all are there
        auto opened = scene.open();
        const bool good = eventually(seconds(20), [&] { return opened || (opened = scene.open()).has_value(); });
        if (good) {
          const auto made = !opened->done.empty();
          const auto pem = ca::to_pem(opened->authority.bundle) + ca::to_pem(opened->authority.chain);
          scene.temp.write("child-" + std::to_string(i), std::string(made ? "made" : "used") + pem);
        }
        ::_exit(good ? 0 : 1);
      }
      children.push_back(child);
    }
    ::close(gate[0]);
    ::close(gate[1]);
    for (const pid_t child : children) {
      int status = 0;
      REQUIRE(::waitpid(child, &status, 0) == child);
      CHECK(status == 0);
    }
    std::size_t made = 0;
    const auto now = scene.open();
    REQUIRE(now);
    const auto expected = ca::to_pem(now->authority.bundle) + ca::to_pem(now->authority.chain);
    for (int i = 0; i < 6; ++i) {
      const auto text = read_file(scene.temp / ("child-" + std::to_string(i)));
      made += text.starts_with("made") ? 1 : 0;
      CHECK(text.substr(4) == expected);
    }
    CHECK(made == 1);
  }
}

TEST_CASE("ca folder: a process that was killed in the middle is finished by the next") {
  const Scene other;
  const Scene scene;
  const auto old_root = scene.read(ca::kRootCert);
  // Not whole yet: nothing of it counts.
  std::filesystem::create_directory(scene.path(".replacing.new"));
  scene.write(".replacing.new/root-cert.pem", "half");
  REQUIRE(scene.open());
  CHECK(scene.read(ca::kRootCert) == old_root);
  CHECK_FALSE(std::filesystem::exists(scene.path(".replacing.new")));
  // Whole, and one of the files is in its place already.
  std::filesystem::create_directory(scene.path(".replacing"));
  scene.write(ca::kCaKey, other.read(ca::kCaKey));
  for (const char* name : {ca::kRootCert, ca::kCaCert, ca::kCertChain, ca::kRootKey})
    scene.write((std::string(".replacing/") + name).c_str(), other.read(name));
  scene.write(".replacing/old-root-cert.pem", "");  // goes, if it is there
  const auto opened = scene.open();
  REQUIRE(opened);
  CHECK(ca::to_pem(opened->authority.bundle) == other.read(ca::kRootCert));
  CHECK_FALSE(std::filesystem::exists(scene.path(".replacing")));
}

TEST_CASE("ca folder: an operator's authority is used as it is, and not written") {
  const OperatorScene scene;
  const auto before = scene.folder.fingerprint();
  const auto opened = scene.open();
  REQUIRE(opened);
  CHECK_FALSE(opened->next);
  CHECK(opened->authority.chain.size() == 1);  // without the root
  const auto svid = ca::make_svid(opened->authority.issuer, kWeb, {.now = scene.now, .lasts = hours(1)});
  REQUIRE(svid);
  CHECK(ca::check_issued(opened->authority, svid->certificate, scene.now));
  const std::vector chain{svid->certificate, opened->authority.chain.front()};
  const auto verified = verify(scene.temp, scene.read(ca::kRootCert), ca::to_pem(chain), scene.now);
  CAPTURE(verified.err);
  CHECK(verified.exit.ok());
  CHECK(scene.folder.fingerprint() == before);
  CHECK_FALSE(std::filesystem::exists(scene.path("lock")));
}

TEST_CASE("ca folder: a root that signs itself what it is asked to") {
  const OperatorScene scene;
  scene.write(ca::kCaCert, scene.read(ca::kRootCert));
  scene.write(ca::kCertChain, scene.read(ca::kRootCert));
  scene.write(ca::kCaKey, read_file(scene.temp / "root.key"));
  const auto opened = scene.open();
  REQUIRE(opened);
  CHECK(opened->authority.chain.empty());
  const auto svid = ca::make_svid(opened->authority.issuer, kWeb, {.now = scene.now, .lasts = hours(1)});
  REQUIRE(svid);
  CHECK(ca::check_issued(opened->authority, svid->certificate, scene.now));
}

TEST_CASE("ca folder: names that an operator's authority may not give are refused before a peer would") {
  const OperatorScene scene;
  scene.temp.write("ext",
                   "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n"
                   "nameConstraints=critical,permitted;URI:other.example\n");
  openssl({"x509", "-req", "-in", scene.temp / "request", "-CA", scene.path(ca::kRootCert), "-CAkey",
           scene.temp / "root.key", "-CAcreateserial", "-days", "400", "-extfile", scene.temp / "ext", "-out",
           scene.path(ca::kCaCert)});
  scene.write(ca::kCertChain, scene.read(ca::kCaCert));
  const auto opened = scene.open();
  REQUIRE(opened);
  const auto svid = ca::make_svid(opened->authority.issuer, kWeb, {.now = scene.now, .lasts = hours(1)});
  CHECK(ca::check_issued(opened->authority, svid->certificate, scene.now)
            .error()
            .message.starts_with("peers would not believe it: "));
  // So nobody is given it.
  ca::Keeper keeper({.issuer = std::make_unique<ca::FolderIssuer>(scene.folder.path(), ca::UpkeepOptions()),
                     .clock = [&] { return scene.now; }});
  keeper.set_wanted({kWeb});
  (void)keeper.step();
  CHECK(keeper.certificates().empty());
  REQUIRE(keeper.problems().size() == 1);
  CHECK(keeper.problems()[0].text.contains("peers would not believe it: "));
}

TEST_CASE("ca folder: what is wrong, and in which file") {
  const Scene scene;
  const Scene other;
  struct Damage {
    const char* name;
    std::function<void()> spoil;
    std::string problem;  // how it begins, after the folder's path
  };
  const auto chmod_of = [&](const char* name, mode_t mode) {
    return [&scene, name, mode] { require(::chmod(scene.path(name).c_str(), mode) == 0, name); };
  };
  const auto text_for = [&](const char* name, std::string text) {
    return [&scene, name, text] { scene.write(name, text); };
  };
  const auto gone = [&](const char* name) { return [&scene, name] { scene.temp.remove(std::string("ca/") + name); }; };
  const std::vector<Damage> all{
      {ca::kCaKey, chmod_of(ca::kCaKey, 0640), "/ca-key.pem: mode 0640: a key must be its owner's alone (0600)"},
      {ca::kRootKey, chmod_of(ca::kRootKey, 0604), "/root-key.pem: mode 0604: a key must be its owner's alone"},
      {ca::kRootCert, chmod_of(ca::kRootCert, 0666), "/root-cert.pem: mode 0666: others may write it"},
      {ca::kCaKey, text_for(ca::kCaKey, other.read(ca::kCaKey)), "/ca-key.pem: is not the key of ca-cert.pem"},
      {ca::kRootKey, text_for(ca::kRootKey, other.read(ca::kRootKey)),
       "/root-key.pem: is the key of none of the roots in root-cert.pem"},
      {ca::kCaKey, text_for(ca::kCaKey, "-----BEGIN PRIVATE KEY-----\nMIG"), "/ca-key.pem: no private key in PEM"},
      {ca::kCaKey, text_for(ca::kCaKey, ""), "/ca-key.pem: no private key in PEM"},
      {ca::kCaCert, text_for(ca::kCaCert, "damaged"), "/ca-cert.pem: no certificate in it"},
      {ca::kRootCert, text_for(ca::kRootCert, scene.read(ca::kRootCert).substr(0, 300)),
       "/root-cert.pem: certificate 1: damaged PEM: "},
      {ca::kRootCert, text_for(ca::kRootCert, scene.read(ca::kRootCert) + scene.read(ca::kRootKey)),
       "/root-cert.pem: certificate 2: is a PRIVATE KEY: only certificates belong here"},
      {ca::kCaCert, text_for(ca::kCaCert, other.read(ca::kCaCert)), "/ca-key.pem: is not the key of ca-cert.pem"},
      {ca::kCertChain, text_for(ca::kCertChain, ""), "/cert-chain.pem: no certificate in it"},
      {ca::kRootCert, gone(ca::kRootCert), "/root-cert.pem: is missing"},
      {ca::kCaCert, gone(ca::kCaCert), "/ca-cert.pem: is missing"},
      {ca::kCertChain, gone(ca::kCertChain), "/cert-chain.pem: is missing"},
      {ca::kCaKey, gone(ca::kCaKey), "/ca-key.pem: is missing"},
      {ca::kRootCert, text_for(ca::kRootCert, std::string(2 << 20, ' ')), "/root-cert.pem: longer than 1048576 bytes"},
  };
  for (const auto& damage : all) {
    CAPTURE(damage.problem);
    const auto good = scene.read(damage.name);
    damage.spoil();
    CHECK(scene.problem().starts_with(scene.folder.path() + damage.problem));
    scene.write(damage.name, good);
    require(::chmod(scene.path(damage.name).c_str(), 0600) == 0, damage.name);
    CHECK(scene.problem() == "");
  }
}

TEST_CASE("ca folder: authorities that may not sign, or lead nowhere") {
  const Scene scene;
  const Scene other;
  const auto svid = [&](const Scene& of) {
    const auto opened = of.open();
    return ca::make_svid(opened->authority.issuer, kWeb, {.now = of.now, .lasts = hours(1)}).value();
  }(scene);
  const std::vector leaf{svid.certificate};
  scene.write(ca::kCaCert, ca::to_pem(leaf));
  scene.write(ca::kCaKey, ca::to_pem(svid.key));
  CHECK(scene.problem().contains("/ca-cert.pem: \"\" is not an authority: it may not sign certificates"));

  const OperatorScene operators;
  operators.write(ca::kRootCert, other.read(ca::kRootCert));
  CHECK(operators.problem().starts_with(operators.path(ca::kCertChain) +
                                        ": does not lead from ca-cert.pem to a root of root-cert.pem: "));
}

TEST_CASE("ca folder: authorities whose time has not come, or is over") {
  Scene scene;
  scene.now -= hours(1);
  CHECK(scene.problem().contains("begins at 2031-05-17T08:55:00Z"));
  scene.now += days(3653);
  CHECK(scene.problem().contains("/ca-cert.pem: ended at 2032-05-16T09:00:00Z"));
  OperatorScene operators;
  operators.now += days(401);
  CHECK(operators.problem().starts_with(operators.path(ca::kCaCert) + ": ended at "));
  operators.now += days(3400);
  CHECK(operators.problem().starts_with(operators.path(ca::kCaCert) + ": ended at "));
}

TEST_CASE("ca folder: a folder of something else, and what is no folder") {
  const Scene scene(false);
  std::filesystem::create_directory(scene.folder.path());
  scene.write("tls.crt", "x");
  CHECK(scene.open().error().message == scene.folder.path() +
                                            ": is not empty, and has none of root-cert.pem, "
                                            "ca-cert.pem, cert-chain.pem and ca-key.pem");
  scene.temp.remove("ca");
  scene.temp.write("ca", "x");
  CHECK(scene.open().error().message == scene.folder.path() + ": is not a folder");
}

TEST_CASE("ca folder: one that went away is not made again behind the operator's back") {
  const Scene scene;
  scene.temp.remove("ca");
  CHECK(scene.problem() == scene.folder.path() + ": is gone, or empty, and was not when it was read last");
  CHECK_FALSE(std::filesystem::exists(scene.folder.path()));
}

TEST_CASE("ca folder: a lock that another process keeps") {
  const Scene scene(false);
  const auto held = scene.folder.lock();
  REQUIRE(held);
  CHECK(scene.open().error().message == scene.path("lock") + ": another process holds it");
}
