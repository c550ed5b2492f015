// SPDX-License-Identifier: Apache-2.0
// A hundred thousand endpoints are listed, and listed once more, under the agent's bound on memory.
#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <iostream>
#include <sstream>
#include <string>

#include "test/fake/objects.h"
#include "test/fake/scene.h"
#include "test/support/eventually.h"
#include "test/support/files.h"
#include "test/support/process.h"

namespace underpass::fake {
namespace {

using test::eventually;
using test::FakeApi;
using test::seconds;

constexpr int kSlices = 1000;
constexpr int kEndpoints = 100;
constexpr long kMostKiB = 200 * 1024;

long memory_kib(pid_t pid, const std::string& field) {
  std::istringstream lines(test::read_file("/proc/" + std::to_string(pid) + "/status"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(field + ":")) return std::stol(line.substr(field.size() + 1));
  }
  return -1;
}

TEST_CASE("memory: 100,000 endpoints in 200 MiB") {
  FakeApi api;
  put_some(api);
  for (int i = 0; i < kSlices; ++i) {
    api.put(slice_object("shop", "slice-" + std::to_string(i), 80, kEndpoints));
  }
  test::TempFolder folder;
  test::Process source({.argv = {FAKE_SOURCE, api.kubeconfig(folder.path())}});
  const auto said = [&](const char* what) { return source.out().find(what) != std::string::npos; };
  REQUIRE_MESSAGE(eventually(seconds(90), [&] { return said("synced 1005\n"); }), source.out() << source.err());
  const auto first = memory_kib(source.pid(), "VmHWM");
  CHECK(eventually(seconds(20), [&] { return api.open_watches("/apis/discovery.k8s.io/v1/endpointslices") == 1; }));
  api.put(pod_object("shop", "web-1", "node-1", 2));
  api.forget_history();
  api.reset_connections();
  REQUIRE_MESSAGE(eventually(seconds(90), [&] { return said("listed again 1005\n"); }), source.out() << source.err());
  const auto second = memory_kib(source.pid(), "VmHWM");
  std::cout << "memory: at most " << first / 1024 << " MiB after the list, " << second / 1024
            << " MiB after another, now " << memory_kib(source.pid(), "VmRSS") / 1024 << " MiB" << std::endl;
  CHECK(first < kMostKiB);
  CHECK(second < kMostKiB);
  std::size_t bytes = 0;
  for (const auto& request : api.requests()) {
    if (request.verb == "list" && request.collection.ends_with("endpointslices")) bytes += request.bytes;
  }
  std::cout << "memory: " << bytes / 1024 << " KiB for two lists" << std::endl;
}

}  // namespace
}  // namespace underpass::fake
