// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/traffic.h"

#include <pthread.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <system_error>

#include "userspace_proxy/log/access_line.h"
#include "userspace_proxy/net/tcp_transport.h"

namespace underpass::session {
namespace {

using net::Clock;

constexpr auto kSweep = std::chrono::seconds(1);
// A line of the access log waits so long for others, unless they are many.
constexpr auto kLinesWait = std::chrono::milliseconds(20);
constexpr std::size_t kManyLines = 16UL * 1024;
constexpr const char* kDeniedDetails = "rbac_access_denied";

// Signals are for the main thread.
template <typename Start>
std::thread without_signals(Start start) {
  sigset_t all{};
  sigset_t before{};
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(start));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

Traffic::Traffic(TrafficOptions options, std::unique_ptr<net::Loop> loop, RoutesPtr routes, Peers& peers,
                 log::AccessLog& access_log, TrafficEvents& events)
    : options_(options),
      loop_(std::move(loop)),
      routes_(std::move(routes)),
      peers_(peers),
      access_log_(access_log),
      events_(events),
      http_(*loop_, buffers_, peers_, *this, *options.memory_short, routes_, options.threads),
      next_sweep_(Clock::now() + kSweep) {}

Result<std::unique_ptr<Traffic>> Traffic::start(TrafficOptions options, RoutesPtr routes, Peers& peers,
                                                log::AccessLog& access_log, TrafficEvents& events) {
  auto loop = net::Loop::make();
  if (!loop) return std::unexpected(loop.error());
  std::unique_ptr<Traffic> traffic(
      new Traffic(options, std::move(*loop), std::move(routes), peers, access_log, events));
  try {
    traffic->thread_ = without_signals([self = traffic.get()] { self->run(); });
  } catch (const std::system_error& problem) {
    return fail(std::string("start a traffic thread: ") + problem.what());
  }
  return traffic;
}

Traffic::~Traffic() {
  if (!thread_.joinable()) return;
  post([](Traffic& self) { self.stopped_ = true; });
  thread_.join();
}

void Traffic::post(Work work) {
  loop_->post([this, work = std::move(work)]() mutable { work(*this); });
}

void Traffic::run() {
  ::pthread_setname_np(::pthread_self(), ("traffic-" + std::to_string(options_.thread)).c_str());
  while (!stopped_) {
    loop_->run_round(next_round());
    end_late_dials();
    if (loop_->now() >= next_sweep_) sweep();
    http_.end_round();
    ended_.clear();
    check_drained();
    if (paused_) resume_if_possible();
    write_lines(false);
  }
  write_lines(true);
}

Clock::time_point Traffic::next_round() const {
  auto next = std::min(next_sweep_, http_.next_deadline());
  if (!lines_.empty() || lines_wait_) next = std::min(next, lines_due_);
  if (!starting_.empty()) next = std::min(next, starting_.front().deadline);
  return next;
}

void Traffic::end_late_dials() {
  // What ends is moved to another list, so there is a new front.
  while (!starting_.empty() && starting_.front().deadline <= loop_->now()) {
    auto& late = starting_.front();
    if (late.stage() == Connection::Stage::kWaitsForDial && late.waits_for_tunnel())
      late.end(Flag::kConnectFailed, "tunnel: timeout");
    else if (late.stage() == Connection::Stage::kWaitsForDial)
      late.end(Flag::kNoDial, "no socket to dial with came in time");
    else
      late.end(Flag::kConnectFailed, "connect: timeout");
  }
}

void Traffic::sweep() {
  const auto now = loop_->now();
  next_sweep_ = now + kSweep;
  const auto idle = routes_->settings().idle_timeout;
  for (auto* list : {&starting_, &open_}) {
    for (auto next = list->begin(); next != list->end();) {
      auto& connection = *next++;
      if (connection.must_end_by <= now)
        connection.end(Flag::kDrained, "the drain's time is over");
      else if (list == &open_ && idle.count() > 0 && now - connection.last_byte >= idle)
        connection.end(Flag::kIdle, "idle");
    }
  }
  http_.sweep();
  erase_left();
  for (auto& [id, pod] : pods_)
    for (const bool v6 : {false, true}) ask_for_dials(id, pod.families[v6], v6);
}

// --- from accept() to dial ------------------------------------------------------------------------------------------

// False: there is nobody in its queue, or nobody is let in.
bool Traffic::accept_from(Listening& listening) {
  // What is left in the queue is told again, and by then perhaps to another thread.
  constexpr int kAtOnce = 32;
  for (int i = 0; i < kAtOnce && !paused_; ++i) {
    UniqueFd fd(::accept4(listening.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
      if (errno == EINTR || errno == ECONNABORTED) continue;  // the client was faster
      on_accept_failed(listening, errno);
      return false;
    }
    // The kernel gives the lowest number that is free: so many are open.
    if (fd.get() >= options_.accept_limit) pause(EMFILE);
    take_in(listening, std::move(fd));
  }
  return !paused_;
}

void Traffic::on_accept_failed(const Listening& listening, int error) {
  if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) return pause(error);
  // Other errors are of the connection that was not accepted: accept(2). These are the listener's, and would stay.
  if (error != EINVAL && error != EBADF && error != ENOTSOCK && error != EOPNOTSUPP) return;
  spdlog::error("listen-failed pod={} cause=\"accept: {}\"", listening.pod, std::strerror(error));
  unlisten(listening);
}

void Traffic::take_in(const Listening& listening, UniqueFd fd) {
  const auto id = listening.pod;
  up_peer peer;
  const bool known = peers_.ask(fd.get(), peer);
  // A tunnel is nobody's connection: those that come through it are told and counted.
  if (listening.which.direction == UP_TUNNEL) {
    if (known && peer.direction == UP_TUNNEL) http_.take_in_tunnel(std::move(fd), id, peer);
    return;
  }
  counters_.accepted.add();
  counters_.connections.add();
  auto record = known ? Record(peer, id, *routes_) : Record();
  record.start = std::chrono::system_clock::now();
  const auto protocol =
      known ? routes_->protocol_of(record.server_netns, ntohs(record.server_port)) : PortProtocol::kTcp;
  auto client = net::make_tcp(*loop_, std::move(fd));
  if (protocol == PortProtocol::kTcp)
    relay(std::move(client), id, known ? peer.id : 0, std::move(record), loop_->now());
  else
    http_.take_in(std::move(client), id, peer.id, std::move(record), protocol);
}

// Its node waits to hear whether the server is reached, before it says what is spoken: see on_connected(). So of what
// may be HTTP nothing but what no request can change is judged yet.
void Traffic::on_tunnelled(std::unique_ptr<net::Transport> stream, NetnsCookie id, std::uint64_t tunnel,
                           Record record) {
  counters_.accepted.add();
  counters_.connections.add();
  relay(std::move(stream), id, tunnel, std::move(record), loop_->now());
}

Connection& Traffic::add(std::unique_ptr<net::Transport> client, NetnsCookie id, std::uint64_t peer, Record record,
                         Clock::time_point began) {
  auto& connection =
      starting_.emplace_back(Surroundings{*loop_, buffers_, peers_}, static_cast<ConnectionOwner&>(*this),
                             std::move(client), id, peer, std::move(record));
  connection.place = std::prev(starting_.end());
  connection.began = began;
  connection.must_end_by = drain_until_;
  connection.deadline = loop_->now() + routes_->settings().connect_timeout;
  return connection;
}

void Traffic::relay(std::unique_ptr<net::Transport> client, NetnsCookie id, std::uint64_t peer, Record record,
                    Clock::time_point began) {
  auto& connection = add(std::move(client), id, peer, std::move(record), began);
  if (peer == 0) {
    spdlog::debug("connection-refused pod={} reason=\"it was dialled to the listener itself\"", id);
    return connection.end(Flag::kNotOurs, "nobody knows who dialled");
  }
  if (!may_relay(connection)) return connection.end(Flag::kDenied, kDeniedDetails);
  find_server(connection);
  if (connection.stage() != Connection::Stage::kEnded) connection.watch_client();
}

void Traffic::find_server(Connection& connection) {
  if (connection.waits_for_tunnel())
    http_.tunnels().open(connection);
  else
    find_dial(connection);
}

// Policies of the pod that it is for, of which the kernel has decided no more than addresses and ports can tell.
bool Traffic::may_relay(const Connection& connection) {
  const auto& record = connection.record();
  const auto* policing = routes_->policing_of(record.server_netns);
  if (policing == nullptr) return true;
  const auto known = policing->authorizer.know(peer_of(record));
  if (may_be_http(connection)) return policing->authorizer.may_pass(known);
  const auto verdict = policing->authorizer.decide_tcp(known);
  requests_.add(record.server_netns, verdict.notices);
  return verdict.kind == authz::Verdict::Kind::kAllow;
}

// It came through a tunnel, and is looked at when its server is reached.
bool Traffic::may_be_http(const Connection& connection) const {
  const auto& record = connection.record();
  return record.inbound && record.tunnel != UP_TUNNEL_NONE && !connection.is_decided &&
         routes_->protocol_of(record.server_netns, ntohs(record.server_port)) != PortProtocol::kTcp;
}

void Traffic::find_dial(DialUser& user) {
  const auto pod = pods_.find(user.pod());
  if (pod == pods_.end()) return user.no_dial(Flag::kDrained, "the pod went");
  const bool v6 = user.dials_v6();
  auto& family = pod->second.families[v6];
  family.used = !draining_ && !pod->second.leaves();
  if (auto socket = family.stock.take(loop_->now())) {
    user.dial(std::move(socket));
  } else {
    family.waiting.push_back(&user);
    if (!agent_there_) events_.on_starved(options_.thread, pod->first, v6);
  }
  ask_for_dials(pod->first, family, v6);
}

void Traffic::forget_dial(DialUser& user) {
  if (const auto pod = pods_.find(user.pod()); pod != pods_.end())
    for (auto& family : pod->second.families)
      if (!family.waiting.empty()) std::erase(family.waiting, &user);
}

void Traffic::ask_for_dials(NetnsCookie id, Family& family, bool v6) {
  if (!agent_there_ || (!family.used && family.waiting.empty())) return;
  if (const auto count = family.stock.ask(family.waiting.size(), loop_->now()))
    events_.on_want(options_.thread, id, v6, family.used ? *count : family.waiting.size());
}

// Nobody new comes. Who was asked before may not have known that.
void Traffic::ask_for_last_dials(NetnsCookie id, Pod& pod) {
  for (const bool v6 : {false, true}) {
    auto& family = pod.families[v6];
    family.used = false;
    family.stock.forget_asking();
    ask_for_dials(id, family, v6);
  }
}

void Traffic::add_dials(NetnsCookie id, bool v6, std::vector<UniqueFd> sockets) {
  const auto pod = pods_.find(id);
  if (pod == pods_.end()) return;
  auto& family = pod->second.families[v6];
  family.stock.add(std::move(sockets), loop_->now());
  while (!family.waiting.empty() && family.stock.size() > 0) {
    auto* user = family.waiting.front();
    family.waiting.pop_front();
    user->dial(family.stock.take(loop_->now()));
  }
  ask_for_dials(id, family, v6);
}

std::vector<UniqueFd> Traffic::give_dials(NetnsCookie id, bool v6) {
  const auto pod = pods_.find(id);
  return pod == pods_.end() ? std::vector<UniqueFd>() : pod->second.families[v6].stock.give_half();
}

void Traffic::no_dials(NetnsCookie id, bool v6) {
  const auto pod = pods_.find(id);
  if (pod == pods_.end()) return;
  end_waiting(pod->second.families[v6], Flag::kNoDial, "no socket to dial with, and no agent to make one");
}

void Traffic::end_waiting(Family& family, Flag flag, const char* details) {
  for (auto* user : std::exchange(family.waiting, {})) user->no_dial(flag, details);
}

// --- what becomes of connections ------------------------------------------------------------------------------------

// What came through a tunnel may be HTTP, and is not told of as a connection of TCP then.
void Traffic::on_connected(Connection& connection) {
  if (may_be_http(connection)) {
    const auto& record = connection.record();
    const auto protocol = routes_->protocol_of(record.server_netns, ntohs(record.server_port));
    auto ends = connection.release();
    http_.take_in(std::move(ends.client), connection.pod(), connection.carried(), connection.take_record(), protocol,
                  std::move(ends.server));
    ended_.splice(ended_.end(), starting_, connection.place);
    return;
  }
  open_.splice(open_.end(), starting_, connection.place);
  connection.is_open = true;
}

void Traffic::on_ended(Connection& connection) {
  forget_dial(connection);
  if (!connection.is_open && connection.waits_for_tunnel()) http_.tunnels().forget(connection);
  log_connection(connection, connection.relay().sent(), connection.relay().received());
  ended_.splice(ended_.end(), connection.is_open ? open_ : starting_, connection.place);
  check_drained();
}

// Its requests were told one by one.
void Traffic::on_connection_ended(const HttpConnection& connection) {
  if (connection.has_answered()) {
    counters_.connections.sub();
    counters_.ended[static_cast<std::size_t>(connection.flag())].add();
  } else {
    log_connection(connection, 0, 0);
  }
}

template <typename Ended>
void Traffic::log_connection(const Ended& connection, std::uint64_t sent, std::uint64_t received) {
  const auto duration = std::chrono::floor<std::chrono::milliseconds>(Clock::now() - connection.began);
  expect_line();
  log::append_access_line(lines_, connection.record(),
                          {.duration = duration,
                           .flag = connection.flag(),
                           .details = connection.details(),
                           .sent = sent,
                           .received = received});
  counters_.connections.sub();
  counters_.ended[static_cast<std::size_t>(connection.flag())].add();
}

void Traffic::on_request_ended(const telemetry::RequestRecord& record) {
  expect_line();
  requests_.add(record);
}

void Traffic::on_not_http(HttpConnection& connection, std::unique_ptr<net::Transport> client) {
  auto server = connection.take_server();
  if (!server)
    return relay(std::move(client), connection.pod(), connection.id(), connection.take_record(), connection.began);
  auto& relayed = add(std::move(client), connection.pod(), connection.id(), connection.take_record(), connection.began);
  relayed.is_decided = true;
  if (!may_relay(relayed)) {
    server->close(true);
    return relayed.end(Flag::kDenied, kDeniedDetails);
  }
  relayed.watch_client();
  if (relayed.stage() != Connection::Stage::kEnded) relayed.go_on(std::move(server));
}

// One is about to be appended.
void Traffic::expect_line() {
  if (lines_.empty() && !lines_wait_) lines_due_ = loop_->now() + kLinesWait;
}

void Traffic::write_lines(bool all) {
  if (lines_.empty() && !lines_wait_) return;
  if (!all && lines_.size() < kManyLines && loop_->now() < lines_due_) return;
  lines_wait_ = access_log_.append(lines_);
  if (lines_wait_) lines_due_ = loop_->now() + kLinesWait;
}

// --- what the agent says --------------------------------------------------------------------------------------------

void Traffic::use(RoutesPtr routes) {
  routes_ = std::move(routes);
  http_.use(routes_);
  for (auto* list : {&starting_, &open_}) {
    for (auto next = list->begin(); next != list->end();) {
      auto& connection = *next++;
      if (!may_relay(connection)) connection.end(Flag::kDenied, kDeniedDetails);
    }
  }
}

void Traffic::add_listener(NetnsCookie id, worker::Listener which, UniqueFd fd) {
  if (draining_) return;
  auto& pod = pods_[id];
  pod.leaves_by = Clock::time_point::max();
  if (const auto old = std::ranges::find(pod.listeners, which, &Listening::which); old != pod.listeners.end()) {
    unlisten(*old);
    pod.listeners.erase(old);
  }
  auto& listening = pod.listeners.emplace_back(*this, id, which, std::move(fd));
  if (!paused_) listen_on(listening);
  auto& family = pod.families[which.v6];
  family.used = true;
  ask_for_dials(id, family, which.v6);
}

void Traffic::listen_on(Listening& listening) {
  // Not edge-triggered: what one thread leaves, another may take. EPOLLEXCLUSIVE wakes one of them.
  if (!loop_->watch(listening.fd.get(), EPOLLIN | EPOLLEXCLUSIVE, listening))
    spdlog::error("listen-failed pod={} cause=\"{}\"", listening.pod, std::strerror(errno));
}

void Traffic::unlisten(const Listening& listening) {
  // The agent has a copy of the socket, so close() alone would leave it in epoll's hands.
  if (!paused_) loop_->unwatch(listening.fd.get());
}

// Who waits in their queues was led here while they stood, and is not left there.
void Traffic::accept_last(Pod& pod) {
  for (auto& listening : pod.listeners)
    while (accept_from(listening)) {
    }
}

void Traffic::drop_listeners(Pod& pod) {
  for (const auto& listening : pod.listeners) unlisten(listening);
  pod.listeners.clear();
}

void Traffic::forget(NetnsCookie id, bool reset) {
  const auto until = loop_->now() + (reset ? std::chrono::milliseconds(0) : routes_->settings().drain_timeout);
  if (const auto pod = pods_.find(id); pod != pods_.end()) {
    if (!reset) accept_last(pod->second);
    drop_listeners(pod->second);
    pod->second.leaves_by = until;
    if (!reset) ask_for_last_dials(id, pod->second);
  }
  for (auto* list : {&starting_, &open_}) {
    for (auto next = list->begin(); next != list->end();) {
      auto& connection = *next++;
      if (connection.pod() != id) continue;
      if (reset)
        connection.end(Flag::kDrained, "the pod went");
      else
        connection.must_end_by = std::min(connection.must_end_by, until);
    }
  }
  http_.forget(id, reset, until);
  erase_left();
}

void Traffic::erase_left() {
  for (auto pod = pods_.begin(); pod != pods_.end();) {
    if (pod->second.leaves_by > loop_->now()) {
      ++pod;
      continue;
    }
    for (auto& family : pod->second.families) end_waiting(family, Flag::kDrained, "the pod went");
    pod = pods_.erase(pod);
  }
}

void Traffic::drain() {
  for (auto& [id, pod] : pods_) {
    accept_last(pod);
    drop_listeners(pod);
  }
  draining_ = true;
  for (auto& [id, pod] : pods_) ask_for_last_dials(id, pod);
  const auto until = drain_until_ = loop_->now() + routes_->settings().drain_timeout;
  for (auto* list : {&starting_, &open_})
    for (auto& connection : *list) connection.must_end_by = std::min(connection.must_end_by, until);
  http_.drain(until);
  next_sweep_ = std::min(next_sweep_, until);
  check_drained();
}

void Traffic::check_drained() {
  if (!draining_ || drained_ || !starting_.empty() || !open_.empty() || !http_.is_empty()) return;
  drained_ = true;
  write_lines(true);
  events_.on_drained(options_.thread);
}

void Traffic::set_agent_there(bool there) {
  agent_there_ = there;
  for (auto& [id, pod] : pods_) {
    for (const bool v6 : {false, true}) {
      auto& family = pod.families[v6];
      family.stock.forget_asking();
      if (there)
        ask_for_dials(id, family, v6);
      else if (!family.waiting.empty())
        events_.on_starved(options_.thread, id, v6);
    }
  }
}

Traffic::DialCounts Traffic::dial_counts() const {
  DialCounts counts;
  for (const auto& [id, pod] : pods_)
    if (!pod.leaves()) counts[id] = {pod.families[0].stock.size(), pod.families[1].stock.size()};
  return counts;
}

// --- descriptors run short ------------------------------------------------------------------------------------------

void Traffic::pause(int error) {
  if (paused_) return;
  for (auto& [id, pod] : pods_)
    for (const auto& listening : pod.listeners) unlisten(listening);
  paused_ = true;
  counters_.paused.store(true, std::memory_order_relaxed);
  counters_.accept_pauses.add();
  spdlog::warn("accept-paused thread={} reason=\"{}\" connections={}", options_.thread, std::strerror(error),
               counters_.connections.get());
}

void Traffic::resume_if_possible() {
  // Some room, so that it does not pause again for the next connection.
  constexpr int kRoom = 16;
  const UniqueFd lowest(::epoll_create1(EPOLL_CLOEXEC));
  if (!lowest || lowest.get() >= options_.accept_limit - kRoom) return;
  paused_ = false;
  counters_.paused.store(false, std::memory_order_relaxed);
  for (auto& [id, pod] : pods_)
    for (auto& listening : pod.listeners) listen_on(listening);
  spdlog::info("accept-resumed thread={} connections={}", options_.thread, counters_.connections.get());
}

}  // namespace underpass::session
