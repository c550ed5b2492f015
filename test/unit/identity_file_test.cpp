// SPDX-License-Identifier: Apache-2.0
// The numbers of service accounts from one agent to the next.
#include "agent/identity_file.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>

#include "test/support/temp_folder.h"

namespace underpass {
namespace {

using compile::Identity;
using compile::IdentityNumbers;

Identity account(const std::string& ns, const std::string& name) {
  return {.kind = Identity::Kind::kAccount, .account = {.ns = ns, .name = name}};
}

const auto kWeb = account("shop", "web");
const auto kDb = account("shop", "db");

TEST_CASE("identity file: there and back") {
  const test::TempFolder folder;
  const auto path = identity_path((folder / "run").string());
  CHECK(path == (folder / "run/identities.json").string());
  IdentityNumbers none;
  CHECK(load_identities(path, none));
  CHECK(none.all().empty());

  IdentityNumbers before;
  const auto web = before.number_of(kWeb);
  const auto db = before.number_of(kDb);
  REQUIRE(save_identities(path, before));
  IdentityNumbers after;
  REQUIRE(load_identities(path, after));
  CHECK(after.all() == before.all());
  CHECK(after.number_of(kDb) == db);
  CHECK(after.number_of(kWeb) == web);
  CHECK(after.number_of(account("bank", "web")) == db + 1);
}

TEST_CASE("identity file: of one that is not understood as a whole nothing is believed") {
  const std::string first = std::to_string(UP_IDENTITY_FIRST_ACCOUNT);
  const auto accounts = [](const std::string& all) {
    return R"({"version": 1, "accounts": {"a/good": 99, )" + all + "}}";
  };
  const std::pair<std::string, std::string> rows[] = {
      {"", "not JSON: incomplete JSON"},
      {"[]", "not an object"},
      {R"({"version": 1, "accounts": {"a/b": 99})", "not JSON: incomplete JSON"},
      {R"({"accounts": {}})", "version: is missing"},
      {R"({"version": 2, "accounts": {}})", "version: 2: must be from 1 to 1"},
      {R"({"version": 1})", "accounts: is missing"},
      {R"({"version": 1, "accounts": []})", "accounts: not an object"},
      {R"({"version": 1, "accounts": {}, "more": 1})", "more: is not known"},
      {accounts(R"("a/b": 99)"), "accounts.a/b: 99 is another's, too"},
      {accounts(R"("a/b": )" + std::to_string(UP_IDENTITY_FIRST_ACCOUNT - 1)), "accounts.a/b: no number of an account"},
      {accounts(R"("a/b": 0)"), "accounts.a/b: no number of an account"},
      {accounts(R"("a/b": -1)"), "accounts.a/b: no number of an account"},
      {accounts(R"("a/b": 4294967296)"), "accounts.a/b: no number of an account"},
      {accounts(R"("a/b": "100")"), "accounts.a/b: no number of an account"},
      {accounts(R"("a/b": 100.5)"), "accounts.a/b: no number of an account"},
      {accounts(R"("ab": 100)"), "accounts.ab: not NAMESPACE/NAME"},
  };
  const test::TempFolder folder;
  const auto path = identity_path(folder.path().string());
  for (const auto& [text, cause] : rows) {
    CAPTURE(text);
    folder.write("identities.json", text);
    IdentityNumbers numbers;
    const auto loaded = load_identities(path, numbers);
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().message == path + ": " + cause);
    CHECK(numbers.all().empty());
  }
  folder.write("identities.json", accounts(R"("a/b": )" + first + R"(, "a/c": 100)"));
  IdentityNumbers numbers;
  CHECK(load_identities(path, numbers));
  CHECK(numbers.all().size() == 3);
}

TEST_CASE("identity numbers: what was adopted is kept, and nobody else gets its number") {
  IdentityNumbers numbers;
  const std::uint32_t web = UP_IDENTITY_FIRST_ACCOUNT + 7;
  numbers.adopt({.ns = "shop", .name = "web"}, web);
  numbers.adopt({.ns = "shop", .name = "old"}, UP_IDENTITY_FIRST_ACCOUNT + 2);
  CHECK(numbers.number_of(kWeb) == web);
  CHECK(numbers.account_of(web) == NamespacedName{.ns = "shop", .name = "web"});
  CHECK(numbers.number_of(kDb) == web + 1);
  CHECK(numbers.account_of(web + 1) == NamespacedName{.ns = "shop", .name = "db"});
  CHECK_FALSE(numbers.account_of(web + 2));
  // An account that has a number has it for good.
  numbers.adopt({.ns = "shop", .name = "web"}, web + 100);
  CHECK(numbers.number_of(kWeb) == web);
  CHECK(numbers.number_of(account("bank", "a")) == web + 101);
}

}  // namespace
}  // namespace underpass
