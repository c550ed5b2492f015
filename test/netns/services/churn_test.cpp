// SPDX-License-Identifier: Apache-2.0
// A Service whose endpoints change a thousand times a second while clients connect as fast as they can: every
// connection succeeds, and ends at an address that was an endpoint at some moment between connect()'s call and its
// return.
//
// Endpoints are addresses of six pods that have a whole /24 each and one listener on all of it.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <vector>

#include "test/netns/services/scene.h"
#include "test/support/payload.h"
#include "test/support/tasks.h"

namespace underpass::test {
namespace {

constexpr int kPods = 6;
constexpr int kAddresses = 40;  // of each pod
constexpr std::size_t kMembers = 120;
constexpr int kClients = 3;

std::string address_of(int pod, int number) {
  return "10.88." + std::to_string(pod) + "." + std::to_string(number + 1);
}

// When each address was, or may have been, an endpoint.
class Memberships {
 public:
  void begin(const std::set<std::string>& ips) { change(ips, true); }
  void end(const std::set<std::string>& ips) { change(ips, false); }

  // Was it one at any moment of [from, to]?
  [[nodiscard]] bool overlap(const std::string& ip, Clock::time_point from, Clock::time_point to) const {
    const std::lock_guard lock(mutex_);
    const auto found = spans_.find(ip);
    return found != spans_.end() &&
           std::ranges::any_of(found->second, [&](const Span& span) { return span.from <= to && from <= span.to; });
  }

 private:
  struct Span {
    Clock::time_point from;
    Clock::time_point to = Clock::time_point::max();
  };

  void change(const std::set<std::string>& ips, bool member) {
    const std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    for (const std::string& ip : ips) {
      std::vector<Span>& spans = spans_[ip];
      if (member)
        spans.push_back({.from = now});
      else
        spans.back().to = now;
    }
  }

  mutable std::mutex mutex_;
  std::map<std::string, std::vector<Span>> spans_;
};

class Churn {
 public:
  Churn() {
    for (int pod = 0; pod < kPods; ++pod) {
      const std::string name = "farm-" + std::to_string(pod);
      const Place& place = world().net.add(name);
      const std::string range = "10.88." + std::to_string(pod) + ".0/24";
      run_ok({.argv = {"ip", "route", "add", "local", range, "dev", "lo"}, .netns = place.netns});
      run_ok({.argv = {"ip", "route", "add", range, "via", place.v4}, .netns = scene.client().netns});
      farms_.push_back(
          std::make_unique<Responder>(Place{.netns = place.netns, .v4 = "0.0.0.0", .v6 = "::"}, kTarget, ""));
      for (int number = 0; number < kAddresses; ++number) all_.push_back(address_of(pod, number));
    }
    ServiceObject service = Scene::web_service();
    service.cluster_ips = {kVip4};
    service.selector = {};
    world().objects.put(service);
    members_ = next_members();
    memberships.begin(members_);
    write(members_);
    REQUIRE(wait_applied(members_));
  }

  World& world() { return scene.world; }

  // Writes other members. What is new may be reached from now on, what is no longer wanted until finish().
  void begin() {
    next_ = next_members();
    std::set<std::string> added;
    std::ranges::set_difference(next_, members_, std::inserter(added, added.end()));
    memberships.begin(added);
    changes += added.size();
    write(next_);
  }
  // Waits until connect() finds these and no others. False: it does not come.
  bool finish() {
    const bool applied = wait_applied(next_);
    std::set<std::string> removed;
    std::ranges::set_difference(members_, next_, std::inserter(removed, removed.end()));
    memberships.end(removed);
    changes += removed.size();
    members_ = next_;
    return applied;
  }
  bool step() {
    begin();
    return finish();
  }

  [[nodiscard]] bool wait_applied(const std::set<std::string>& wanted) const {
    std::multiset<std::string> slots;
    for (const std::string& ip : wanted) slots.insert(ip + ":" + std::to_string(kTarget));
    return eventually(seconds(10), [&] { return tables_.slots(vip) == slots; });
  }
  [[nodiscard]] const std::set<std::string>& members() const { return members_; }

  void write(const std::set<std::string>& members) {
    EndpointSliceObject slice{
        .ns = "shop", .name = "web-x", .service = "web", .ports = {{.name = "http", .port = kTarget}}};
    for (const std::string& ip : all_) slice.endpoints.push_back({.ip = ip, .ready = members.contains(ip)});
    world().objects.put(slice);
  }

  std::set<std::string> next_members() {
    // Some times few, so that slots come and go too.
    const std::size_t size = random_.below(4) == 0 ? 1 + random_.below(20) : kMembers;
    std::set<std::string> out;
    while (out.size() < size) out.insert(all_[random_.below(all_.size())]);
    return out;
  }

  Scene scene;
  const Address vip = Address::of(kVip4, 80);
  Memberships memberships;
  std::atomic<std::uint64_t> changes = 0;

 private:
  ServiceTables tables_{scene.tables()};
  std::vector<std::unique_ptr<Responder>> farms_;
  std::vector<std::string> all_;
  std::set<std::string> members_;
  std::set<std::string> next_;
  Random random_{7};
};

// Connects again and again until it is told to stop; what went wrong, one line each.
class Clients {
 public:
  explicit Clients(Churn& churn) : churn_(churn) {
    for (int i = 0; i < kClients; ++i) tasks_.push_back(std::make_unique<Task>([this] { run(); }));
  }
  ~Clients() { stop_ = true; }

  std::string stop() {
    stop_ = true;
    for (const auto& task : tasks_) task->join();
    const std::lock_guard lock(mutex_);
    return problems_;
  }
  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] std::uint64_t connections() const { return connections_; }

 private:
  void run() {
    while (!stop_ && !failed_) {
      const UniqueFd fd = socket_in(churn_.scene.client().netns, AF_INET, SOCK_STREAM);
      // So that no TIME_WAIT is left: there would be no port for the next.
      const linger reset{.l_onoff = 1, .l_linger = 0};
      ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
      const timeval patience{.tv_sec = 5, .tv_usec = 0};
      ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
      ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      const auto from = Clock::now();
      const int failed = ::connect(fd.get(), churn_.vip.get(), churn_.vip.size) == 0 ? 0 : errno;
      const auto to = Clock::now();
      if (failed != 0) return fail(std::string("connect: ") + std::strerror(failed));
      std::array<char, 64> name{};
      const ssize_t n = ::recv(fd.get(), name.data(), name.size(), 0);
      if (n <= 0) return fail(std::string("recv: ") + (n == 0 ? "end" : std::strerror(errno)));
      const std::string ip(name.data(), static_cast<std::size_t>(n) - 1);
      if (!churn_.memberships.overlap(ip, from, to)) return fail(ip + " was no endpoint");
      ++connections_;
    }
  }

  void fail(const std::string& what) {
    const std::lock_guard lock(mutex_);
    problems_ += what + "\n";
    failed_ = true;
  }

  Churn& churn_;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> failed_ = false;
  std::atomic<std::uint64_t> connections_ = 0;
  std::mutex mutex_;
  std::string problems_;
  std::vector<std::unique_ptr<Task>> tasks_;
};

TEST_CASE("a thousand endpoint changes a second: no connection fails, none goes where it may not") {
  Churn churn;
  Clients clients(churn);
  const auto begin = Clock::now();
  constexpr seconds kFor(8);
  while (Clock::now() - begin < kFor && !clients.failed()) REQUIRE(churn.step());
  const double elapsed = std::chrono::duration<double>(Clock::now() - begin).count();
  const std::string problems = clients.stop();
  const double changes = static_cast<double>(churn.changes) / elapsed;
  const double connections = static_cast<double>(clients.connections()) / elapsed;
  MESSAGE("per second: " << changes << " changes, " << connections << " connections");
  CHECK_MESSAGE(problems.empty(), problems);
  CHECK(changes >= 1000);
  CHECK(clients.connections() > 1000);
  CHECK(churn.wait_applied(churn.members()));
  CHECK(churn.world().pinned.entries("up_backends") == churn.members().size());
}

TEST_CASE("the agent is killed in the middle of changes: connections go on, and the next agent ends where it should") {
  Churn churn;
  Random random(3);
  Clients clients(churn);
  for (int round = 0; round < 8 && !clients.failed(); ++round) {
    for (int i = 0; i < 3; ++i) REQUIRE(churn.step());
    // It dies while it applies this, or before, or after.
    churn.begin();
    static_cast<void>(eventually(milliseconds(45 + random.below(25)), [&] { return clients.failed(); }));
    churn.world().agent.kill9();
    const std::uint64_t count = clients.connections();
    CHECK(eventually(seconds(5), [&] { return clients.failed() || clients.connections() > count + 50; }));
    churn.world().agent.start();
    CHECK(churn.finish());
    CHECK(
        eventually(seconds(5), [&] { return churn.world().pinned.entries("up_backends") == churn.members().size(); }));
  }
  const std::string problems = clients.stop();
  CHECK_MESSAGE(problems.empty(), problems);
}

TEST_CASE("an agent that died between two frontends of a port: the next one writes both") {
  Scene scene;
  ServiceObject service = Scene::web_service();
  service.external_ips = {"192.0.2.10"};
  scene.put_and_wait(service, {"web-1", "web-2"});
  const std::array both{Address::of(kVip4, 80), Address::of("192.0.2.10", 80)};
  const ServiceTables tables = scene.tables();
  const up_service right = tables.service(both[0]).value();
  for (const Address& torn : both) {
    CAPTURE(torn.to_string());
    scene.world.agent.kill9();
    up_service stale = right;
    stale.slots = 5;
    tables.put(torn, stale);
    scene.world.agent.start();
    for (const Address& at : both) {
      CHECK(eventually(seconds(5), [&] { return tables.service(at).value().slots == right.slots; }));
      CHECK(who_answers(scene.client(), at, 50) == std::set<std::string>{"web-1", "web-2"});
    }
  }
}

}  // namespace
}  // namespace underpass::test
