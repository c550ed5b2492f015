// SPDX-License-Identifier: Apache-2.0
// Certificates from one agent to the next, by a file with their keys in it.
#include "agent/ca/remembered.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "test/unit/ca_scene.h"

using namespace underpass;
using namespace underpass::test;

namespace {

const ca::CertificateMap kTwo{{kWeb, {.chain = "web\nchain\n", .key = "web key"}},
                              {kDb, {.chain = "db \"chain\"", .key = "db key"}}};

bool same(const ca::CertificateMap& a, const ca::CertificateMap& b) {
  return std::ranges::equal(a, b, [](const auto& one, const auto& other) {
    return one.first == other.first && one.second.chain == other.second.chain && one.second.key == other.second.key;
  });
}

mode_t mode_of(const std::string& path) {
  struct stat facts{};
  require(::stat(path.c_str(), &facts) == 0, "stat " + path);
  return facts.st_mode & 07777;
}

}  // namespace

TEST_CASE("ca remembered: there and back, and its owner's alone") {
  const TempFolder folder;
  const auto path = ca::remembered_path((folder / "run").string());
  CHECK(path == (folder / "run/certificates.json").string());
  const auto nothing = ca::load_remembered(path);
  REQUIRE(nothing);
  CHECK(nothing->trust_bundle.empty());
  CHECK(nothing->certificates.empty());

  const auto old_mask = ::umask(0);
  CHECK(ca::save_remembered(path, "roots\n", kTwo));
  ::umask(old_mask);
  CHECK(mode_of(path) == 0600);
  const auto known = ca::load_remembered(path);
  REQUIRE(known);
  CHECK(known->trust_bundle == "roots\n");
  CHECK(same(known->certificates, kTwo));

  // In the place of what was there.
  CHECK(ca::save_remembered(path, "", {}));
  CHECK(ca::load_remembered(path).value().certificates.empty());
}

TEST_CASE("ca remembered: what others may read or write is not believed") {
  const TempFolder folder;
  const auto path = ca::remembered_path(folder.path().string());
  REQUIRE(ca::save_remembered(path, "roots", kTwo));
  for (const mode_t mode : {0640, 0604, 0620, 0602, 0610, 0601}) {
    CAPTURE(mode);
    require(::chmod(path.c_str(), mode) == 0, "chmod");
    const auto known = ca::load_remembered(path);
    REQUIRE_FALSE(known);
    CHECK(known.error().message == path + ": must be its owner's alone (0600)");
  }
  require(::chmod(path.c_str(), 0400) == 0, "chmod");
  CHECK(ca::load_remembered(path));
}

TEST_CASE("ca remembered: a file that is not as we write it is refused, and why") {
  const std::pair<const char*, const char*> rows[] = {
      {"", "not JSON: incomplete JSON"},
      {"{", "not JSON: incomplete JSON"},
      {"[]", "not an object"},
      {"{}", "version: is missing"},
      {R"({"version": 2, "trustBundle": "", "certificates": {}})", "version: 2: must be from 1 to 1"},
      {R"({"version": "1", "trustBundle": "", "certificates": {}})", "version: not a whole number"},
      {R"({"version": 1, "certificates": {}})", "trustBundle: is missing"},
      {R"({"version": 1, "trustBundle": 5, "certificates": {}})", "trustBundle: not a string"},
      {R"({"version": 1, "trustBundle": ""})", "certificates: is missing"},
      {R"({"version": 1, "trustBundle": "", "certificates": []})", "certificates: not an object"},
      {R"({"version": 1, "trustBundle": "", "certificates": {"a": {"chain": ""}}})", "certificates.a.key: is missing"},
      {R"({"version": 1, "trustBundle": "", "certificates": {"a": {"key": ""}}})", "certificates.a.chain: is missing"},
      {R"({"version": 1, "trustBundle": "", "certificates": {"a": "b"}})", "certificates.a: not an object"},
      {R"({"version": 1, "trustBundle": "", "certificates": {}, "more": 1})", "more: is not known"},
  };
  const TempFolder folder;
  const auto path = ca::remembered_path(folder.path().string());
  for (const auto& [text, cause] : rows) {
    CAPTURE(text);
    folder.write("certificates.json", text);
    require(::chmod(path.c_str(), 0600) == 0, "chmod");
    const auto known = ca::load_remembered(path);
    REQUIRE_FALSE(known);
    CHECK(known.error().message == path + ": " + cause);
  }
}
