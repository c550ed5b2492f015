// SPDX-License-Identifier: Apache-2.0
// Certificates that are kept: made, renewed, and what becomes of them when clocks jump and folders go.
#include "agent/ca/keeper.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "agent/ca/issue.h"
#include "test/unit/ca_scene.h"

using namespace underpass;
using namespace underpass::test;
using namespace std::chrono;

namespace {

constexpr seconds kLook(2);

bool has_urgent(const ca::Keeper& keeper) { return std::ranges::any_of(keeper.problems(), &ca::Problem::urgent); }

const ca::Row& row_of(const std::vector<ca::Row>& rows, const std::string& identity) {
  return *std::ranges::find(rows, identity, &ca::Row::identity);
}

}  // namespace

TEST_CASE("ca keeper: nothing is wanted, nothing is made") {
  KeptScene scene;
  CHECK_FALSE(scene.settle());
  scene.keeper.set_wanted({});
  CHECK_FALSE(scene.settle());
  CHECK_FALSE(std::filesystem::exists(scene.ca_dir()));
  CHECK(scene.keeper.rows().empty());
  CHECK(scene.keeper.problems().empty());
}

TEST_CASE("ca keeper: what is wanted is there, and openssl believes it") {
  KeptScene scene;
  scene.keeper.set_wanted({kWeb, kDb});
  CHECK(scene.keeper.problems().empty());  // its turn has not come
  CHECK(scene.settle());
  CHECK(scene.news == std::vector<std::string>{"ca-made folder=" + scene.ca_dir()});
  CHECK(scene.is_believed(kWeb));
  CHECK(scene.is_believed(kDb));
  CHECK(scene.keeper.trust_bundle() == read_file(scene.file(ca::kRootCert)));
  CHECK(count_of(scene.chain(), "BEGIN CERTIFICATE") == 2);  // without the root
  CHECK(count_of(scene.certificate(kWeb)->key, "BEGIN PRIVATE KEY") == 1);
  CHECK(scene.certificate(kWeb)->key != scene.certificate(kDb)->key);
  CHECK_FALSE(scene.settle());  // and stays
  CHECK(scene.keeper.counts().succeeded == 2);
  // No more is wanted: no more is kept.
  scene.keeper.set_wanted({kDb});
  CHECK(scene.certificate(kWeb) == nullptr);
  CHECK(scene.certificate(kDb) != nullptr);
}

TEST_CASE("ca keeper: another trust domain, all anew") {
  KeptScene scene;
  scene.keeper.set_wanted({kWeb});
  scene.settle();
  const std::string other = "spiffe://other.example/ns/shop/sa/web";
  scene.keeper.set_wanted({other});
  CHECK(scene.settle());
  CHECK(scene.certificate(kWeb) == nullptr);
  CHECK(scene.is_believed(other));
  CHECK(text_of(scene.folder, scene.chain(other)).contains("URI:" + other + "\n"));
}

TEST_CASE("ca keeper: renewed at half of their life, with another key") {
  KeptScene scene;
  scene.keeper.set_wanted({kWeb});
  scene.settle();
  const auto first = *scene.certificate(kWeb);
  CHECK(row_of(scene.keeper.rows(), kWeb).renewal == scene.now + hours(12));
  scene.now += hours(12) - seconds(1);
  CHECK_FALSE(scene.settle());
  scene.now += seconds(1);
  CHECK(scene.settle());
  CHECK(scene.certificate(kWeb)->chain != first.chain);
  CHECK(scene.certificate(kWeb)->key != first.key);
  CHECK(scene.is_believed());
  CHECK(row_of(scene.keeper.rows(), kWeb).renewal == scene.now + hours(12));
  CHECK(scene.keeper.problems().empty());
}

TEST_CASE("ca keeper: hundreds are not renewed at once, and made in batches") {
  const TempFolder folder;
  auto now = some_day();
  ca::Keeper keeper({.issuer = std::make_unique<ca::FolderIssuer>(folder / "ca", ca::UpkeepOptions(), 50),
                     .clock = [&] { return now; }});
  std::set<std::string> wanted;
  for (int i = 0; i < 120; ++i) wanted.insert("spiffe://cluster.local/ns/shop/sa/a" + std::to_string(i));
  keeper.set_wanted(wanted);
  CHECK(keeper.step().more);
  CHECK(keeper.certificates().size() == 50);
  CHECK(keeper.step().more);
  CHECK_FALSE(keeper.step().more);
  CHECK(keeper.certificates().size() == 120);
  std::set<WallTime> renewals;
  for (const auto& row : keeper.rows())
    if (row.kind == ca::Kind::kSvid) {
      renewals.insert(*row.renewal);
      CHECK(*row.renewal > now + minutes(9 * 60 + 30));
      CHECK(*row.renewal <= now + hours(12));
    }
  CHECK(renewals.size() > 100);
  CHECK(*renewals.rbegin() - *renewals.begin() > hours(1));
}

TEST_CASE("ca keeper: the folder is damaged, and mended") {
  KeptScene scene;
  scene.keeper.set_wanted({kWeb});
  scene.settle();
  const auto first = scene.chain();
  const auto key = read_file(scene.file(ca::kCaKey));
  scene.folder.write("ca/ca-key.pem", "damaged");
  scene.now += kLook;
  CHECK_FALSE(scene.settle());
  CHECK(scene.problem() ==
        "ca " + scene.file(ca::kCaKey).string() +
            ": no private key in PEM, without a passphrase, that can be read, since "
            "2031-05-17T09:00:02Z; nothing is signed, and certificates that there are stay in use until they end");
  CHECK_FALSE(has_urgent(scene.keeper));
  CHECK(scene.chain() == first);
  // A pod that comes now gets none, and it is said.
  scene.keeper.set_wanted({kWeb, kDb});
  scene.settle();
  CHECK(scene.certificate(kDb) == nullptr);
  CHECK(row_of(scene.keeper.rows(), kDb).problem.contains("no private key in PEM"));
  CHECK(has_urgent(scene.keeper));
  scene.now += kLook;
  scene.settle();
  scene.folder.write("ca/ca-key.pem", key);
  CHECK(scene.settle());  // without the pause of what failed
  CHECK(scene.is_believed(kDb));
  CHECK(scene.chain() == first);
  CHECK(scene.keeper.problems().empty());
  CHECK(scene.news.back() == "ca-good-again folder=" + scene.ca_dir());
}

TEST_CASE("ca keeper: the folder is lost, and put back") {
  KeptScene scene;
  scene.keeper.set_wanted({kWeb});
  scene.settle();
  const auto first = scene.chain();
  std::filesystem::rename(scene.ca_dir(), scene.folder / "elsewhere");
  scene.now += kLook;
  CHECK_FALSE(scene.settle());
  CAPTURE(scene.problem());
  CHECK(scene.problem().contains(": is gone, or empty, and was not when it was read last"));
  CHECK(scene.chain() == first);
  CHECK_FALSE(std::filesystem::exists(scene.ca_dir()));
  std::filesystem::rename(scene.folder / "elsewhere", scene.ca_dir());
  CHECK_FALSE(scene.settle());
  CHECK(scene.keeper.problems().empty());
}

TEST_CASE("ca keeper: a renewal that fails until the end, and then some") {
  KeptScene scene;
  scene.keeper.set_wanted({kWeb});
  scene.settle();
  const auto first = scene.chain();
  require(::chmod(scene.file(ca::kCaKey).c_str(), 0644) == 0, "chmod");
  const auto failures = [&] { return scene.keeper.counts().failed; };

  scene.now += hours(12);  // due
  scene.settle();
  CHECK(failures() == 1);
  CHECK(scene.keeper.problems().size() == 1);  // the folder's
  // Tried again after a second, and after two, and so on to a minute.
  std::vector<long> pauses;
  for (auto tried = scene.now; pauses.size() < 9;) {
    const auto before = failures();
    scene.now += seconds(1);
    scene.settle();
    if (failures() == before) continue;
    pauses.push_back(duration_cast<seconds>(scene.now - tried).count());
    tried = scene.now;
  }
  CHECK(pauses == std::vector<long>{1, 2, 4, 8, 16, 32, 60, 60, 60});

  scene.now = some_day() + hours(16) + minutes(1);  // less than a third is left
  scene.settle();
  REQUIRE(scene.keeper.problems().size() == 2);
  CHECK(scene.keeper.problems()[1] ==
        ca::Problem{.text = "certificate " + kWeb +
                            ": is not renewed: its authority is not good; it ends at 2031-05-18T09:00:00Z"});
  scene.now = some_day() + hours(23) + minutes(1);  // the last hour
  scene.settle();
  CHECK(scene.keeper.problems()[1].urgent);
  CHECK(scene.chain() == first);  // what is valid is used
  scene.now = some_day() + hours(24);
  CHECK(scene.settle());
  CHECK(scene.certificate(kWeb) == nullptr);
  CHECK(scene.news.back() == "certificate-ended identity=" + kWeb);
  CHECK(scene.keeper.problems()[1].text.starts_with("certificate " + kWeb + ": there is none: "));

  require(::chmod(scene.file(ca::kCaKey).c_str(), 0600) == 0, "chmod");
  scene.now += kLook;
  CHECK(scene.settle());
  CHECK(scene.is_believed());
  CHECK(scene.keeper.problems().empty());
}

TEST_CASE("ca keeper: of many problems the first are told, the others counted") {
  KeptScene scene;
  scene.folder.write("ca", "no folder");
  std::set<std::string> wanted;
  for (int i = 0; i < 20; ++i) wanted.insert("spiffe://cluster.local/ns/shop/sa/a" + std::to_string(i));
  scene.keeper.set_wanted(wanted);
  scene.settle();
  const auto problems = scene.keeper.problems();
  REQUIRE(problems.size() == 7);
  CHECK(problems.back().text == "certificates: 15 more are not renewed");
}

TEST_CASE("ca keeper: the clock jumps forth and back") {
  KeptScene scene;
  scene.keeper.set_wanted({kWeb});
  scene.settle();
  auto before = scene.chain();
  scene.now += days(3);  // all have ended
  CHECK(scene.settle());
  CHECK(scene.chain() != before);
  CHECK(scene.is_believed());
  before = scene.chain();
  scene.now -= days(3);  // what was made is not valid yet, and a moment earlier nothing was wrong
  CHECK(scene.settle());
  CHECK(scene.chain() != before);
  CHECK(scene.is_believed());
  before = scene.chain();
  scene.now -= minutes(3);  // little enough that it is valid still
  CHECK_FALSE(scene.settle());
  CHECK(scene.is_believed());
  // Before the root began: nothing can be valid then.
  scene.now -= days(1);
  CHECK(scene.settle());
  CHECK(scene.certificate(kWeb) == nullptr);
  CHECK(scene.problem().contains("begins at 2031-05-17T08:55:00Z"));
  scene.now += days(1) + minutes(3);
  CHECK(scene.settle());
  CHECK(scene.is_believed());
  CHECK(scene.keeper.problems().empty());
}

TEST_CASE("ca keeper: a jump back does not make a pause last as long") {
  KeptScene scene;
  scene.keeper.set_wanted({kWeb, "spiffe://cluster.local/ns/shop/sa/not valid"});
  scene.settle();
  scene.now += kLook;
  scene.settle();  // the folder is as it was made
  const auto failed = scene.keeper.counts().failed;
  scene.now -= minutes(2);
  scene.settle();
  CHECK(scene.keeper.counts().failed == failed + 1);
}

TEST_CASE("ca keeper: a year without an agent, and the intermediate has ended") {
  KeptScene scene;
  scene.keeper.set_wanted({kWeb});
  scene.settle();
  const auto root = scene.keeper.trust_bundle();
  scene.now += days(400);
  CHECK(scene.settle());
  CHECK(scene.is_believed());
  CHECK(scene.keeper.trust_bundle() == root);
  CHECK(scene.news.back() == "ca-renewed folder=" + scene.ca_dir());
}

TEST_CASE("ca keeper: a lifetime longer than the authority has left is not renewed again and again") {
  KeptScene scene({.root_life = hours(10), .intermediate_life = hours(10)});
  scene.keeper.set_wanted({kWeb});
  scene.settle();
  for (int i = 0; i < 580; ++i) {
    scene.now += minutes(1);
    scene.settle();
  }
  CHECK(scene.keeper.counts().succeeded == 1);
  CHECK(scene.is_believed());
  CHECK(has_urgent(scene.keeper));
  CHECK(std::ranges::any_of(scene.keeper.problems(), [](const auto& problem) {
    return problem.text.contains("its authority ends at 2031-05-17T19:00:00Z");
  }));
}

TEST_CASE("ca keeper: rows have no key") {
  KeptScene scene;
  scene.keeper.set_wanted({kWeb});
  scene.settle();
  const auto rows = scene.keeper.rows();
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].kind == ca::Kind::kRoot);
  CHECK(rows[0].pem == scene.keeper.trust_bundle());
  CHECK_FALSE(rows[0].renewal);
  CHECK(rows[1].kind == ca::Kind::kIntermediate);
  CHECK(rows[1].details->issuer == rows[0].details->subject);
  CHECK(rows[1].renewal == scene.now + hours(365 * 12));
  CHECK(rows[2].details->identity == kWeb);
  CHECK(rows[2].details->issuer == rows[1].details->subject);
  CHECK(rows[2].pem == scene.chain());
  for (const auto& row : rows) CHECK_FALSE(row.pem.contains("PRIVATE"));
}
