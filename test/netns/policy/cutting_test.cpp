// SPDX-License-Identifier: Apache-2.0
// Policies change under connections. New ones are judged by the new policy at once; live ones that it does not allow
// end with an error at both ends, whatever they were doing; those that it allows do not notice.
#include <doctest/doctest.h>

#include <poll.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "test/netns/policy/scene.h"
#include "test/support/streams.h"
#include "test/support/tasks.h"

namespace underpass::test {
namespace {

const std::string kDenyAll = policy_of("never", R"({"action": "DENY", "rules": [{}]})");

struct End {
  std::uint64_t bytes = 0;
  int error = 0;  // 0: a clean end of stream
  int false_eagain = 0;
};

// Reads, and sleeps for more, until there is no more.
End drain(int fd) {
  std::vector<char> buffer(65536);
  for (End end;;) {
    const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
    // The kernel wakes a reader of redirected bytes so, and tells the error to the next call.
    if (n < 0 && errno == EAGAIN && end.false_eagain++ < 3) continue;
    if (n <= 0) {
      end.error = n == 0 ? 0 : errno;
      return end;
    }
    end.bytes += static_cast<std::uint64_t>(n);
  }
}

// How it ended; EAGAIN: it has not.
int drain_if_over(int fd) { return hangs_up(fd, milliseconds(0)) ? drain(fd).error : EAGAIN; }

bool is_abort(int error) { return error == ECONNRESET || error == ECONNABORTED; }

void check_aborted(int fd, std::uint64_t most_bytes = 0) {
  REQUIRE(hangs_up(fd));
  const End end = drain(fd);
  INFO("errno ", end.error, " after bytes ", end.bytes);
  CHECK(is_abort(end.error));
  CHECK(end.bytes <= most_bytes);
}

// One end of a connection in use: sends and reads what it can, until something ends it.
class BusyEnd {
 public:
  explicit BusyEnd(int fd) : task_([this, fd] { run(fd); }, fd) {}

  [[nodiscard]] std::uint64_t received() const { return received_.load(); }
  [[nodiscard]] bool done() const { return task_.done(); }
  // The first thing that was said; 0: a clean end of stream.
  [[nodiscard]] int error() const { return error_.load(); }

 private:
  void run(int fd) {
    const std::string message(4000, 'x');
    std::array<char, 65536> buffer{};
    for (;;) {
      pollfd waiting{fd, POLLIN | POLLOUT, 0};
      (void)::poll(&waiting, 1, 1000);
      const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (got == 0 || (got < 0 && errno != EAGAIN)) return error_.store(got == 0 ? 0 : errno);
      if (got > 0) received_ += static_cast<std::uint64_t>(got);
      if (::send(fd, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
        return error_.store(errno);
    }
  }

  std::atomic<std::uint64_t> received_ = 0;
  std::atomic<int> error_ = -1;
  Task task_;
};

TEST_CASE("cutting: traffic in both directions ends with an error at both ends") {
  for (const std::string mode : {"off", "on"})
    for (const int family : kFamilies) {
      INFO("mode ", mode, " family ", family);
      const Scene scene(mode);
      const Pair pair = make_pair_between(scene.at("web"), scene.at("b"), family);
      BusyEnd client(pair.client.get()), server(pair.server.get());
      REQUIRE(eventually(seconds(10), [&] { return client.received() > 8 << 20 && server.received() > 8 << 20; }));
      CHECK((scene.world.redirected() > 1 << 20) == (mode == "on"));
      scene.world.objects.put_text("policy.yaml", kDenyAll);
      REQUIRE(eventually(seconds(5), [&] { return client.done() && server.done(); }));
      INFO("errors ", client.error(), " ", server.error());
      CHECK(is_abort(client.error()));
      CHECK(is_abort(server.error()));
    }
}

TEST_CASE("cutting: a large transfer whose reader is asleep in recv()") {
  for (const std::string mode : {"off", "on"}) {
    INFO("mode ", mode);
    const Scene scene(mode);
    const Pair pair = make_pair_between(scene.at("web"), scene.at("b"), AF_INET);
    exchange(pair.client.get(), pair.server.get());
    End end;
    Task reader([&] { end = drain(pair.server.get()); }, pair.server.get());
    const std::string message(60000, 'y');
    for (int i = 0; i < 200; ++i) send_all(pair.client.get(), message);
    REQUIRE(reader.eventually_sleeps_in(SYS_recvfrom));
    scene.world.objects.put_text("policy.yaml", kDenyAll);
    REQUIRE(eventually(seconds(5), [&] { return reader.done(); }));
    INFO("errno ", end.error);
    CHECK(is_abort(end.error));
    CHECK(end.bytes == 200 * message.size());
    check_aborted(pair.client.get());
  }
}

TEST_CASE("cutting: an idle connection, and one with bytes that nobody has read") {
  for (const std::string mode : {"off", "on"})
    for (const int family : kFamilies)
      for (const std::size_t unread : {0, 10000}) {
        INFO("mode ", mode, " family ", family, " unread ", unread);
        const Scene scene(mode);
        const Pair pair = make_pair_between(scene.at("web"), scene.at("b"), family);
        exchange(pair.client.get(), pair.server.get());
        for (const int fd : {pair.client.get(), pair.server.get()}) send_all(fd, std::string(unread, 'u'));
        scene.world.objects.put_text("policy.yaml", kDenyAll);
        for (const int fd : {pair.client.get(), pair.server.get()}) check_aborted(fd, unread);
      }
}

TEST_CASE("cutting: a client outside the mesh, a v4-mapped one, and one that nobody has accepted yet") {
  const Scene scene("on");
  scene.world.objects.remove_text("policy.yaml");
  const Place& b = scene.at("b");
  const UniqueFd dual = socket_in(b.netns, AF_INET6, SOCK_STREAM);
  const Address any = Address::of("::", 0);
  REQUIRE(::bind(dual.get(), any.get(), any.size) == 0);
  REQUIRE(::listen(dual.get(), 16) == 0);
  const std::uint16_t port = local_address(dual.get()).port();
  REQUIRE(eventually(seconds(5), [&] { return dial(scene.at("out"), Address::of(b.v4, port)).empty(); }));
  (void)accept_from(dual.get());

  std::vector<UniqueFd> ends;
  for (const char* name : {"out", "web"})
    for (const Address& to : {Address::of(b.v4, port), Address::of("::ffff:" + b.v4, port), Address::of(b.v6, port)}) {
      ends.push_back(connect_from(scene.at(name), to));
      ends.push_back(accept_from(dual.get()));
      exchange(ends.back().get(), (ends.end() - 2)->get());
    }
  for (const char* name : {"out", "web"}) ends.push_back(connect_from(scene.at(name), Address::of(b.v4, port)));
  scene.world.objects.put_text("policy.yaml", kDenyAll);
  for (const UniqueFd& fd : ends) check_aborted(fd.get());
  for (int i = 0; i < 2; ++i) check_aborted(accept_from(dual.get()).get());
}

TEST_CASE("cutting: connections that are older than the server's enrolment") {
  const Scene scene("on");
  scene.put("b", "default", {.mesh = "disabled"});
  scene.world.wait_not_enrolled("shop", "b");
  std::vector<Pair> allowed, denied;
  for (const int family : kFamilies) {
    allowed.push_back(make_pair_between(scene.at("web"), scene.at("b"), family));
    for (const char* name : {"evil", "out"}) denied.push_back(make_pair_between(scene.at(name), scene.at("b"), family));
  }
  // What it dialled itself is none of its policy's business.
  const UniqueFd out = listen_at(scene.at("out"), AF_INET);
  allowed.push_back({connect_from(scene.at("b"), local_address(out.get())), accept_from(out.get())});
  std::vector<UniqueFd> listeners;
  for (const Pair& pair : denied) {
    exchange(pair.client.get(), pair.server.get());
    const Address at = local_address(pair.server.get());
    listeners.push_back(listen_at(scene.at("b"), at.family(), {}, at.port()));
  }
  for (const Pair& pair : allowed) exchange(pair.client.get(), pair.server.get());
  scene.put("b", "default");
  for (const Pair& pair : denied)
    for (const int fd : {pair.client.get(), pair.server.get()}) check_aborted(fd);
  scene.world.wait_enrolled("shop", "b", "on");
  for (const Pair& pair : allowed) exchange(pair.client.get(), pair.server.get());
}

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void report(const char* what, std::vector<double> values) {
  std::ranges::sort(values);
  MESSAGE(std::string(what), ": median ", values[values.size() / 2], " ms, worst ", values.back(), " ms");
  CHECK(values.back() < 2000);
}

TEST_CASE("cutting: how long it takes") {
  const Scene scene("on");
  const UniqueFd listener = listen_at(scene.at("b"), AF_INET);
  const Address to = local_address(listener.get());
  const auto until = [&](bool open) {
    const Clock::time_point start = Clock::now();
    CHECK(eventually(seconds(5), [&] { return dial(scene.at("evil"), to).empty() == open; }));
    empty_queue(listener.get());
    return ms_since(start);
  };
  std::vector<double> opens, closes, cuts;
  for (int i = 0; i < 20; ++i) {
    scene.world.objects.put_text("policy.yaml", allow_account("evil"));
    opens.push_back(until(true));
    const Pair live = make_pair_between(scene.at("evil"), scene.at("b"), AF_INET);
    exchange(live.client.get(), live.server.get());
    const Clock::time_point closed = Clock::now();
    scene.world.objects.put_text("policy.yaml", allow_account("web"));
    if (i % 2 == 0) {
      closes.push_back(until(false));
      REQUIRE(hangs_up(live.client.get()));
    } else {
      for (const int fd : {live.client.get(), live.server.get()}) REQUIRE(hangs_up(fd));
      cuts.push_back(ms_since(closed));
    }
  }
  report("opened for new ones", opens);
  report("closed for new ones", closes);
  report("a live one cut", cuts);
}

TEST_CASE("cutting: a thousand live connections") {
  const Scene scene("on");
  scene.world.objects.put_text("policy.yaml", allow_account("evil"));
  const UniqueFd listener = listen_at(scene.at("b"), AF_INET);
  REQUIRE(eventually(seconds(5), [&] { return dial(scene.at("evil"), local_address(listener.get())).empty(); }));
  std::vector<UniqueFd> ends;
  (void)accept_from(listener.get());
  for (int i = 0; i < 1000; ++i) {
    ends.push_back(connect_from(scene.at("evil"), local_address(listener.get())));
    ends.push_back(accept_from(listener.get()));
  }
  const Clock::time_point closed = Clock::now();
  scene.world.objects.put_text("policy.yaml", allow_account("web"));
  for (const UniqueFd& fd : ends) REQUIRE(hangs_up(fd.get()));
  MESSAGE("all cut after ", ms_since(closed), " ms");
}

TEST_CASE("cutting: who stays allowed loses no byte while others are cut") {
  const Scene scene("on");
  scene.world.objects.put_text("policy.yaml", allow_accounts(R"("web", "default")"));
  const UniqueFd back = listen_at(scene.at("web"), AF_INET);
  REQUIRE(eventually(seconds(5), [&] { return dial(scene.at("b"), local_address(back.get())).empty(); }));
  Traffic traffic({.a = scene.at("web"), .b = scene.at("b"), .lasting = 4, .renewed = 2});
  const UniqueFd listener = listen_at(scene.at("b"), AF_INET);
  const Address to = local_address(listener.get());
  for (int i = 0; i < 15 && !traffic.failed(); ++i) {
    scene.world.objects.put_text("policy.yaml", allow_accounts(R"("web", "default", "evil")"));
    REQUIRE(eventually(seconds(5), [&] { return dial(scene.at("evil"), to).empty(); }));
    (void)accept_from(listener.get());
    const UniqueFd live = connect_from(scene.at("evil"), to);
    const UniqueFd server = accept_from(listener.get());
    exchange(live.get(), server.get());
    scene.world.objects.put_text("policy.yaml", allow_accounts(R"("web", "default")"));
    check_aborted(live.get());
    check_aborted(server.get());
  }
  const StreamsReport report = traffic.stop();
  INFO(report.to_string());
  CHECK(report.ok());
  CHECK(report.bytes > 0);
}

TEST_CASE("cutting: a policy that comes and goes under a storm of connects") {
  for (const char* attacker : {"evil", "out"}) {
    INFO(std::string(attacker));
    const Scene scene("on");
    const UniqueFd listener = listen_at(scene.at("b"), AF_INET);
    const Address to = local_address(listener.get());
    const Pair kept = make_pair_between(scene.at("web"), scene.at("b"), AF_INET6);
    // The last that came through, both ends; those before are closed.
    std::deque<UniqueFd> clients, servers;
    std::atomic<bool> stop = false;
    std::atomic<int> passed = 0;
    Task storm([&] {
      while (!stop) {
        try {
          clients.push_back(connect_from(scene.at(attacker), to));
          ++passed;
        } catch (const std::runtime_error&) {
        }
        if (clients.size() > 100) clients.pop_front();
      }
    });
    Task server([&] {
      while (!stop || readable(listener.get(), milliseconds(0))) {
        if (readable(listener.get(), milliseconds(20))) servers.push_back(accept_from(listener.get()));
        if (servers.size() > 300) servers.pop_front();
      }
    });
    for (int i = 0; i < 50; ++i) {
      scene.world.objects.remove_text("policy.yaml");
      const int before = passed;
      CHECK(eventually(seconds(5), [&] { return passed > before; }));
      scene.world.objects.put_text("policy.yaml", allow_account("web"));
    }
    CHECK(eventually(seconds(5), [&] { return is_refused(scene.at(attacker), to); }));
    stop = true;
    storm.join();
    server.join();
    exchange(kept.client.get(), kept.server.get());
    CHECK_FALSE(clients.empty());
    const auto uncut = [&] {
      return std::ranges::count_if(clients, [](const auto& fd) { return !hangs_up(fd.get(), milliseconds(0)); });
    };
    CHECK(eventually(seconds(5), [&] { return uncut() == 0; }));
    INFO("not cut ", uncut(), " of ", clients.size());
    CHECK(uncut() == 0);
    std::uint64_t clean = 0;
    for (const UniqueFd& fd : clients) clean += drain_if_over(fd.get()) == 0 ? 1 : 0;
    CHECK(clean == 0);
    for (int i = 0; i < 20; ++i) CHECK(is_refused(scene.at(attacker), to));
  }
}

}  // namespace
}  // namespace underpass::test
