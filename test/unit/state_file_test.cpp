// SPDX-License-Identifier: Apache-2.0
#include "agent/state/state_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "test/support/temp_folder.h"

using namespace underpass;

TEST_CASE("state file: is made with its folder, replaced and removed") {
  test::TempFolder folder;
  const std::string path = folder / "deep/down/file";
  CHECK(!state::read_state_file(path, 10).value().has_value());
  REQUIRE(state::replace_state_file(path, "first"));
  REQUIRE(state::replace_state_file(path, "2nd"));
  CHECK(state::read_state_file(path, 3).value() == "2nd");
  struct stat found{};
  REQUIRE(::stat(path.c_str(), &found) == 0);
  CHECK((found.st_mode & 0777) == 0600);
  CHECK(!std::filesystem::exists(path + ".new"));
  REQUIRE(state::remove_state_file(path));
  REQUIRE(state::remove_state_file(path));
  CHECK(!std::filesystem::exists(path));
}

TEST_CASE("state file: what is wrong is said with the path") {
  test::TempFolder folder;
  const std::string path = folder / "file";
  folder.write("file", "four");
  CHECK(state::read_state_file(path, 3).error().message == path + ": longer than 3 bytes");
  CHECK(state::read_state_file(folder.path(), 3).error().message ==
        "read " + folder.path().string() + ": Is a directory");
  CHECK(state::replace_state_file(path + "/below", "x").error().message.starts_with("make folder " + path + ": "));
}
