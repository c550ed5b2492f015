// SPDX-License-Identifier: Apache-2.0
// A keeper whose issuer is asked and answers later, or never; and one that begins with what another remembered.
#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "agent/ca/issue.h"
#include "test/unit/ca_scene.h"

using namespace underpass;
using namespace underpass::test;
using namespace std::chrono;

namespace {

// Somebody else's authority, of which an agent knows what it is told.
class Remote : public ca::Issuer {
 public:
  struct Question {
    std::string identity;
    Done done;
  };

  explicit Remote(WallTime now)
      : root_(ca::make_root({.now = now, .lasts = days(3652)}).value()),
        signer_(ca::make_intermediate(root_, {.now = now, .lasts = days(365)}).value()) {
    const std::vector roots{root_.certificate};
    bundle_ = ca::to_pem(roots);
  }

  bool look(WallTime /*now*/, std::vector<std::string>& /*news*/) override { return std::exchange(fresh, false); }
  [[nodiscard]] const std::string& trust_bundle() const override { return bundle_; }
  [[nodiscard]] std::string obstacle() const override { return trouble; }
  [[nodiscard]] WallTime ends() const override { return WallTime::max(); }
  [[nodiscard]] bool is_outdated(const ca::Issued& issued, WallTime /*now*/) const override {
    return outdated.contains(ca::describe(issued.pair.certificate).serial);
  }
  [[nodiscard]] std::size_t at_once() const override { return most; }
  void issue(const std::string& identity, WallTime /*now*/, Done done) override {
    asked.push_back(identity);
    open.push_back({identity, std::move(done)});
  }
  [[nodiscard]] std::vector<ca::Row> rows(WallTime /*now*/) const override { return {}; }
  [[nodiscard]] std::vector<ca::Problem> problems(WallTime /*now*/) const override { return {}; }
  [[nodiscard]] Result<void> rotate_root(WallTime /*now*/) override { return fail("not here"); }

  [[nodiscard]] ca::Issued make(const std::string& identity, WallTime now, seconds lasts = hours(24)) const {
    auto pair = ca::make_svid(signer_, identity, {.now = now, .lasts = lasts}).value();
    const auto certificate = pair.certificate;
    return {.pair = std::move(pair), .chain = {certificate, signer_.certificate}, .issued = now};
  }
  // To the one that was asked first.
  void answer(Result<ca::Issued> result) {
    REQUIRE(!open.empty());
    auto question = std::move(open.front());
    open.erase(open.begin());
    question.done(std::move(result));
  }
  void sign(WallTime now) {
    REQUIRE(!open.empty());
    answer(make(open.front().identity, now));
  }

  std::vector<std::string> asked;  // ever, in order
  std::vector<Question> open;      // without an answer
  std::size_t most = 16;
  std::string trouble;
  std::set<std::string> outdated;  // serials
  bool fresh = false;

 private:
  ca::KeyPair root_, signer_;
  std::string bundle_;
};

Certificate as_given(const ca::Issued& issued) {
  return {.chain = ca::to_pem(issued.chain), .key = ca::to_pem(issued.pair.key)};
}

struct Asking {
  explicit Asking(const std::function<ca::CertificateMap(const Remote&)>& remembered = nullptr) {
    auto made = std::make_unique<Remote>(now);
    remote = made.get();
    ca::KeeperOptions options{
        .wake = [this] { ++woken; }, .clock = [this] { return now; }, .random = [] { return 0.0; }};
    if (remembered) options.remembered = remembered(*made);
    options.issuer = std::move(made);
    keeper.emplace(std::move(options));
  }
  ca::Keeper::Step step_at(WallTime time) {
    now = time;
    return keeper->step();
  }
  [[nodiscard]] bool has(const std::string& identity) const { return keeper->certificates().contains(identity); }
  [[nodiscard]] bool is_believed(const std::string& identity = kWeb) const {
    return has(identity) &&
           verify(folder, keeper->trust_bundle(), keeper->certificates().at(identity).chain, now).exit.ok();
  }

  TempFolder folder;
  WallTime now = some_day();
  int woken = 0;
  Remote* remote = nullptr;
  std::optional<ca::Keeper> keeper;
};

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("ca asking: what was asked is not asked twice, and the answer wakes") {
  Asking scene;
  scene.keeper->set_wanted({kWeb});
  auto step = scene.keeper->step();
  CHECK(step.changed);  // the bundle
  CHECK_FALSE(step.more);
  CHECK(scene.remote->asked == Names{kWeb});
  for (int i = 0; i < 100; ++i) {
    step = scene.step_at(scene.now + minutes(1));
    CHECK_FALSE(step.changed);
    CHECK_FALSE(step.more);
  }
  scene.remote->fresh = true;
  scene.step_at(scene.now - minutes(1));  // whatever else lets what failed be tried again
  CHECK(scene.remote->asked == Names{kWeb});
  CHECK(scene.keeper->problems().empty());
  CHECK_FALSE(scene.has(kWeb));

  CHECK(scene.woken == 0);
  scene.remote->sign(scene.now);
  CHECK(scene.woken == 1);
  CHECK(scene.keeper->step().changed);
  CHECK(scene.is_believed());
  CHECK(scene.keeper->counts().succeeded == 1);
  CHECK_FALSE(scene.keeper->step().changed);
  CHECK(scene.remote->asked == Names{kWeb});
}

TEST_CASE("ca asking: no more at one time than the issuer takes") {
  Asking scene;
  scene.remote->most = 2;
  const std::set<std::string> wanted{kDb, kWeb, kWeb + "1", kWeb + "2", kWeb + "3"};
  scene.keeper->set_wanted(wanted);
  for (int i = 0; i < 3; ++i) CHECK_FALSE(scene.keeper->step().more);  // whoever waits is woken
  CHECK(scene.remote->asked.size() == 2);
  for (std::size_t answered = 1; answered <= 5; ++answered) {
    scene.remote->sign(scene.now);
    scene.keeper->step();
    CHECK(scene.remote->asked.size() == std::min<std::size_t>(answered + 2, 5));
  }
  CHECK(scene.keeper->certificates().size() == 5);
  CHECK(std::set(scene.remote->asked.begin(), scene.remote->asked.end()) == wanted);
}

TEST_CASE("ca asking: an answer for what is not wanted any more is nobody's, and keeps nobody waiting") {
  Asking scene;
  scene.remote->most = 1;
  scene.keeper->set_wanted({kWeb});
  scene.keeper->step();
  scene.keeper->set_wanted({kDb});
  scene.keeper->step();
  CHECK(scene.remote->asked == Names{kWeb, kDb});
  scene.remote->sign(scene.now);
  CHECK(scene.woken == 0);
  scene.keeper->step();
  CHECK(scene.keeper->certificates().empty());
  CHECK(scene.keeper->counts().succeeded == 0);
  scene.remote->sign(scene.now);
  scene.keeper->step();
  CHECK(scene.has(kDb));

  // It is wanted again before the first answer: that one serves, and the second comes too late.
  scene.keeper->set_wanted({kWeb});
  scene.keeper->step();
  scene.keeper->set_wanted({});
  scene.keeper->set_wanted({kWeb});
  scene.keeper->step();
  CHECK(scene.remote->open.size() == 2);
  scene.remote->sign(scene.now);
  scene.keeper->step();
  const auto first = scene.keeper->certificates().at(kWeb).chain;
  scene.remote->sign(scene.now);
  CHECK_FALSE(scene.keeper->step().changed);
  CHECK(scene.keeper->certificates().at(kWeb).chain == first);
  CHECK(scene.keeper->counts().succeeded == 2);
  // Of the numbers of those that are asked nothing is left over.
  scene.keeper->set_wanted({kWeb, kDb, kWeb + "1"});
  scene.keeper->step();
  CHECK(scene.remote->open.size() == 1);
}

TEST_CASE("ca asking: a refusal is said, and asked again with pauses") {
  Asking scene;
  scene.keeper->set_wanted({kWeb});
  scene.keeper->step();
  std::vector<long> pauses;
  while (pauses.size() < 8) {
    const auto refused = scene.now;
    scene.remote->answer(fail("CertificateSigningRequest x: Denied: no such pod"));
    while (scene.remote->open.empty()) scene.step_at(scene.now + seconds(1));
    pauses.push_back(duration_cast<seconds>(scene.now - refused).count());
  }
  CHECK(pauses == std::vector<long>{1, 2, 4, 8, 16, 32, 60, 60});
  CHECK(scene.keeper->counts().failed == 8);
  CHECK(scene.woken == 8);
  REQUIRE(scene.keeper->problems().size() == 1);
  CHECK(
      scene.keeper->problems()[0] ==
      ca::Problem{.text = "certificate " + kWeb +
                          ": there is none: CertificateSigningRequest x: Denied: no such pod; other nodes are neither "
                          "reached nor believed",
                  .urgent = true});
  // Another issuer than it was: at once, and from the first pause on.
  scene.remote->answer(fail("Denied"));
  scene.keeper->step();
  CHECK(scene.remote->open.empty());
  scene.remote->fresh = true;
  scene.keeper->step();
  CHECK(scene.remote->open.size() == 1);
  scene.remote->answer(fail("Denied"));
  scene.step_at(scene.now + seconds(1));
  CHECK(scene.remote->open.size() == 1);
}

TEST_CASE("ca asking: an issuer that answers no more") {
  Asking scene;
  const auto start = scene.now;
  scene.keeper->set_wanted({kWeb});
  scene.keeper->step();
  scene.remote->sign(start);
  scene.keeper->step();
  const auto first = scene.keeper->certificates().at(kWeb).chain;
  scene.step_at(start + hours(12) - seconds(1));
  CHECK(scene.remote->asked.size() == 1);
  scene.step_at(start + hours(12));
  CHECK(scene.remote->asked.size() == 2);

  const auto problem_at = [&](WallTime time) {
    CHECK_FALSE(scene.step_at(time).changed);
    CHECK(scene.keeper->certificates().at(kWeb).chain == first);
    const auto all = scene.keeper->problems();
    CHECK(all.size() <= 1);
    return all.empty() ? ca::Problem() : all.front();
  };
  CHECK(problem_at(start + hours(16) - seconds(1)).text.empty());
  const std::string text = "certificate " + kWeb + ": is not renewed: ";
  const std::string end = "; it ends at 2031-05-18T09:00:00Z";
  CHECK(problem_at(start + hours(16)) ==
        ca::Problem{.text = text + "it was asked for, and there is no answer yet" + end});
  scene.remote->trouble = "the controller has not answered CertificateSigningRequest x";
  CHECK(problem_at(start + hours(23)) == ca::Problem{.text = text + scene.remote->trouble + end});
  CHECK(problem_at(start + hours(23) + seconds(1)).urgent);
  CHECK(problem_at(start + hours(24) - seconds(1)).urgent);
  const auto over = scene.step_at(start + hours(24));
  CHECK(over.changed);
  CHECK(over.news == Names{"certificate-ended identity=" + kWeb});
  CHECK_FALSE(scene.has(kWeb));
  REQUIRE(scene.keeper->problems().size() == 1);
  CHECK(scene.keeper->problems()[0].urgent);
  CHECK(scene.keeper->problems()[0].text.starts_with("certificate " + kWeb +
                                                     ": there is none: " + scene.remote->trouble));
  CHECK(scene.remote->asked.size() == 2);

  // A day late.
  scene.remote->trouble.clear();
  scene.remote->sign(scene.now);
  CHECK(scene.keeper->step().changed);
  CHECK(scene.is_believed());
  CHECK(scene.keeper->problems().empty());
}

TEST_CASE("ca asking: what would not be issued so any more is replaced at once, and serves until then") {
  Asking scene;
  scene.keeper->set_wanted({kWeb});
  scene.keeper->step();
  const auto issued = scene.remote->make(kWeb, scene.now);
  scene.remote->answer(issued);
  scene.keeper->step();
  CHECK(scene.remote->open.empty());
  scene.remote->outdated.insert(ca::describe(issued.pair.certificate).serial);
  CHECK_FALSE(scene.keeper->step().changed);
  CHECK(scene.remote->open.size() == 1);
  CHECK(scene.has(kWeb));
  scene.remote->sign(scene.now);
  CHECK(scene.keeper->step().changed);
  CHECK(scene.keeper->certificates().at(kWeb).chain != ca::to_pem(issued.chain));
  CHECK(scene.remote->open.empty());
}

TEST_CASE("ca asking: what the agent before had is used, and nobody is asked before half of its life") {
  Certificate before;
  Asking scene([&](const Remote& remote) {
    before = as_given(remote.make(kWeb, some_day() - hours(4)));
    return ca::CertificateMap{{kWeb, before}};
  });
  scene.keeper->set_wanted({kWeb});
  CHECK(scene.keeper->step().changed);
  REQUIRE(scene.has(kWeb));
  CHECK(scene.keeper->certificates().at(kWeb).chain == before.chain);
  CHECK(scene.keeper->certificates().at(kWeb).key == before.key);
  scene.step_at(some_day() + hours(8) - seconds(1));
  CHECK(scene.remote->asked.empty());
  scene.step_at(some_day() + hours(8));
  CHECK(scene.remote->asked == Names{kWeb});
  CHECK(scene.keeper->certificates().at(kWeb).chain == before.chain);
  // Once only: what is wanted again later has to be asked for.
  scene.keeper->set_wanted({});
  scene.keeper->set_wanted({kWeb});
  scene.keeper->step();
  CHECK(scene.remote->asked == Names{kWeb, kWeb});
  CHECK_FALSE(scene.has(kWeb));
}

TEST_CASE("ca asking: of what the agent before had, what is outdated or at its end is used until another is there") {
  for (const bool outdated : {true, false}) {
    CAPTURE(outdated);
    std::string serial;
    Asking scene([&](const Remote& remote) {
      const auto issued = remote.make(kWeb, some_day() - hours(outdated ? 1 : 17));
      serial = ca::describe(issued.pair.certificate).serial;
      return ca::CertificateMap{{kWeb, as_given(issued)}};
    });
    if (outdated) scene.remote->outdated.insert(serial);
    scene.keeper->set_wanted({kWeb});
    scene.keeper->step();
    CHECK(scene.remote->asked == Names{kWeb});
    CHECK(scene.is_believed());
    scene.remote->sign(scene.now);
    CHECK(scene.keeper->step().changed);
    CHECK(scene.keeper->problems().empty());
    CHECK(scene.remote->open.empty());
  }
}

TEST_CASE("ca asking: of what the agent before had, what is not good is asked for") {
  using Spoil = std::function<void(const Remote&, Certificate&)>;
  const std::pair<std::string, Spoil> rows[] = {
      {"another key",
       [](const Remote& remote, Certificate& one) { one.key = ca::to_pem(remote.make(kWeb, some_day()).pair.key); }},
      {"another identity",
       [](const Remote& remote, Certificate& one) { one = as_given(remote.make(kDb, some_day())); }},
      {"ended",
       [](const Remote& remote, Certificate& one) { one = as_given(remote.make(kWeb, some_day() - days(2))); }},
      {"not valid yet",
       [](const Remote& remote, Certificate& one) { one = as_given(remote.make(kWeb, some_day() + days(2))); }},
      {"no certificate", [](const Remote& /*remote*/, Certificate& one) { one.chain = "chain"; }},
      {"no key", [](const Remote& /*remote*/, Certificate& one) { one.key = ""; }},
  };
  for (const auto& [what, spoil] : rows) {
    CAPTURE(what);
    Asking scene([&](const Remote& remote) {
      auto one = as_given(remote.make(kWeb, some_day()));
      spoil(remote, one);
      return ca::CertificateMap{{kWeb, one}};
    });
    scene.keeper->set_wanted({kWeb});
    const auto step = scene.keeper->step();
    CHECK(step.news.empty());
    CHECK_FALSE(scene.has(kWeb));
    CHECK(scene.remote->asked == Names{kWeb});
    scene.remote->sign(scene.now);
    scene.keeper->step();
    CHECK(scene.is_believed());
  }
}
