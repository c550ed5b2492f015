// SPDX-License-Identifier: Apache-2.0
// The program itself: that it runs on any host, what it says to a person, and that nothing on its input upsets it.
#include <doctest/doctest.h>
#include <elf.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "test/netns/cni/scene.h"

namespace underpass::test {
namespace {

const std::string kProgram = UNDERPASS_CNI;

TEST_CASE("cni program: it needs no loader and no library, and is small and quick") {
  const auto text = read_file(kProgram);
  Elf64_Ehdr header{};
  REQUIRE(text.size() > sizeof(header));
  std::memcpy(&header, text.data(), sizeof(header));
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment{};
    std::memcpy(&segment, text.data() + header.e_phoff + i * sizeof(segment), sizeof(segment));
    CHECK(segment.p_type != PT_INTERP);
    CHECK(segment.p_type != PT_DYNAMIC);
  }
  CHECK(text.size() < std::size_t{2} << 20);

  // On a host that has nothing at all.
  const CniNode node;
  const auto empty = node.root() / "empty";
  fs::create_directory(empty);
  fs::copy_file(kProgram, empty / "plugin");
  CHECK(run_ok({.argv = {"chroot", empty.string(), "/plugin", "--version"}}) == "underpass-cni " UNDERPASS_VERSION
                                                                                "\n");

  auto best = std::chrono::microseconds::max();
  for (int i = 0; i < 20; ++i) {
    const auto start = Clock::now();
    run_ok({.argv = {kProgram}, .env = {"CNI_COMMAND=VERSION"}, .input = "{}"});
    best = std::min(best, std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start));
  }
  MESSAGE("size ", text.size(), " bytes, start to end ", best.count(), " us");
  CHECK(best < milliseconds(20));
}

TEST_CASE("cni program: by hand it helps, tells its version, and refuses what it does not know") {
  CHECK(run_ok({.argv = {kProgram, "--help"}}).find("uninstall") != std::string::npos);
  const std::vector<std::vector<std::string>> wrong{
      {}, {"install"}, {"uninstall", "--bin"}, {"uninstall", "--bin-dir"}, {"--version=1"}};
  for (const auto& arguments : wrong) {
    std::vector<std::string> argv{kProgram};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    const auto done = run({.argv = argv});
    CHECK(done.exit.code == 2);
    CHECK(done.err.find("--help") != std::string::npos);
  }
}

TEST_CASE("cni program: uninstall needs no agent") {
  CniNode node;
  node.install();
  REQUIRE(node.runtime().load().types().back() == "underpass-cni");
  const auto out = run_ok({.argv = {kProgram, "uninstall", "--bin-dir", (node.root() / "bin").string(), "--conf-dir",
                                    (node.root() / "net.d").string(), "--cache-dir", "/nonexistent"}});
  CHECK(out == node.list_file().string() + ": the entry of underpass-cni is out\n" +
                   (node.root() / "bin/underpass-cni").string() + ": removed\n");
  CHECK(read_file(node.list_file()) == node.list());
  CHECK_FALSE(fs::exists(node.root() / "bin/underpass-cni"));
  // And again: there is nothing to do.
  CHECK(run_ok({.argv = {kProgram, "uninstall", "--bin-dir", (node.root() / "bin").string(), "--conf-dir",
                         (node.root() / "net.d").string()}})
            .empty());
}

TEST_CASE("cni program: garbage on its input is an error in CNI's form, never a crash") {
  const CniNode node;
  const CniAgent agent(node.socket(), kYes);
  const auto pod = Netns("up-" + std::to_string(::getpid()) + "-garbage");
  const std::string whole = R"({"cniVersion":"1.0.0","name":"net","type":"underpass-cni","agentSocket":")" +
                            node.socket() + R"(","prevResult":{"ips":[{"address":"10.0.0.1/8","interface":0}],)" +
                            R"("interfaces":[{"name":"eth0","sandbox":"/x"}]}})";
  std::mt19937 dice(5);
  int passed = 0;
  for (int round = 0; round < 400; ++round) {
    auto text = whole;
    for (unsigned bites = round == 0 ? 0 : dice() % 4 + 1; bites > 0; --bites)
      text[dice() % text.size()] = static_cast<char>(dice());
    if (round % 10 == 9) text.resize(dice() % text.size());
    const auto done = run({.argv = {kProgram},
                           .env = {"CNI_COMMAND=ADD", "CNI_CONTAINERID=c", "CNI_NETNS=" + pod.path(), "CNI_IFNAME=eth0",
                                   "CNI_ARGS=K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web"},
                           .input = text});
    CAPTURE(text);
    REQUIRE(done.exit.signal == 0);
    boost::json::error_code error;
    const auto said = boost::json::parse(done.out, error);
    REQUIRE_FALSE(error);
    REQUIRE((done.exit.code != 0) == said.as_object().contains("code"));
    if (done.exit.ok()) ++passed;
  }
  CHECK(passed > 0);
  CHECK_FALSE(agent.asked().empty());
}

}  // namespace
}  // namespace underpass::test
