// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/control/worker.h"

#include <fcntl.h>
#include <malloc.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <utility>
#include <variant>

#include "userspace_proxy/control/routing_source.h"
#include "userspace_proxy/net/non_blocking.h"

namespace underpass::control {

namespace asio = boost::asio;
using boost::system::error_code;
using session::Traffic;

namespace {

constexpr auto kReportEvery = std::chrono::seconds(1);
// So long connections that find no dial socket wait for an agent that has just gone.
constexpr std::chrono::seconds kPatience(5);
constexpr auto kWatchMemoryEvery = std::chrono::milliseconds(200);

ToldRequests told_by(Traffic& traffic) {
  auto& requests = traffic.requests();
  return {.series = requests.take_series(), .flows = requests.take_flows(), .notices = requests.take_notices()};
}

UniqueFd copy_of(const UniqueFd& fd) { return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); }

}  // namespace

Worker::Worker(asio::io_context& io, WorkerOptions options, session::Peers& peers, std::function<void()> on_drained)
    : io_(io),
      options_(std::move(options)),
      peers_(peers),
      on_all_drained_(std::move(on_drained)),
      access_log_(options_.access_log_fd),
      listener_(io, options_.listener.release()),
      report_timer_(io),
      memory_timer_(io),
      patience_(io) {}

Worker::~Worker() {
  if (agent_) agent_->close();
  threads_.clear();  // they call this object
}

void Worker::start() {
  await_agents();
  if (options_.agent) greet(std::move(options_.agent));
  schedule_report();
  watch_memory();
}

template <typename Work>
void Worker::post_to_all(Work work) {
  for (const auto& thread : threads_) thread->post(work);
}

// --- agents come and go ---------------------------------------------------------------------------------------------

void Worker::await_agents() {
  listener_.async_wait(asio::posix::stream_descriptor::wait_read, [this](error_code error) {
    if (error) return;
    accept_agents();
    await_agents();
  });
}

void Worker::accept_agents() {
  for (;;) {
    UniqueFd socket(::accept4(listener_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) return;
    ucred who{};
    socklen_t size = sizeof(who);
    const bool known = ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) == 0;
    // The socket's mode keeps others out; whoever gets round it is still no agent.
    if (!known || (who.uid != 0 && who.uid != options_.agent_uid)) {
      spdlog::warn("agent-refused uid={}", who.uid);
      continue;
    }
    greet(std::move(socket));
  }
}

void Worker::greet(UniqueFd socket) {
  if (agent_) agent_->close();
  desk_.clear();
  follow_requests(false);
  agent_ = AgentLink::open(
      io_, std::move(socket), [this](Received received) { on_message(std::move(received)); }, [this] { on_gone(); });
  spdlog::info("agent-connected pods={} revision={}", pods_.size(), routes_ ? routes_->table().revision : 0);
  agent_->send(worker::Hello{.version = UNDERPASS_VERSION, .revision = routes_ ? routes_->table().revision : 0});
  for (const auto& [pod, sockets] : pods_) {
    worker::Listeners listeners{.netns = pod, .listeners = {}};
    std::vector<int> fds;
    for (const auto& [which, fd] : sockets) {
      listeners.listeners.push_back(which);
      fds.push_back(fd.get());
    }
    agent_->send(listeners, fds);
  }
  agent_->send(worker::Ready{});
  post_to_all([](Traffic& traffic) { traffic.set_agent_there(true); });
}

void Worker::on_gone() {
  spdlog::warn("agent-gone note=\"connections go on\"");
  agent_.reset();
  desk_.clear();
  follow_requests(false);
  post_to_all([](Traffic& traffic) { traffic.set_agent_there(false); });
  patience_.expires_after(kPatience);
  patience_.async_wait([this](error_code error) {
    if (!error && !agent_) post_to_all([](Traffic& traffic) { traffic.set_agent_there(false); });
  });
}

// It is being replaced, or started again.
bool Worker::expects_agent() const { return std::chrono::steady_clock::now() < patience_.expiry(); }

// --- what it says ---------------------------------------------------------------------------------------------------

void Worker::on_message(Received received) {
  const auto message = std::move(received.message);
  std::visit([&](const auto& held) { take(held, received); }, message);
}

void Worker::garbage(const std::string& why) {
  spdlog::warn("agent-hung-up-on cause=\"{}\"", why);
  agent_->close();
  on_gone();
}

void Worker::take(const worker::Config& config, Received& received) {
  const auto answer = [&](std::string cause) {
    if (!cause.empty()) spdlog::warn("config-refused revision={} cause=\"{}\"", config.revision, cause);
    agent_->send(worker::Configured{.revision = config.revision, .cause = std::move(cause)});
  };
  if (received.fds.size() != 1)
    return answer(received.fds_lost ? "the descriptor was lost: too many are open" : "not one descriptor came with it");
  const std::uint64_t in_force = routes_ ? routes_->table().revision : 0;
  if (config.revision == in_force && routes_) return answer("");
  if (config.revision < in_force)
    return answer("revision " + std::to_string(config.revision) + ": " + std::to_string(in_force) + " is in force");
  auto table = load_routing_table(received.fds.front().get(), config);
  if (!table) return answer(table.error().message);
  const auto used = use(std::move(*table));
  answer(used ? "" : used.error().message);
}

Result<void> Worker::use(RoutingTable table) {
  auto identities = identities_.make(table);
  if (!identities) return fail_in("certificates", identities.error());
  auto routes = std::make_shared<const session::Routes>(std::move(table), std::move(*identities));
  if (threads_.empty()) {
    std::vector<std::unique_ptr<Traffic>> threads;
    const unsigned many = routes->settings().threads;
    for (unsigned i = 0; i < many; ++i) {
      auto thread = Traffic::start(
          {.thread = i, .threads = many, .memory_short = &memory_short_, .accept_limit = options_.accept_limit}, routes,
          peers_, access_log_, *this);
      if (!thread) return std::unexpected(thread.error());
      threads.push_back(std::move(*thread));
    }
    threads_ = std::move(threads);
    post_to_all([on = follows_requests_](Traffic& traffic) { traffic.requests().follow(on); });
  }
  spdlog::info("config-in-force revision={} pods={}", routes->table().revision, routes->table().pods.size());
  routes_ = routes;
  post_to_all([routes](Traffic& traffic) { traffic.use(routes); });
  return {};
}

void Worker::take(const worker::Listeners& listeners, Received& received) {
  if (received.fds.size() != listeners.listeners.size()) {
    // The next connection begins with what is here, so the agent sees what is missing.
    return garbage(received.fds_lost ? "listeners: descriptors were lost: too many are open"
                                     : "listeners: another number of descriptors than of listeners");
  }
  if (!routes_ || routes_->find_pod(listeners.netns) == nullptr)
    return spdlog::warn("listeners-refused netns={} cause=\"not in the routing table\"", listeners.netns);
  if (draining_) return;
  for (std::size_t i = 0; i < listeners.listeners.size(); ++i) {
    const auto which = listeners.listeners[i];
    net::make_non_blocking(received.fds[i].get());  // accept() is called until there is none
    for (const auto& thread : threads_)
      thread->post([pod = listeners.netns, which, fd = copy_of(received.fds[i])](Traffic& traffic) mutable {
        traffic.add_listener(pod, which, std::move(fd));
      });
    pods_[listeners.netns][which] = std::move(received.fds[i]);
  }
}

void Worker::take(const worker::Dials& dials, Received& received) {
  if (received.fds_lost) spdlog::warn("dials-lost netns={} cause=\"too many descriptors are open\"", dials.netns);
  if (threads_.empty()) return;
  auto hands = desk_.deal(static_cast<unsigned>(threads_.size()), dials.netns, dials.v6, std::move(received.fds));
  for (std::size_t i = 0; i < hands.size(); ++i) {
    if (hands[i].empty()) continue;
    threads_[i]->post([pod = dials.netns, v6 = dials.v6, fds = std::move(hands[i])](Traffic& traffic) mutable {
      traffic.add_dials(pod, v6, std::move(fds));
    });
  }
}

void Worker::take(const worker::Forget& forget, Received&) {
  spdlog::info("pod-forgotten netns={} reset={}", forget.netns, forget.reset);
  pods_.erase(forget.netns);
  desk_.forget(forget.netns);
  post_to_all([forget](Traffic& traffic) { traffic.forget(forget.netns, forget.reset); });
}

void Worker::take(const worker::Drain&, Received&) { drain(); }

void Worker::take(const worker::Logs&, Received& received) {
  if (received.fds.size() != 2) return garbage("logs: not two descriptors came with it");
  // In their places, and at once for all threads.
  (void)::dup3(received.fds[0].get(), options_.access_log_fd, O_CLOEXEC);
  (void)::dup3(received.fds[1].get(), options_.log_fd, O_CLOEXEC);
  net::make_non_blocking(options_.access_log_fd);
  net::make_non_blocking(options_.log_fd);
  spdlog::info("logs-replaced");
}

void Worker::take(const worker::FollowRequests& follow, Received&) { follow_requests(follow.on); }

void Worker::follow_requests(bool on) {
  follows_requests_ = on;
  post_to_all([on](Traffic& traffic) { traffic.requests().follow(on); });
}

template <typename Other>
void Worker::take(const Other&, Received&) {
  garbage("a message that only a worker sends");
}

// --- what traffic threads say ---------------------------------------------------------------------------------------

void Worker::on_want(unsigned thread, NetnsCookie pod, bool v6, std::uint64_t count) {
  asio::post(io_, [this, thread, pod, v6, count] {
    if (!agent_) return;
    desk_.want(thread, pod, v6, count);
    agent_->send(worker::Want{.netns = pod, .v6 = v6, .count = count});
  });
}

void Worker::on_starved(unsigned thread, NetnsCookie pod, bool v6) {
  asio::post(io_, [this, thread, pod, v6] {
    if (!agent_ && !threads_.empty()) ask_for_spare_dials(thread, 1, pod, v6);
  });
}

// `asked`: how many threads were asked, the one that starves counted. Each is asked when the one before had nothing.
void Worker::ask_for_spare_dials(unsigned thread, unsigned asked, NetnsCookie pod, bool v6) {
  if (asked >= threads_.size() && expects_agent()) return;  // who still waits when patience ends is told then
  if (asked >= threads_.size()) return threads_[thread]->post([=](Traffic& traffic) { traffic.no_dials(pod, v6); });
  const auto other = (thread + asked) % threads_.size();
  threads_[other]->post([=, this](Traffic& traffic) {
    auto spare = traffic.give_dials(pod, v6);
    asio::post(io_, [=, this, spare = std::move(spare)]() mutable {
      if (spare.empty()) return ask_for_spare_dials(thread, asked + 1, pod, v6);
      threads_[thread]->post(
          [pod, v6, fds = std::move(spare)](Traffic& starved) mutable { starved.add_dials(pod, v6, std::move(fds)); });
    });
  });
}

void Worker::on_drained(unsigned thread) {
  asio::post(io_, [this, thread] {
    drained_.insert(thread);
    check_drained();
  });
}

// --- reports, and the end -------------------------------------------------------------------------------------------

void Worker::schedule_report() {
  report_timer_.expires_after(kReportEvery);
  report_timer_.async_wait([this](error_code error) {
    if (error) return;
    collect_report();
    schedule_report();
  });
}

// By the allocator's own account: there are no files to ask the kernel with.
void Worker::watch_memory() {
  const auto heap = ::mallinfo2();
  const bool is_short = heap.uordblks + heap.hblkhd > worker::kMemoryShort;
  if (memory_short_.exchange(is_short, std::memory_order_relaxed) != is_short) {
    if (is_short)
      spdlog::warn("memory-short used={} note=\"new requests get 503\"", heap.uordblks + heap.hblkhd);
    else
      spdlog::info("memory-is-back");
  }
  memory_timer_.expires_after(kWatchMemoryEvery);
  memory_timer_.async_wait([this](error_code error) {
    if (!error) watch_memory();
  });
}

// How many dial sockets are left is asked for: only the threads know it.
void Worker::collect_report() {
  if (!agent_) return;
  struct Collected {
    std::size_t answers = 0;
    Traffic::DialCounts dials;
  };
  if (threads_.empty()) return send_report({});
  auto collected = std::make_shared<Collected>();
  post_to_all([this, collected](Traffic& traffic) {
    asio::post(io_, [this, collected, counts = traffic.dial_counts(), told = told_by(traffic)]() mutable {
      tell(std::move(told));
      for (const auto& [pod, left] : counts) {
        collected->dials[pod].first += left.first;
        collected->dials[pod].second += left.second;
      }
      if (++collected->answers == threads_.size()) send_report(collected->dials);
    });
  });
}

void Worker::send_report(const Traffic::DialCounts& dials) {
  if (!agent_) return;
  worker::Report report{.dials = dials};
  for (const auto& thread : threads_) {
    const auto& counters = thread->counters();
    report.connections += counters.connections.get();
    report.accepted += counters.accepted.get();
    report.accept_pauses += counters.accept_pauses.get();
    report.paused = report.paused || counters.paused.load(std::memory_order_relaxed);
    for (std::size_t i = 0; i < session::kFlags; ++i) {
      if (const auto count = counters.ended[i].get(); count != 0)
        report.ended[std::string(session::kFlagNames[i])] += count;
    }
  }
  report.log_lines_lost = access_log_.lost() + (options_.log ? options_.log->lost() : 0);
  agent_->send(report);
}

void Worker::tell(ToldRequests told) {
  if (!agent_) return;
  for (const auto& packet : packets_of(std::move(told))) agent_->send(packet);
}

void Worker::drain() {
  if (draining_) return;
  draining_ = true;
  spdlog::info("draining");
  pods_.clear();
  post_to_all([](Traffic& traffic) { traffic.drain(); });
  collect_report();
  check_drained();
}

void Worker::check_drained() {
  if (!draining_ || drained_.size() < threads_.size()) return;
  if (threads_.empty()) return finish();
  // What their last requests were is told before the end.
  auto answers = std::make_shared<std::size_t>(0);
  post_to_all([this, answers](Traffic& traffic) {
    asio::post(io_, [this, answers, told = told_by(traffic)]() mutable {
      tell(std::move(told));
      if (++*answers == threads_.size()) finish();
    });
  });
}

void Worker::finish() {
  send_report({});
  spdlog::info("drained");
  on_all_drained_();
}

}  // namespace underpass::control
