// SPDX-License-Identifier: Apache-2.0
// Authorities that change under agents at work: the intermediate's renewal, and another root, by a command or by an
// operator's hand. At each step what any agent has must be believed by every other, at whatever step that one is.
#include <doctest/doctest.h>

#include <algorithm>

#include "agent/ca/issue.h"
#include "agent/ca/upkeep.h"
#include "test/unit/ca_scene.h"

using namespace underpass;
using namespace underpass::test;
using namespace std::chrono;

namespace {

std::size_t roots_in(const ca::Keeper& keeper) { return count_of(keeper.trust_bundle(), "BEGIN CERTIFICATE"); }

std::string pem(const std::vector<ca::CertificatePtr>& certificates) { return ca::to_pem(certificates); }

// Two agents of one mesh: the second looks later than the first.
struct TwoAgents {
  explicit TwoAgents(ca::UpkeepOptions upkeep = {})
      : a({.issuer = std::make_unique<ca::FolderIssuer>(folder / "ca", upkeep),
           .svid_life = upkeep.svid_life,
           .clock = [this] { return now; }}),
        b({.issuer = std::make_unique<ca::FolderIssuer>(folder / "ca", upkeep),
           .svid_life = upkeep.svid_life,
           .clock = [this] { return now; }}) {
    a.set_wanted({kWeb});
    b.set_wanted({kDb});
    look();
  }
  void look() {
    a.step();
    check();
    b.step();
    check();
  }
  void pass(seconds time) {
    now += time;
    look();
  }
  // So far that all certificates have ended meanwhile.
  void jump(seconds time) {
    now += time;
    a.step();
    b.step();
    check();
  }
  // Each believes the other.
  void check() {
    if (a.certificates().empty() || b.certificates().empty()) return;
    CHECK(verify(folder, a.trust_bundle(), b.certificates().at(kDb).chain, now).exit.ok());
    CHECK(verify(folder, b.trust_bundle(), a.certificates().at(kWeb).chain, now, "sslclient").exit.ok());
  }
  [[nodiscard]] bool has(const char* name) const { return std::filesystem::exists(folder / "ca" / name); }

  TempFolder folder;
  WallTime now = some_day();
  ca::Keeper a;
  ca::Keeper b;
};

}  // namespace

TEST_CASE("ca rotation: the intermediate is renewed at half of its life, by one of the agents") {
  TwoAgents two;
  const auto first = read_file(two.folder / "ca/ca-cert.pem");
  two.jump(days(182));
  CHECK(read_file(two.folder / "ca/ca-cert.pem") == first);
  two.now += hours(12);
  const auto made = two.a.step().news;
  CHECK(std::ranges::find(made, "ca-renewed folder=" + (two.folder / "ca").string()) != made.end());
  two.check();  // b has what the former one signed
  const auto second = read_file(two.folder / "ca/ca-cert.pem");
  CHECK(second != first);
  CHECK(two.b.step().news.empty());
  two.check();
  CHECK(read_file(two.folder / "ca/ca-cert.pem") == second);
  CHECK(two.a.problems().empty());
}

TEST_CASE("ca rotation: the clock goes back to before the intermediate, but not the root") {
  TwoAgents two;
  const auto root = two.a.trust_bundle();
  two.jump(days(190));
  const auto later = read_file(two.folder / "ca/ca-cert.pem");
  two.jump(-days(100));
  CHECK(two.a.certificates().contains(kWeb));
  CHECK(two.b.certificates().contains(kDb));
  CHECK(read_file(two.folder / "ca/ca-cert.pem") != later);
  CHECK(two.a.trust_bundle() == root);
}

TEST_CASE("ca rotation: an intermediate that cannot be renewed is said, and used") {
  TwoAgents two;
  two.folder.write("ca/.replacing.new", "in the way");
  const auto held = ca::Folder(two.folder / "ca").lock();
  REQUIRE(held);
  two.now += days(190);
  two.a.step();
  CHECK(two.a.certificates().contains(kWeb));
  REQUIRE(two.a.problems().size() == 1);
  CHECK(two.a.problems()[0].text.ends_with("/ca/lock: another process holds it"));
}

TEST_CASE("ca rotation: another root by command, with each step after the last has been seen") {
  TwoAgents two;
  const auto old_root = two.a.trust_bundle();
  REQUIRE(two.a.rotate_root());
  two.look();
  for (const auto* keeper : {&two.a, &two.b}) {
    CHECK(roots_in(*keeper) == 2);
    CHECK(verify(two.folder, old_root, keeper->certificates().begin()->second.chain, two.now).exit.ok());
  }
  CHECK(two.b.rotate_root().error().message.contains("a root is being replaced already"));
  two.pass(seconds(59));
  CHECK(two.has(ca::kNextRootKey));
  // Then it signs, and all is made anew.
  two.pass(seconds(1));
  CHECK_FALSE(two.has(ca::kNextRootKey));
  CHECK(two.has(ca::kOldRootCert));
  for (const auto* keeper : {&two.a, &two.b})
    CHECK_FALSE(verify(two.folder, old_root, keeper->certificates().begin()->second.chain, two.now).exit.ok());
  CHECK(two.b.rotate_root().error().message.contains("a root is being replaced already"));
  for (int i = 0; i < 23; ++i) two.pass(hours(1));
  CHECK(roots_in(two.a) == 2);
  two.pass(hours(1) + seconds(60));
  CHECK(roots_in(two.a) == 1);
  CHECK(roots_in(two.b) == 1);
  CHECK(two.a.trust_bundle() == two.b.trust_bundle());
  CHECK(two.a.trust_bundle() != old_root);
  CHECK_FALSE(two.has(ca::kOldRootCert));
  CHECK(two.a.problems().empty());
  CHECK(two.a.rotate_root());  // and again
}

TEST_CASE("ca rotation: each step comes when it is due") {
  TwoAgents two({.svid_life = seconds(20), .overlap = seconds(5)});
  REQUIRE(two.a.rotate_root());
  two.look();
  two.pass(seconds(5));
  CHECK_FALSE(two.has(ca::kNextRootKey));
  two.pass(seconds(12));
  two.pass(seconds(12));
  two.pass(seconds(1));
  CHECK(roots_in(two.a) == 1);
  CHECK(roots_in(two.b) == 1);
}

TEST_CASE("ca rotation: a root that has ended is replaced, at once") {
  TwoAgents two({.root_life = hours(48), .intermediate_life = hours(48)});
  two.now += hours(49);
  two.a.step();
  CHECK(two.a.certificates().empty());
  CHECK(two.a.problems().front().text.contains("ended at 2031-05-19T09:00:00Z"));
  REQUIRE(two.a.rotate_root());
  two.jump(seconds(0));
  CHECK(two.a.certificates().contains(kWeb));
  CHECK(two.b.certificates().contains(kDb));
}

TEST_CASE("ca rotation: an operator's authority, in the three steps of the guide") {
  TwoAgents two;
  const auto write = [&](const char* name, const std::string& text) {
    two.folder.replace(std::string("ca/") + name, text);
  };
  const auto root = ca::make_root({.now = two.now, .lasts = days(900)}).value();
  const auto signer = ca::make_intermediate(root, {.now = two.now, .lasts = days(100)}).value();
  const auto old_bundle = read_file(two.folder / "ca/root-cert.pem");
  // 1: both roots.
  write(ca::kRootCert, old_bundle + pem({root.certificate}));
  two.pass(seconds(2));
  CHECK(roots_in(two.a) == 2);
  // 2: the new one signs. Between the files nothing fits, and what there is stays.
  std::filesystem::remove(two.folder / "ca/root-key.pem");
  write(ca::kCaKey, ca::to_pem(signer.key));
  two.pass(seconds(2));
  CHECK(two.a.problems().front().text.contains("/ca-key.pem: is not the key of ca-cert.pem"));
  write(ca::kCaCert, pem({signer.certificate}));
  write(ca::kCertChain, pem({signer.certificate, root.certificate}));
  two.pass(seconds(2));
  CHECK(two.a.problems().empty());
  for (const auto* keeper : {&two.a, &two.b})
    CHECK(verify(two.folder, pem({root.certificate}), keeper->certificates().begin()->second.chain, two.now).exit.ok());
  // 3: the old one goes.
  write(ca::kRootCert, pem({root.certificate}));
  two.pass(seconds(2));
  CHECK(roots_in(two.a) == 1);
  CHECK(two.a.problems().empty());
  CHECK(two.a.rotate_root().error().message.contains("has no root-key.pem"));
}

TEST_CASE("ca rotation: of roots beside our own none is taken away") {
  TwoAgents two;
  const auto foreign = ca::make_root({.now = two.now, .lasts = days(9000)}).value();
  two.folder.replace("ca/root-cert.pem", read_file(two.folder / "ca/root-cert.pem") + pem({foreign.certificate}));
  two.pass(seconds(2));
  REQUIRE(two.b.rotate_root());
  two.look();
  CHECK(roots_in(two.a) == 3);
  two.pass(seconds(60));
  two.pass(hours(20));
  two.pass(hours(5));
  CHECK(roots_in(two.a) == 2);
  CHECK(two.a.trust_bundle().contains(pem({foreign.certificate})));
}
