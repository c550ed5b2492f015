// SPDX-License-Identifier: Apache-2.0
// The agent, its programs and a selection of the other tests on other kernels. Each kernel is booted once; its cases
// look at what kernels_guest reported. A kernel that cannot be fetched is skipped; all of them cannot.
#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cstdlib>
#include <iostream>

#include "test/kernels/document.h"
#include "test/kernels/suites.h"
#include "test/kernels/vm.h"
#include "test/support/ctl.h"
#include "test/support/files.h"

namespace {

namespace json = boost::json;
using namespace underpass::kernels;
using underpass::test::text_of;

struct Old {
  static constexpr const char* kName = "5.10";
};
struct Bookworm {
  static constexpr const char* kName = "6.1";
};
struct Backports {
  static constexpr const char* kName = "6.12";
};
struct Newest {
  static constexpr const char* kName = "sid";
};

const std::string kDocument = UNDERPASS_SOURCE_DIR "/docs/kernels.md";

// False: this kernel is not here, and that has been said.
bool is_here(const std::string& kernel, const std::string& what) {
  const Measured& found = measured(kernel);
  if (!found.unavailable.empty())
    std::cout << "SKIPPED: " << kernel << ": " << what << ": " << found.unavailable << '\n';
  return found.unavailable.empty();
}

std::string in_text(const json::object& step) { return json::serialize(step); }

void check_suite(const std::string& kernel, const std::string& name) {
  if (!is_here(kernel, name)) return;
  const json::object step = measured(kernel).step(name);
  if (step.contains("missing")) {
    std::cout << "SKIPPED: " << kernel << ": " << name << ": this build has no such suite\n";
    return;
  }
  REQUIRE_MESSAGE(!step.contains("error"), in_text(step));
  REQUIRE_MESSAGE(step.contains("cases"), in_text(step));
  std::string failed;
  std::size_t run = 0;
  for (const json::value& test : step.at("cases").as_array()) {
    ++run;
    if (!test.at("passed").as_bool()) failed += "\n  " + text_of(test.at("name"));
  }
  const auto suite = std::ranges::find(kSuites, name, &Suite::step);
  // A case that was renamed would otherwise no longer be run, and nobody would notice.
  CHECK(run >= std::max<std::size_t>(1, suite->cases.size()));
  CHECK_MESSAGE(failed.empty(), kernel, ": failed:", failed, "\n", in_text(step));
  CHECK(text_of(step.at("exit")) == "exit code 0");
}

// The way that short-circuit takes where it can, and what it says where it cannot.
void check_way(const Measured& found, const std::string& name) {
  const json::object step = found.step(name);
  CAPTURE(name);
  REQUIRE_MESSAGE(!step.contains("error"), in_text(step));
  if (found.stays_on_tcp()) {
    CHECK(text_of(step.at("way")) == "direct");
    CHECK(text_of(step.at("fallbackReason")) == "kernel");
    CHECK(step.at("redirectedBytes").to_number<std::uint64_t>() == 0);
  } else {
    CHECK(text_of(step.at("way")) == "short-circuit");
    CHECK(step.at("redirectedBytes").to_number<std::uint64_t>() > 0);
  }
}

}  // namespace

TYPE_TO_STRING_AS("5.10", Old);
TYPE_TO_STRING_AS("6.1", Bookworm);
TYPE_TO_STRING_AS("6.12", Backports);
TYPE_TO_STRING_AS("sid", Newest);

TEST_CASE("at least one kernel is here") {
  const auto here =
      std::ranges::count_if(kKernels, [](const auto& name) { return measured(name).unavailable.empty(); });
  CHECK_MESSAGE(here > 0, "no kernel could be fetched: ", measured("sid").unavailable);
}

TEST_CASE_TEMPLATE("boots, reports every step and powers off", Kernel, Old, Bookworm, Backports, Newest) {
  if (!is_here(Kernel::kName, "boot")) return;
  const Measured& found = measured(Kernel::kName);
  CHECK_MESSAGE(found.failure.empty(), found.release, ": ", found.failure);
  std::cout << Kernel::kName << ": " << found.release << ", " << static_cast<int>(found.seconds) << " s\n";
  for (const auto& [name, step] : found.steps) {
    std::cout << "  " << name << ": " << static_cast<int>(step.at("seconds").to_number<double>()) << " s\n";
  }
}

TEST_CASE_TEMPLATE("is refused, and told what is missing and what is needed", Kernel, Old) {
  if (!is_here(Kernel::kName, "refusal")) return;
  const json::object agent = measured(Kernel::kName).step("agent");
  CHECK_FALSE(agent.contains("state"));
  REQUIRE_MESSAGE(agent.contains("exit"), in_text(agent));
  CHECK(agent.at("exit").to_number<int>() == 1);
  const std::string log = text_of(agent.at("log"));
  for (const char* word : {"error start-failed kernel 5.10.", "bpf_get_netns_cookie", "Linux 5.15 or newer is needed"})
    CHECK_MESSAGE(log.find(word) != std::string::npos, word, " is not in: ", log);
}

TEST_CASE_TEMPLATE("the agent starts, and is degraded exactly where a capability is missing", Kernel, Bookworm,
                   Backports, Newest) {
  if (!is_here(Kernel::kName, "start")) return;
  const Measured& found = measured(Kernel::kName);
  const json::object agent = found.step("agent");
  REQUIRE_MESSAGE(found.started(), in_text(agent));
  CHECK(text_of(agent.at("state")) == (found.stays_on_tcp() ? "degraded" : "ready"));
}

TEST_CASE_TEMPLATE("before the tracepoint sock_recv_length the kernel is kept on TCP, by name", Kernel, Bookworm) {
  if (!is_here(Kernel::kName, "capabilities")) return;
  const json::object agent = measured(Kernel::kName).step("agent");
  REQUIRE_MESSAGE(agent.contains("check"), in_text(agent));
  for (const json::value& row : agent.at("check").as_array()) {
    const bool expected = text_of(row.at("name")) == "recv-tracepoint";
    CHECK_MESSAGE((text_of(row.at("result")) == "tcp") == expected, json::serialize(row));
    if (expected) CHECK(text_of(row.at("reason")).find("sock_recv_length is missing") != std::string::npos);
  }
}

TEST_CASE_TEMPLATE("has every capability that short-circuit needs", Kernel, Backports, Newest) {
  if (!is_here(Kernel::kName, "capabilities")) return;
  const Measured& found = measured(Kernel::kName);
  CHECK_FALSE(found.capabilities().empty());
  for (const auto& [name, result] : found.capabilities()) CHECK_MESSAGE(result != "tcp", name);
}

TEST_CASE_TEMPLATE("a connection of two pods goes the way that the capabilities say", Kernel, Bookworm, Backports,
                   Newest) {
  if (!is_here(Kernel::kName, "way")) return;
  check_way(measured(Kernel::kName), "way-ipv4");
  check_way(measured(Kernel::kName), "way-ipv6");
}

TEST_CASE_TEMPLATE("random streams of two pods arrive as they were sent", Kernel, Bookworm, Backports, Newest) {
  if (!is_here(Kernel::kName, "streams")) return;
  const json::object step = measured(Kernel::kName).step("streams");
  REQUIRE_MESSAGE(step.contains("failures"), in_text(step));
  CHECK(step.at("streams").to_number<int>() > 0);
  CHECK_MESSAGE(step.at("failures").as_array().empty(), in_text(step));
  CHECK((step.at("redirectedBytes").to_number<std::uint64_t>() > 0) != measured(Kernel::kName).stays_on_tcp());
}

TEST_CASE_TEMPLATE("the datapath's decisions (bpf_tests)", Kernel, Bookworm, Backports, Newest) {
  check_suite(Kernel::kName, "bpf");
}

TEST_CASE_TEMPLATE("who may connect to whom (policy_tests)", Kernel, Bookworm, Backports, Newest) {
  check_suite(Kernel::kName, "policy");
}

TEST_CASE_TEMPLATE("what tests stand on (harness_tests)", Kernel, Bookworm, Backports, Newest) {
  check_suite(Kernel::kName, "harness");
}

// The rest asks for short-circuit, so it runs where the kernel carries it.
TEST_CASE_TEMPLATE("no byte is lost or out of place (integrity_tests)", Kernel, Backports, Newest) {
  check_suite(Kernel::kName, "integrity");
}

TEST_CASE_TEMPLATE("nor where messages are small, or come from two threads (integrity_tests)", Kernel, Backports,
                   Newest) {
  check_suite(Kernel::kName, "small messages");
}

TEST_CASE_TEMPLATE("pods, labels and agents come and go (lifecycle_tests)", Kernel, Backports, Newest) {
  check_suite(Kernel::kName, "lifecycle");
}

TEST_CASE_TEMPLATE("a socket behaves as under TCP (semantics_tests)", Kernel, Backports, Newest) {
  check_suite(Kernel::kName, "semantics");
}

// UNDERPASS_KERNELS_WRITE=1 writes the table instead of comparing it.
TEST_CASE("docs/kernels.md says what was measured") {
  Table found;
  for (const std::string& kernel : kKernels) {
    if (measured(kernel).unavailable.empty()) add(found, table_of(kernel, measured(kernel)));
  }
  const std::string document = underpass::test::read_file(kDocument);
  Table documented = parse(document);
  if (std::getenv("UNDERPASS_KERNELS_WRITE") != nullptr) {
    for (const std::string& row : documented.rows) {
      for (const auto& [kernel, cell] : documented.cells[row]) {
        if (!measured(kernel).unavailable.empty()) add(found, {{row}, {{row, {{kernel, cell}}}}});
      }
    }
    underpass::test::write_atomically(kDocument, replace(document, found));
    return;
  }
  const std::string differs = difference(documented, found);
  CHECK_MESSAGE(differs.empty(), "it differs (UNDERPASS_KERNELS_WRITE=1 writes it anew):\n", differs);
}
