// SPDX-License-Identifier: Apache-2.0
// The plugin as a runtime runs it: last of a list of real plugins, in real network namespaces, in each version and
// family; and what becomes of a pod when the agent says yes, no, later, nothing, or is not there.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <future>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "test/netns/cni/scene.h"

namespace underpass::test {
namespace {

using cni::Command;
using std::chrono::milliseconds;

constexpr int kTryLater = 11;
const cni::Enrolment kShop{.namespaces = {"shop"}, .pods = {}};

std::string refusal_of(const CniOutcome& outcome) {
  CHECK_FALSE(outcome.ok);
  CHECK(outcome.plugin == "underpass-cni");
  CHECK(outcome.code == kTryLater);
  return outcome.message;
}

// How long it took beside its outcome.
template <typename Call>
std::pair<CniOutcome, milliseconds> timed(Call call) {
  const auto start = Clock::now();
  auto outcome = call();
  return {std::move(outcome), std::chrono::duration_cast<milliseconds>(Clock::now() - start)};
}

void check_chain(const std::string& version, bool dual_stack) {
  CniNode node(version, dual_stack);
  const CniAgent agent(node.socket(), kYes);
  const auto pod = node.new_netns();
  const auto sandbox = node.sandbox(pod);
  const auto plain = node.runtime().add(sandbox);
  REQUIRE_MESSAGE(plain.ok, plain.message);
  REQUIRE(node.runtime().del(sandbox).ok);

  node.install();
  REQUIRE(node.runtime().load().types() == std::vector<std::string>{"bridge", "portmap", "underpass-cni"});
  const auto added = node.runtime().add(sandbox);
  REQUIRE_MESSAGE(added.ok, added.message);
  // The same but for what is new each time: addresses and the host's end.
  CHECK(added.result.at("ips").as_array().size() == plain.result.at("ips").as_array().size());
  CHECK(added.result.at("interfaces").as_array().size() == plain.result.at("interfaces").as_array().size());
  const auto checked = node.runtime().check(sandbox);
  CHECK_MESSAGE(checked.ok, checked.message);
  const auto ended = node.runtime().del(sandbox);
  CHECK_MESSAGE(ended.ok, ended.message);

  const auto asked = agent.asked();
  REQUIRE(asked.size() == 3);
  CHECK(asked[0].request.command == Command::kAdd);
  CHECK(asked[1].request.command == Command::kCheck);
  CHECK(asked[2].request.command == Command::kDel);
  std::vector<std::string> addresses;
  for (const auto& ip : added.result.at("ips").as_array()) {
    const std::string text(ip.at("address").as_string());
    addresses.push_back(text.substr(0, text.find('/')));
  }
  REQUIRE(addresses.size() == (dual_stack ? 2 : 1));
  for (const auto& [request, cookie] : asked) {
    CHECK(cookie == pod.cookie());
    CHECK(request.pod == NamespacedName{"shop", "web"});
    CHECK(request.uid == "uid-web");
    CHECK(request.interface == "eth0");
    CHECK(request.container_id == sandbox.id);
    std::vector<std::string> ips;
    for (const auto& ip : request.ips) ips.push_back(ip.to_string());
    CHECK(ips == addresses);
  }
}

TEST_CASE("cni: a pod is added, checked and deleted by version 0.4.0, of IPv4") { check_chain("0.4.0", false); }
TEST_CASE("cni: a pod is added, checked and deleted by version 0.4.0, of both families") { check_chain("0.4.0", true); }
TEST_CASE("cni: a pod is added, checked and deleted by version 1.0.0, of IPv4") { check_chain("1.0.0", false); }
TEST_CASE("cni: a pod is added, checked and deleted by version 1.0.0, of both families") { check_chain("1.0.0", true); }

TEST_CASE("cni: the agent's no is what the kubelet shows, and its later is waited for") {
  CniNode node;
  node.install();
  const auto pod = node.new_netns();
  {
    const CniAgent agent(node.socket(), cni::Answer{.ok = false, .reason = "Pod shop/web: its policy is not written"});
    CHECK(refusal_of(node.runtime().add(node.sandbox(pod))) == "Pod shop/web: its policy is not written");
    REQUIRE(node.runtime().del(node.sandbox(pod)).ok);
  }
  std::promise<cni::Server::Reply> asked;
  std::optional<cni::Server::Reply> reply;
  CniAgent agent(node.socket(), [&](const cni::Question& question, cni::Server::Reply given) {
    if (question.request.command == Command::kDel) return given(kYes);
    asked.set_value(std::move(given));
  });
  auto adding = std::async(std::launch::async, [&] { return node.runtime().add(node.sandbox(pod)); });
  auto question = asked.get_future();
  REQUIRE(question.wait_for(kDeadline) == std::future_status::ready);
  reply = question.get();
  CHECK(adding.wait_for(milliseconds(200)) == std::future_status::timeout);
  (*reply)(kYes);
  const auto added = adding.get();
  CHECK_MESSAGE(added.ok, added.message);
  CHECK(node.runtime().del(node.sandbox(pod)).ok);
}

TEST_CASE("cni: where no agent is, pods of the mesh wait, and nobody else does") {
  CniNode node;
  node.install();
  const auto pod = node.new_netns();
  const auto adds = [&](const std::string& name) {
    const auto outcome = node.runtime().add(node.sandbox(pod, name));
    REQUIRE(node.runtime().del(node.sandbox(pod, name)).ok);
    return outcome;
  };
  CHECK(adds("shop/web").ok);  // never installed completely: there is no file

  node.enrol({.namespaces = {"shop"}, .pods = {{{"shop", "out"}, false}, {{"other", "in"}, true}}});
  const auto message = refusal_of(adds("shop/web"));
  CHECK_MESSAGE(
      message.starts_with("Pod shop/web is in the mesh, and the Underpass agent of this node does not answer (" +
                          node.socket() + ": connect: No such file or directory)"),
      message);
  CHECK(message.find("delete " + node.enrolment_file()) != std::string::npos);
  CHECK(adds("shop/out").ok);
  refusal_of(adds("other/in"));
  CHECK(adds("other/web").ok);
  CHECK(adds("").ok);  // no kubelet

  {
    const CniAgent killed(node.socket(), kYes);
  }
  std::ofstream(node.socket()) << "no socket";
  refusal_of(adds("shop/web"));
  CHECK(adds("other/web").ok);

  // CHECK of one that was added while the agent lived.
  fs::remove(node.socket());
  {
    const CniAgent agent(node.socket(), kYes);
    REQUIRE(node.runtime().add(node.sandbox(pod)).ok);
  }
  refusal_of(node.runtime().check(node.sandbox(pod)));
  CHECK(node.runtime().del(node.sandbox(pod)).ok);
}

TEST_CASE("cni: a damaged enrolment file stops nobody while its copy is whole, and everybody where neither is") {
  CniNode node;
  node.install();
  const auto pod = node.new_netns();
  node.enrol(kShop);
  const auto damage = [&](const std::string& path) { std::ofstream(path) << R"({"version":1,"namesp)"; };
  damage(node.enrolment_file());
  refusal_of(node.runtime().add(node.sandbox(pod)));
  REQUIRE(node.runtime().del(node.sandbox(pod)).ok);
  CHECK(node.runtime().add(node.sandbox(pod, "other/web")).ok);
  REQUIRE(node.runtime().del(node.sandbox(pod, "other/web")).ok);

  damage(node.enrolment_file() + ".copy");
  const auto message = refusal_of(node.runtime().add(node.sandbox(pod, "other/web")));
  CHECK_MESSAGE(message.starts_with("Pod other/web may be in the mesh (" + node.enrolment_file() + ": not JSON"),
                message);
  REQUIRE(node.runtime().del(node.sandbox(pod, "other/web")).ok);
  const CniAgent agent(node.socket(), kYes);
  CHECK(node.runtime().add(node.sandbox(pod)).ok);
  REQUIRE(node.runtime().del(node.sandbox(pod)).ok);
}

// `patience`: with a pod that is in no mesh.
void check_waits(CniNode& node, milliseconds patience) {
  const auto pod = node.new_netns();
  const auto plain = node.sandbox(pod, "other/web");
  const auto [other, other_time] = timed([&] { return node.runtime().add(plain); });
  CHECK_MESSAGE(other.ok, other.message);
  CHECK(other_time >= patience);
  CHECK(other_time < patience + milliseconds(1500));
  const auto [ended, end_time] = timed([&] { return node.runtime().del(plain); });
  CHECK_MESSAGE(ended.ok, ended.message);
  CHECK(end_time >= milliseconds(1000));
  CHECK(end_time < milliseconds(2500));
  const auto meshed = node.sandbox(pod);
  const auto [refused, time] = timed([&] { return node.runtime().add(meshed); });
  CHECK(refusal_of(refused).find("no answer within 4000 ms: it hangs") != std::string::npos);
  CHECK(time >= milliseconds(4000));
  CHECK(time < milliseconds(6000));
  CHECK(node.runtime().del(meshed).ok);
}

TEST_CASE("cni: an agent that hangs costs two seconds, or what the entry says, at the end one") {
  CniNode node;
  node.install(4);
  node.enrol(kShop);
  SUBCASE("it has taken the question") {
    std::vector<cni::Server::Reply> kept;
    const CniAgent agent(node.socket(),
                         [&](const cni::Question&, cni::Server::Reply reply) { kept.push_back(std::move(reply)); });
    check_waits(node, seconds(4));
    CHECK(kept.size() == 4);
  }
  SUBCASE("it takes nobody in, and there is no room left to wait in") {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, node.socket().c_str());
    const UniqueFd listener(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    REQUIRE(::listen(listener.get(), 0) == 0);
    const UniqueFd first(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    REQUIRE(::connect(first.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    check_waits(node, seconds(2));
  }
}

TEST_CASE("cni: an agent that dies in the middle is one that is not there") {
  CniNode node;
  node.install();
  node.enrol(kShop);
  const auto pod = node.new_netns();
  for (const std::string name : {"shop/web", "other/web"}) {
    std::promise<void> asked;
    std::optional<cni::Server::Reply> kept;
    auto agent = std::make_unique<CniAgent>(node.socket(), [&](const cni::Question&, cni::Server::Reply reply) {
      kept = std::move(reply);
      asked.set_value();
    });
    auto adding = std::async(std::launch::async, [&] { return node.runtime().add(node.sandbox(pod, name)); });
    REQUIRE(asked.get_future().wait_for(kDeadline) == std::future_status::ready);
    agent.reset();
    const auto outcome = adding.get();
    if (name == "shop/web")
      refusal_of(outcome);
    else
      CHECK_MESSAGE(outcome.ok, outcome.message);
    CHECK(node.runtime().del(node.sandbox(pod, name)).ok);
  }
}

TEST_CASE("cni: a sandbox whose namespace has gone is deleted all the same") {
  CniNode node;
  node.install();
  const CniAgent agent(node.socket(), kYes);
  auto pod = node.new_netns();
  auto sandbox = node.sandbox(pod);
  REQUIRE(node.runtime().add(sandbox).ok);
  pod.unname();
  sandbox.netns = "";
  const auto ended = node.runtime().del(sandbox);
  CHECK_MESSAGE(ended.ok, ended.message);
  REQUIRE(agent.asked().size() == 2);
  CHECK(agent.asked()[1].cookie == 0);
  CHECK(agent.asked()[1].request.container_id == sandbox.id);
}

TEST_CASE("cni: many pods start at once") {
  CniNode node;
  node.install();
  const CniAgent agent(node.socket(), kYes);
  std::vector<Netns> pods;
  for (int i = 0; i < 12; ++i) pods.push_back(node.new_netns());
  std::vector<std::future<CniOutcome>> adding;
  for (const auto& pod : pods)
    adding.push_back(std::async(std::launch::async, [&] { return node.runtime().add(node.sandbox(pod)); }));
  for (auto& one : adding) {
    const auto outcome = one.get();
    CHECK_MESSAGE(outcome.ok, outcome.message);
  }
  CHECK(agent.asked().size() == pods.size());
}

}  // namespace
}  // namespace underpass::test
