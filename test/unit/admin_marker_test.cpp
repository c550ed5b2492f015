// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>

#include "agent/admin/detached_marker.h"
#include "test/support/temp_folder.h"

using namespace underpass;
using admin::DetachedMarker;

namespace {

std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

const DetachedMarker kSome{.node = true, .namespaces = {"a", "shop"}, .since = "2026-03-01T09:30:00.125Z"};

}  // namespace

TEST_CASE("detached marker: is written, read and removed") {
  test::TempFolder folder;
  const std::string state_dir = folder / "deep/state";
  CHECK(admin::load_detached_marker(state_dir).value().is_empty());

  REQUIRE(admin::save_detached_marker(state_dir, kSome));
  CHECK(content_of(admin::detached_marker_path(state_dir)) ==
        "{\"node\":true,\"nodeLabel\":false,\"namespaces\":[\"a\",\"shop\"],\"since\":\"2026-03-01T09:30:00.125Z\"}\n");
  CHECK(admin::load_detached_marker(state_dir).value() == kSome);
  struct stat found{};
  REQUIRE(::stat(admin::detached_marker_path(state_dir).c_str(), &found) == 0);
  CHECK((found.st_mode & 0777) == 0600);

  REQUIRE(admin::save_detached_marker(state_dir, {}));
  CHECK(std::filesystem::is_empty(state_dir));
  REQUIRE(admin::save_detached_marker(state_dir, {}));
  CHECK(admin::load_detached_marker(state_dir).value().is_empty());
}

TEST_CASE("detached marker: one that cannot be understood is an error, never an empty one") {
  test::TempFolder folder;
  const std::string path = admin::detached_marker_path(folder.path());
  const auto error_of = [&](std::string_view text) {
    folder.write("detached", text);
    const auto marker = admin::load_detached_marker(folder.path());
    REQUIRE(!marker);
    return marker.error().message;
  };
  CHECK(error_of("").starts_with(path + ": not JSON: "));
  CHECK(error_of("[]") == path + ": not a JSON object");
  CHECK(error_of("{}") == path + ": node: not a boolean");
  CHECK(error_of(R"({"node":true,"nodeLabel":1})") == path + ": nodeLabel: not a boolean");
  CHECK(error_of(R"({"node":true})") == path + ": namespaces: not a list");
  CHECK(error_of(R"({"node":true,"namespaces":[1],"since":""})") ==
        path + ": namespaces: holds something that is not a name");
  CHECK(error_of(R"({"node":true,"namespaces":[]})") == path + ": since: not a time");
  CHECK(error_of(std::string(2'000'000, ' ')) == path + ": longer than 1048576 bytes");

  folder.remove("detached");
  std::filesystem::create_directory(path);
  CHECK(!admin::load_detached_marker(folder.path()));
}

TEST_CASE("detached marker: a folder that cannot be made is an error") {
  test::TempFolder folder;
  folder.write("state", "a file");
  CHECK(!admin::save_detached_marker(folder / "state", kSome));
}
