// SPDX-License-Identifier: Apache-2.0
// Which set is fetched when: each has a time at which it is due, and so many are under way at once.
#include "agent/jwks/fetcher.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <utility>

#include "agent/jwks/address_guard.h"
#include "agent/jwks/fetch.h"
#include "agent/jwks/uri.h"

namespace underpass::jwks {
namespace asio = boost::asio;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

// A URI that is wanted. Coroutines hold it too.
struct Entry {
  explicit Entry(const k8s::BackoffLimits& limits) : backoff(limits) {}

  Result<Uri> uri = fail("");
  milliseconds timeout{};
  k8s::Backoff backoff;
  steady_clock::time_point due;
  std::shared_ptr<k8s::Channel> channel;  // while it is fetched
  bool wanted = true;
  bool counted = true;  // false: one too many
  std::string problem;
  std::chrono::system_clock::time_point since;

  void fail_with(const std::string& cause) {
    if (problem.empty()) since = std::chrono::system_clock::now();
    problem = cause;
  }
  [[nodiscard]] bool may_be_fetched() const { return uri.has_value() && counted; }
};

}  // namespace

struct Fetcher::State : std::enable_shared_from_this<State> {
  State(asio::io_context& context, FetcherOptions given, std::function<void()> told)
      : io(context), options(std::move(given)), changed(std::move(told)), timer(context) {}

  void load();
  void set_wanted(const std::set<Wanted>& wanted);
  void add(const std::string& uri, milliseconds timeout);
  void remove_unwanted(const std::map<std::string, milliseconds>& wanted);
  void limit_number();
  // Starts what is due, and waits for what is due next.
  void pump();
  void start(const std::string& uri, const std::shared_ptr<Entry>& entry);
  [[nodiscard]] k8s::Session session_for(const Uri& uri, milliseconds timeout) const;
  static asio::awaitable<void> run(std::shared_ptr<State> state, std::string uri, std::shared_ptr<Entry> entry);
  void take(const std::string& uri, Entry& entry, Fetched fetched);
  [[nodiscard]] Result<void> keep(const std::string& uri, std::string text);
  void save();
  void tell();
  void close();

  asio::io_context& io;
  FetcherOptions options;
  std::function<void()> changed;
  asio::steady_timer timer;
  std::map<std::string, std::shared_ptr<Entry>> entries;
  Sets sets;        // of what is wanted
  Sets remembered;  // of an earlier agent, until it is wanted
  steady_clock::time_point began = steady_clock::now();
  std::size_t running = 0;
  bool telling = false;
  bool closed = false;
  FetchCounts counts;
  std::string file_problem;
};

void Fetcher::State::load() {
  if (options.file.empty()) return;
  auto loaded = load_sets(options.file);
  if (loaded) {
    remembered = std::move(*loaded);
  } else {
    file_problem = loaded.error().message;
  }
}

void Fetcher::State::add(const std::string& uri, milliseconds timeout) {
  auto& entry = entries[uri];
  if (entry) {
    entry->timeout = timeout;
    return;
  }
  entry = std::make_shared<Entry>(options.backoff);
  entry->timeout = timeout;
  entry->due = steady_clock::now();
  entry->uri = parse_uri(uri);
  if (!entry->uri) return entry->fail_with(entry->uri.error().message);
  const auto known = remembered.find(uri);
  if (known == remembered.end()) return;
  sets[uri] = std::move(known->second);
  remembered.erase(known);
  tell();
}

void Fetcher::State::remove_unwanted(const std::map<std::string, milliseconds>& wanted) {
  for (auto at = entries.begin(); at != entries.end();) {
    if (wanted.contains(at->first)) {
      ++at;
      continue;
    }
    at->second->wanted = false;
    if (at->second->channel) at->second->channel->close();
    if (sets.erase(at->first) != 0) tell();
    at = entries.erase(at);
  }
}

// The first in the alphabet count, so that the others do not take turns.
void Fetcher::State::limit_number() {
  std::size_t number = 0;
  for (auto& [uri, entry] : entries) {
    if (!entry->uri) continue;
    const bool counts_now = ++number <= options.most;
    if (counts_now == entry->counted) continue;
    entry->counted = counts_now;
    entry->problem.clear();
    entry->due = steady_clock::now();
    if (!counts_now) entry->fail_with("more than " + std::to_string(options.most) + " key sets are asked for");
  }
}

void Fetcher::State::set_wanted(const std::set<Wanted>& wanted) {
  std::map<std::string, milliseconds> longest;
  for (const auto& [uri, timeout] : wanted) longest[uri] = std::max(longest[uri], timeout);
  remove_unwanted(longest);
  for (const auto& [uri, timeout] : longest) add(uri, timeout);
  limit_number();
  pump();
}

void Fetcher::State::pump() {
  if (closed) return;
  const auto now = steady_clock::now();
  auto next = steady_clock::time_point::max();
  for (const auto& [uri, entry] : entries) {
    if (entry->channel || !entry->may_be_fetched()) continue;
    if (entry->due <= now && running < options.at_once) {
      start(uri, entry);
    } else if (entry->due > now) {
      next = std::min(next, entry->due);
    }
  }
  if (next == steady_clock::time_point::max()) return;
  timer.expires_at(next);
  timer.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    const auto state = weak.lock();
    if (!error && state) state->pump();
  });
}

k8s::Session Fetcher::State::session_for(const Uri& uri, milliseconds timeout) const {
  k8s::ApiConfig config;
  config.ca = {.file = options.ca_file, .text = {}};
  k8s::Session session{.config = std::move(config),
                       .token = k8s::TokenSource("", ""),
                       .timeouts = {.connect = timeout, .handshake = timeout, .response = timeout},
                       .user_agent = options.user_agent};
  session.may_dial = [ask = options.may_dial, host = uri.host](const IpAddress& address) {
    return ask ? ask(host, address) : may_dial(GuardOptions{}, host, address);
  };
  return session;
}

void Fetcher::State::start(const std::string& uri, const std::shared_ptr<Entry>& entry) {
  ++running;
  entry->channel = open_channel(io, *entry->uri, session_for(*entry->uri, entry->timeout));
  asio::co_spawn(io, run(shared_from_this(), uri, entry), asio::detached);
}

asio::awaitable<void> Fetcher::State::run(std::shared_ptr<State> state, std::string uri, std::shared_ptr<Entry> entry) {
  auto fetched = co_await fetch(entry->channel, entry->uri->target, entry->timeout);
  entry->channel.reset();
  --state->running;
  if (state->closed) co_return;
  if (entry->wanted) state->take(uri, *entry, std::move(fetched));
  state->pump();
}

void Fetcher::State::take(const std::string& uri, Entry& entry, Fetched fetched) {
  auto taken = fetched.text ? keep(uri, std::move(*fetched.text)) : std::unexpected(fetched.text.error());
  if (!taken) {
    ++counts.failed;
    entry.fail_with(taken.error().message);
    entry.due = steady_clock::now() + entry.backoff.next(fetched.retry_after);
    return;
  }
  ++counts.succeeded;
  entry.problem.clear();
  entry.backoff.reset();
  const auto early = static_cast<double>(options.refresh.count()) / 10 * k8s::random_fraction();
  entry.due = steady_clock::now() + options.refresh - milliseconds(static_cast<milliseconds::rep>(early));
}

Result<void> Fetcher::State::keep(const std::string& uri, std::string text) {
  auto& held = sets[uri];
  if (held == text) return {};
  std::size_t bytes = text.size();
  for (const auto& [other, set] : sets)
    if (other != uri) bytes += set.size();
  if (bytes > options.most_bytes) {
    if (held.empty()) sets.erase(uri);
    return fail("all key sets together are longer than " + std::to_string(options.most_bytes) + " bytes");
  }
  held = std::move(text);
  save();
  tell();
  return {};
}

void Fetcher::State::save() {
  if (options.file.empty()) return;
  // What nobody has asked for until now, nobody will.
  if (steady_clock::now() - began > options.refresh) remembered.clear();
  auto all = sets;
  all.insert(remembered.begin(), remembered.end());
  const auto saved = save_sets(options.file, all);
  file_problem = saved ? "" : saved.error().message;
}

void Fetcher::State::tell() {
  if (std::exchange(telling, true)) return;
  asio::post(io, [weak = weak_from_this()] {
    const auto state = weak.lock();
    if (!state || state->closed) return;
    state->telling = false;
    if (state->changed) state->changed();
  });
}

void Fetcher::State::close() {
  closed = true;
  timer.cancel();
  for (const auto& [uri, entry] : entries)
    if (entry->channel) entry->channel->close();
}

Fetcher::Fetcher(asio::io_context& io, FetcherOptions options, std::function<void()> changed)
    : state_(std::make_shared<State>(io, std::move(options), std::move(changed))) {
  state_->load();
}

Fetcher::~Fetcher() { state_->close(); }

void Fetcher::set_wanted(const std::set<Wanted>& wanted) { state_->set_wanted(wanted); }

const Sets& Fetcher::sets() const { return state_->sets; }

std::vector<SetStatus> Fetcher::status() const {
  std::vector<SetStatus> out;
  for (const auto& [uri, entry] : state_->entries)
    out.push_back({.uri = uri,
                   .has_keys = state_->sets.contains(uri),
                   .is_plain = entry->uri.has_value() && !entry->uri->tls,
                   .problem = entry->problem,
                   .since = entry->problem.empty() ? std::chrono::system_clock::time_point{} : entry->since});
  return out;
}

FetchCounts Fetcher::counts() const { return state_->counts; }

const std::string& Fetcher::file_problem() const { return state_->file_problem; }

}  // namespace underpass::jwks
