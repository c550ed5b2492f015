// SPDX-License-Identifier: Apache-2.0
// Runs one behaviour in each mode and compares. The same function runs everywhere; over plain TCP it says what is
// right.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <optional>

#include "test/semantics/ground.h"
#include "test/semantics/row.h"
#include "test/semantics/table.h"
#include "test/support/eventually.h"

namespace underpass::test {
namespace {

using Lines = std::vector<std::string>;

// How long a workload may be learned of; the agent's own limit is 10 s after the first read.
constexpr milliseconds kLearning = seconds(20);
constexpr int kEnough = 10;

struct Observed {
  Lines lines;
  Account account;
};

constexpr const char* kFailed = "failed:";

Observed observe(const World& world, const Stage& stage, Behaviour behave) {
  Scene scene(world, stage);
  try {
    behave(scene);
  } catch (const Skip&) {
    throw;
  } catch (const std::exception& error) {
    scene.saw(kFailed, error.what());
  }
  return {.lines = scene.lines(), .account = scene.account()};
}

// Line by line what is different: "line 3: plain …, on …". Empty: nothing is.
std::string difference(const Lines& plain, const Lines& other, const std::string& mode) {
  std::string text;
  for (std::size_t i = 0; i < std::max(plain.size(), other.size()); ++i) {
    const std::string left = i < plain.size() ? plain[i] : "(nothing)";
    const std::string right = i < other.size() ? other[i] : "(nothing)";
    if (left == right) continue;
    text += "\n  line " + std::to_string(i + 1) + "  plain: " + left + "\n" +
            std::string(10 + std::to_string(i + 1).size() - mode.size(), ' ') + mode + ": " + right;
  }
  return text;
}

std::string joined(const Lines& lines) {
  std::string text;
  for (const std::string& line : lines) text += "\n  " + line;
  return text;
}

const Row* find_row(std::string_view name) {
  const auto rows = expectations();
  const auto found = std::ranges::find(rows, name, &Row::name);
  return found == rows.end() ? nullptr : &*found;
}

void check_accelerated(const Row& row, const Account& account) {
  if (!row.declined.empty()) {
    CHECK_MESSAGE(account.way == "direct", row.name, ": is to be declined");
    CHECK_MESSAGE(account.reason == row.declined, row.name, ": is to be declined as ", row.declined);
    return;
  }
  if (!row.trigger.empty()) return;
  CHECK_MESSAGE(account.way == "short-circuit", row.name, ": must be short-circuited, and was ", account.way, " (",
                account.reason, ")");
  CHECK_MESSAGE(account.redirected > 0, row.name, ": no byte went socket to socket");
}

void note_run(const Row& row, const char* mode, const Account& account, const std::string& reason, bool differs) {
  note({std::string(row.name), mode, account.way, account.redirected, reason, differs ? "DIFFERS" : "equal"});
}

// One stage: what is right there, and what mode `on` makes of it.
struct InOn {
  Lines plain;
  bool differs = false;
};

InOn compare_on(const Row& row, Behaviour behave, int family, bool server_sends) {
  Ground& at = ground();
  CAPTURE(server_sends);
  const Observed plain = observe(at.world(), at.plain(family, server_sends), behave);
  for (const std::string& line : plain.lines) {
    if (line.starts_with(kFailed)) FAIL(row.name, ": over plain TCP:", joined(plain.lines));
  }
  REQUIRE_FALSE(plain.lines.empty());
  if (std::getenv("UNDERPASS_SEMANTICS_VERBOSE") != nullptr) MESSAGE(row.name, ": over plain TCP", joined(plain.lines));
  CHECK(plain.account.redirected == 0);

  const Observed on = observe(at.world(), at.on(family, server_sends), behave);
  const std::string diff = difference(plain.lines, on.lines, "on");
  if (row.differs_in_on.empty()) {
    CHECK_MESSAGE(diff.empty(), row.name, ": in mode on", diff);
  } else if (!diff.empty()) {
    MESSAGE(row.name, ": as documented in mode on", diff);
  }
  check_accelerated(row, on.account);
  note_run(row, family == AF_INET ? "on, IPv4" : "on, IPv6", on.account, on.account.reason, !diff.empty());
  return {plain.lines, !diff.empty()};
}

// In mode `auto` nothing may differ, while the agent learns and when it has.
void compare_auto(const Row& row, Behaviour behave, const Lines& plain) {
  Ground& at = ground();
  const Ground::Fresh fresh(at);
  CHECK_MESSAGE(fresh.learning(), row.name, ": a new workload is not learned of, but ", fresh.verdict());
  const Stage stage = fresh.stage(AF_INET, false);
  const auto deadline = Clock::now() + kLearning;
  std::string declined;  // why this connection is none to learn from
  for (int n = 1; fresh.learning() && declined.empty(); ++n) {
    // It has seen enough, and looks at it once a second.
    if (n > kEnough && eventually(seconds(2), [&] { return !fresh.learning(); })) break;
    const Observed while_learning = observe(at.world(), stage, behave);
    const std::string diff = difference(plain, while_learning.lines, "auto");
    CHECK_MESSAGE(diff.empty(), row.name, ": in mode auto, in its learning phase, time ", n, diff);
    if (!diff.empty() || Clock::now() > deadline) break;
    const std::string& reason = while_learning.account.reason;
    if (while_learning.account.way == "direct" && reason != "learning" && reason != "mode-off") declined = reason;
  }
  CHECK_MESSAGE((!fresh.learning() || !declined.empty()), row.name, ": is still learning");
  const std::string verdict = declined.empty() ? fresh.verdict() : "declined (" + declined + ")";
  const Observed learned = observe(at.world(), stage, behave);
  const std::string diff = difference(plain, learned.lines, "auto");
  if (!row.differs_in_auto) CHECK_MESSAGE(diff.empty(), row.name, ": in mode auto, learned to be ", verdict, diff);
  check_accelerated(row, learned.account);
  if (!row.trigger.empty()) {
    CHECK_MESSAGE(learned.account.way == "direct", row.name, ": in mode auto, learned to be ", verdict);
    CHECK_MESSAGE(verdict.find(row.trigger) != std::string::npos, row.name, ": learned to be ", verdict,
                  ", not because of ", row.trigger);
  }
  note_run(row, "auto", learned.account, verdict, !diff.empty());
}

std::vector<std::string_view>& announced() {
  static std::vector<std::string_view> names;
  return names;
}

}  // namespace

bool announce_behaviour(std::string_view name) {
  announced().push_back(name);
  return true;
}

std::span<const std::string_view> known_behaviours() { return announced(); }

void compare(std::string_view name, Behaviour behave) {
  const Row* row = find_row(name);
  REQUIRE_MESSAGE(row != nullptr, name, ": expectations.cpp does not know this row");
  try {
    // The client sends over IPv4 and the server over IPv6, so that both ends and both families are seen.
    const InOn first = compare_on(*row, behave, AF_INET, false);
    const InOn second = compare_on(*row, behave, AF_INET6, true);
    if (!row->differs_in_on.empty() && !row->may_be_equal_in_on) {
      CHECK_MESSAGE((first.differs || second.differs), row->name,
                    ": differs no longer in mode on; it was said: ", row->differs_in_on);
    }
    compare_auto(*row, behave, first.plain);
  } catch (const Skip& reason) {
    std::cout << "SKIPPED: " << name << ": " << reason.what() << '\n';
    note({std::string(name), "-", "-", 0, reason.what(), "skipped"});
  }
}

}  // namespace underpass::test
