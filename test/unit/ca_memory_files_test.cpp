// SPDX-License-Identifier: Apache-2.0
// An authority whose files are in memory goes the way of one in a folder, step by step.
#include "agent/ca/memory_files.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "agent/ca/folder.h"
#include "agent/ca/issue.h"
#include "agent/ca/upkeep.h"
#include "test/unit/ca_scene.h"

using namespace underpass;
using namespace underpass::test;
using namespace std::chrono;

namespace {

// What two places have in common, whose keys are not the same.
struct Look {
  std::vector<std::string> done;  // "ca-made"
  std::vector<std::string> files;
  std::size_t roots = 0;
  std::optional<WallTime> next;
  std::string problem;

  bool operator==(const Look&) const = default;
};

Look look_at(const ca::AuthorityFiles& files, WallTime now, bool may_make = false) {
  const auto opened = ca::open_authority(files, {}, now, may_make);
  REQUIRE(opened);
  Look out{.done = {},
           .files = {},
           .roots = opened->authority.bundle.size(),
           .next = opened->next,
           .problem = opened->problem};
  for (const auto& one : opened->done) {
    CHECK(one.ends_with(" folder=" + files.path()));
    out.done.push_back(one.substr(0, one.find(' ')));
  }
  for (const auto& [name, text] : files.read().value()) out.files.push_back(name);
  return out;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("ca memory files: made, rotated and renewed as in a folder") {
  const TempFolder temporary;
  const ca::Folder folder(temporary / "ca");
  const ca::MemoryFiles memory("Secret underpass-system/underpass-ca", {});
  const auto both = [&](WallTime now, bool may_make = false) {
    const auto in_memory = look_at(memory, now, may_make);
    CHECK(in_memory == look_at(folder, now, may_make));
    return in_memory;
  };
  const auto start = some_day();

  const Names own{ca::kCaCert, ca::kCaKey, ca::kCertChain, ca::kRootCert, ca::kRootKey};
  CHECK(both(start, true) ==
        Look{.done = {"ca-made"}, .files = own, .roots = 1, .next = start + hours(365 * 12), .problem = ""});
  CHECK(both(start + hours(1)).done.empty());

  const auto first = memory.files();
  for (const auto* place :
       {static_cast<const ca::AuthorityFiles*>(&memory), static_cast<const ca::AuthorityFiles*>(&folder)})
    REQUIRE(ca::rotate_root(*place, {}, start + hours(1)));
  const auto begun = both(start + hours(1));
  CHECK(begun.done.empty());
  CHECK(begun.roots == 2);
  CHECK(std::ranges::find(begun.files, ca::kNextRootKey) != begun.files.end());
  CHECK(ca::rotate_root(memory, {}, start + hours(1))
            .error()
            .message.starts_with("Secret underpass-system/underpass-ca: a root is being replaced already"));

  CHECK(both(start + hours(1) + seconds(59)).done.empty());
  const auto changed = both(start + hours(1) + seconds(60));
  CHECK(changed.done == Names{"ca-root-changed"});
  CHECK(changed.roots == 2);
  CHECK(memory.files().at(ca::kCaCert) != first.at(ca::kCaCert));
  CHECK(std::ranges::find(changed.files, ca::kNextRootKey) == changed.files.end());
  CHECK(std::ranges::find(changed.files, ca::kOldRootCert) != changed.files.end());

  CHECK(both(start + hours(25)).done.empty());
  const auto over = both(start + hours(25) + minutes(2));
  CHECK(over.done == Names{"ca-old-root-removed"});
  CHECK(over.roots == 1);
  CHECK(over.files == own);
  CHECK(!memory.files().at(ca::kRootCert).contains(first.at(ca::kRootCert)));

  CHECK(both(start + days(183)).done == Names{"ca-renewed"});
  CHECK(both(start + days(183)).done.empty());
}

TEST_CASE("ca memory files: what a folder has, taken along") {
  const TempFolder temporary;
  const ca::Folder folder(temporary / "ca");
  REQUIRE(ca::open_authority(folder, {}, some_day(), true));
  const ca::MemoryFiles memory("Secret a/b", folder.read().value());
  const auto opened = ca::open_authority(memory, {}, some_day() + hours(1), false);
  REQUIRE(opened);
  CHECK(memory.files() == folder.read().value());
  const auto svid = ca::make_svid(opened->authority.issuer, kWeb, {.now = some_day(), .lasts = hours(1)}).value();
  const std::vector chain{svid.certificate, opened->authority.issuer.certificate};
  CHECK(verify(temporary, read_file(temporary / "ca/root-cert.pem"), ca::to_pem(chain), some_day()).exit.ok());
}

TEST_CASE("ca memory files: nothing is made where something was, and an operator's is left alone") {
  const ca::MemoryFiles nothing("Secret a/b", {});
  CHECK(ca::open_authority(nothing, {}, some_day(), false).error().message ==
        "Secret a/b: is gone, or empty, and was not when it was read last");
  CHECK(nothing.files().empty());

  const ca::MemoryFiles own("Secret a/b", {});
  REQUIRE(ca::open_authority(own, {}, some_day(), true));
  auto files = own.files();
  files.erase(ca::kRootKey);
  const ca::MemoryFiles operators("Secret a/b", files);
  const auto opened = ca::open_authority(operators, {}, some_day() + days(300), false);
  REQUIRE(opened);
  CHECK(opened->done.empty());
  CHECK_FALSE(opened->next);
  CHECK(operators.files() == files);
  CHECK(ca::rotate_root(operators, {}, some_day()).error().message ==
        "Secret a/b: has no root-key.pem: its root is replaced by whoever has that key");
  CHECK(operators.files() == files);
}
