// SPDX-License-Identifier: Apache-2.0
// The subcommand that shows connections as they come and go: flows. The agent keeps them under numbers; we ask again
// and again for those after the last one.
#include <pthread.h>

#include <boost/json/array.hpp>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <utility>

#include "agent/admin/flow_log.h"
#include "agent/cli/commands.h"
#include "agent/cli/flow_filter.h"
#include "agent/cli/json_text.h"
#include "agent/cli/service_tables.h"

namespace underpass::cli {
namespace {

namespace json = boost::json;

constexpr std::chrono::seconds kPatience(10);
constexpr std::chrono::milliseconds kPause(200);

// Ctrl-C ends the waiting between two questions, and nothing else: a line is never cut.
class Interrupt {
 public:
  Interrupt() {
    sigemptyset(&interrupt_);
    sigaddset(&interrupt_, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &interrupt_, &before_);
  }
  ~Interrupt() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // True: it came.
  [[nodiscard]] bool wait(std::chrono::nanoseconds time) const {
    const timespec limit{.tv_sec = time.count() / 1'000'000'000, .tv_nsec = time.count() % 1'000'000'000};
    return ::sigtimedwait(&interrupt_, nullptr, &limit) == SIGINT;  // EINTR is as good as the end of the pause
  }

 private:
  sigset_t interrupt_{};
  sigset_t before_{};
};

// One answer: its rows on standard output, its losses on standard error. Returns the number to ask for next.
std::uint64_t print_flows(const Session& session, const FlowFilter& filter, const json::value& answer,
                          std::uint64_t since) {
  json::error_code error;
  const json::value* lost = find_at(answer, {"lost"});
  if (lost != nullptr && lost->is_number() && lost->to_number<std::uint64_t>(error) != 0 && !error)
    session.report(text_of(lost) + " flows were lost: they came faster than they were taken");
  for (const json::value& flow : list_at(answer, {"flows"})) {
    if (!matches(filter, flow)) continue;
    if (session.json) {
      session.print(flow);
    } else {
      session.out << flow_line(flow);
    }
  }
  const json::value* next = find_at(answer, {"next"});
  const auto number = next != nullptr ? next->to_number<std::uint64_t>(error) : since;
  return error ? since : number;
}

}  // namespace

ExitCode show_flows(const Session& session, const FlowFilter& filter, bool follow) {
  const Interrupt interrupt;
  std::uint64_t since = 0;
  bool first = true;
  bool waiting = false;  // for the next agent, whose numbers begin anew
  do {
    const auto answer = session.ask(admin::encode_flows(since, follow), kPatience);
    if (!answer && !first && answer.error().kind == admin::CallError::Kind::kUnreachable) {
      if (!std::exchange(waiting, true)) session.report("the agent is gone: waiting for the next one");
      since = 0;
      continue;
    }
    if (!answer) return session.report(answer.error());
    waiting = false;
    if (find_at(*answer, {"next"}) == nullptr)
      return session.report("the agent's answer to flows has no flows: is it of another version?");
    if (first && !session.json) session.out << flows_header();
    if (first && !follow && !session.json && list_at(*answer, {"flows"}).empty()) session.err << "no flows\n";
    first = false;
    since = print_flows(session, filter, *answer, since);
    session.out.flush();
    if (!session.out.good()) break;  // nobody reads on
  } while (follow && !interrupt.wait(kPause));
  return kDone;
}

}  // namespace underpass::cli
