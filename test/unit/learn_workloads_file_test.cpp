// SPDX-License-Identifier: Apache-2.0
// What is kept of learning between two runs of the agent.
#include "agent/learn/workloads_file.h"

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "test/support/temp_folder.h"

namespace underpass::learn {
namespace {

const std::vector<Remembered> kSome{
    {.workload = {.ns = "shop", .owner = "Deployment/web", .images = {"web:1", "log:2"}},
     .verdict = {.state = State::kOff,
                 .connections = 3,
                 .reads = 12,
                 .traits = {"splice", "of-the-future"},
                 .since = "2026-03-01T09:30:00.125Z"},
     .last_seen = "2026-03-02"},
    {.workload = {.ns = "shop", .owner = "Pod/x", .images = {}},
     .verdict = {.state = State::kOn, .connections = 8, .reads = 32, .traits = {}, .since = "2026-03-01T09:30:00Z"},
     .last_seen = "2026-03-01"}};

std::string content_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_CASE("workloads file: is written and read") {
  test::TempFolder folder;
  const std::string state_dir = folder / "state";
  CHECK(load_workloads(state_dir).workloads.empty());
  CHECK(load_workloads(state_dir).problem.empty());
  REQUIRE(save_workloads(state_dir, kSome));
  CHECK(content_of(workloads_path(state_dir)) ==
        R"({"version": 1, "workloads": [
{"namespace":"shop","owner":"Deployment/web","images":["web:1","log:2"],"verdict":"off","traits":["splice","of-the-future"],"connections":3,"reads":12,"since":"2026-03-01T09:30:00.125Z","lastSeen":"2026-03-02"},
{"namespace":"shop","owner":"Pod/x","images":[],"verdict":"on","traits":[],"connections":8,"reads":32,"since":"2026-03-01T09:30:00Z","lastSeen":"2026-03-01"}]}
)");
  CHECK(load_workloads(state_dir).workloads == kSome);
  REQUIRE(save_workloads(state_dir, {}));
  CHECK(load_workloads(state_dir).problem.empty());
  CHECK(load_workloads(state_dir).workloads.empty());
}

TEST_CASE("workloads file: any image is kept, unless its name is out of all proportion") {
  test::TempFolder folder;
  std::vector<Remembered> odd{kSome[0], kSome[0], kSome[1]};
  odd[0].workload.images = {"\xff\x01\"\n\\"};
  odd[1].workload.images = {std::string(5000, 'x')};
  REQUIRE(save_workloads(folder.path(), odd));
  CHECK(load_workloads(folder.path()).workloads == std::vector{odd[0], odd[2]});
}

TEST_CASE("workloads file: the longest one can be read again") {
  test::TempFolder folder;
  std::vector<Remembered> most(kMostWorkloads, kSome[0]);
  for (std::size_t i = 0; i < most.size(); ++i) {
    most[i].workload.images = {std::string(3800, 'x'), std::to_string(i)};
  }
  REQUIRE(save_workloads(folder.path(), most));
  CHECK(load_workloads(folder.path()).workloads.size() == kMostWorkloads);
}

TEST_CASE("workloads file: one that is not understood is moved aside, whole") {
  const auto problem_of = [](const std::string& text) {
    test::TempFolder folder;
    const std::string path = workloads_path(folder.path());
    folder.write("workloads.json", text);
    const auto loaded = load_workloads(folder.path());
    CHECK(loaded.workloads.empty());
    CHECK(!std::filesystem::exists(path));
    CHECK(content_of(path + ".bad") == text);
    CHECK(load_workloads(folder.path()).problem.empty());
    const std::string end = ": learning starts anew; the file is now " + path + ".bad";
    REQUIRE(loaded.problem.starts_with(path + ": "));
    REQUIRE(loaded.problem.ends_with(end));
    return loaded.problem.substr(path.size() + 2, loaded.problem.size() - path.size() - 2 - end.size());
  };
  CHECK(problem_of("").starts_with("not JSON: "));
  CHECK(problem_of(R"({"version": 1, "workloads": [)").starts_with("not JSON: "));
  CHECK(problem_of("[]") == "not a JSON object");
  CHECK(problem_of("{}") == "version: not a number");
  CHECK(problem_of(R"({"version": 2, "workloads": []})") == "version: 2: only 1 is understood");
  CHECK(problem_of(R"({"version": 1})") == "workloads: not a list");

  const std::string good =
      R"({"namespace":"a","owner":"Pod/x","images":["i"],"verdict":"off","traits":["splice"],"connections":1,"reads":2,)"
      R"("since":"s","lastSeen":"d"})";
  const auto problem_with = [&](const std::string& from, const std::string& to) {
    std::string bad = good;
    bad.replace(bad.find(from), from.size(), to);
    return problem_of(R"({"version": 1, "workloads": [)" + good + "," + bad + "]}");
  };
  CHECK(problem_with(good, "7") == "workloads[1]: not an object");
  CHECK(problem_with("\"a\"", "\"\"") == "workloads[1].namespace: not a text");
  CHECK(problem_with("\"Pod/x\"", "5") == "workloads[1].owner: not a text");
  CHECK(problem_with("[\"i\"]", "\"i\"") == "workloads[1].images: not a list");
  CHECK(problem_with("[\"i\"]", "[1]") == "workloads[1].images: holds something that is not a text");
  CHECK(problem_with("\"off\"", "\"auto\"") == "workloads[1].verdict: neither on nor off");
  CHECK(problem_with("\"off\"", "\"on\"") == "workloads[1].traits: an off needs one, and an on has none");
  CHECK(problem_with("[\"splice\"]", "[]") == "workloads[1].traits: an off needs one, and an on has none");
  CHECK(problem_with(":1,", ":-1,") == "workloads[1].connections: not a count");
  CHECK(problem_with(":2,", ":\"2\",") == "workloads[1].reads: not a count");
  CHECK(problem_with("\"since\"", "\"sinc\"") == "workloads[1].since: not a text");
  CHECK(problem_with("\"lastSeen\"", "\"seen\"") == "workloads[1].lastSeen: not a text");
  CHECK(problem_with(good, good) == "workloads[1]: a/Pod/x is listed twice");
}

TEST_CASE("workloads file: one that cannot be read is moved aside as well") {
  test::TempFolder folder;
  const std::string path = workloads_path(folder.path());
  std::filesystem::create_directory(path);
  const auto loaded = load_workloads(folder.path());
  CHECK(loaded.problem == "read " + path + ": Is a directory: learning starts anew; the file is now " + path + ".bad");
  CHECK(save_workloads(folder.path(), kSome));

  std::filesystem::create_directory(path + ".bad/full");
  folder.write("workloads.json", "?");
  CHECK(load_workloads(folder.path()).problem.ends_with("it could not be moved to " + path + ".bad: Is a directory"));
}

}  // namespace
}  // namespace underpass::learn
