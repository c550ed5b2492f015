// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/api/reflector.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/value.hpp>
#include <utility>

#include "agent/k8s/field.h"

namespace underpass::k8s {
namespace asio = boost::asio;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

namespace {

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kMaxPageBytes = std::size_t{4} << 30;  // unpacked; an object has a limit of its own
constexpr seconds kLived(5);                                 // a watch that lasted so long was a good one
constexpr seconds kTooShort(1);
constexpr std::string_view kJson = "application/json";
constexpr std::string_view kMetadata = "as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
constexpr std::string_view kMetadataList = "as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

constexpr unsigned kOk = 200, kUnauthorized = 401, kForbidden = 403, kNotFound = 404, kGone = 410;

milliseconds random_time(seconds least, seconds most) {
  const auto span = static_cast<double>(std::chrono::milliseconds(most - least).count());
  return least + milliseconds(static_cast<milliseconds::rep>(span * random_fraction()));
}

}  // namespace

// A list while it is read.
struct Reflector::Page {
  explicit Page(Replica& replica)
      : reader([this, &replica](Received&& received) {
          const auto taken = replica.list(std::move(received));
          if (!taken && problem.empty()) problem = taken.error().message;
        }) {}
  std::string problem;  // of an object in it
  ListReader reader;
  ListEnvelope envelope;
};

// A watch while it is read.
struct Reflector::Watched {
  bool gone = false;
  std::optional<Failure> failure;
  std::unique_ptr<WatchReader> reader;
};

Reflector::Reflector(asio::io_context& io, std::shared_ptr<Channel> channel, ApiKind kind, ApiTuning tuning,
                     Hooks hooks)
    : io_(io),
      channel_(std::move(channel)),
      kind_(std::move(kind)),
      tuning_(tuning),
      hooks_(std::move(hooks)),
      replica_(hooks_.decode,
               [this](const std::string& path, const std::shared_ptr<const File>& file) {
                 if (!stopped_) hooks_.changed(path, file);
               }),
      backoff_(tuning.backoff),
      timer_(io) {}

void Reflector::start() {
  stale_ = Clock::now();
  asio::co_spawn(io_, run(shared_from_this()), asio::detached);
}

void Reflector::stop() {
  stopped_ = true;
  channel_->close();
  timer_.cancel();
}

void Reflector::wake() {
  woken_ = true;
  timer_.cancel();
}

KindState Reflector::state() const {
  KindState state{.kind = kind_.kind,
                  .path = absent_ ? "" : path(version_.empty() ? kind_.versions.front() : version_),
                  .synced = synced_,
                  .objects = replica_.size(),
                  .lists = lists_,
                  .watches = watches_,
                  .events = events_,
                  .stale_since = std::nullopt,
                  .problem = problem_};
  if (stale_) {
    const auto since = std::chrono::system_clock::now() - (Clock::now() - *stale_);
    state.stale_since = std::chrono::time_point_cast<std::chrono::system_clock::duration>(since);
  }
  return state;
}

std::string Reflector::path(const std::string& version) const { return api_path(kind_, version, kind_.ns, ""); }

std::string Reflector::selector() const {
  return kind_.field_selector.empty() ? "" : "&fieldSelector=" + percent_encode(kind_.field_selector);
}

void Reflector::fresh() {
  const bool news = stale_ || !problem_.empty() || absent_;
  stale_.reset();
  problem_.clear();
  absent_ = false;
  forbidden_ = false;
  if (news && !stopped_) hooks_.state_changed();
}

void Reflector::stale() {
  if (!stale_) stale_ = Clock::now();
}

void Reflector::fail_with(const Failure& failure) {
  stale();
  problem_ = failure.problem;
  forbidden_ = failure.status == kForbidden;
  hooks_.state_changed();
}

asio::awaitable<void> Reflector::sleep(milliseconds time) {
  if (!std::exchange(woken_, false)) {
    timer_.expires_after(time);
    co_await timer_.async_wait(kNoThrow);
    woken_ = false;
  }
}

asio::awaitable<void> Reflector::run(std::shared_ptr<Reflector> self) {
  while (!self->stopped_) {
    const bool lists = self->replica_.position().empty();
    const auto failure = lists ? co_await self->list() : co_await self->watch();
    if (self->stopped_) break;
    if (!failure) continue;
    if (failure->status == kNotFound && self->give_up()) {
      // The definition's arrival wakes it; where that may not be watched, it has to ask.
      const bool told = self->hooks_.defined() == Defined::kNo;
      co_await self->sleep(told ? self->tuning_.absent_poll * 10 : self->tuning_.absent_poll);
      continue;
    }
    self->fail_with(*failure);
    co_await self->sleep(self->backoff_.next(failure->retry_after));
  }
}

bool Reflector::give_up() {
  if (kind_.crd.empty()) return false;
  const auto defined = hooks_.defined();
  if (defined != Defined::kNo && (defined != Defined::kMayNotAsk || listed_before_)) return false;
  const bool news = !absent_ || !synced_;
  replica_.clear();
  fresh();
  absent_ = true;
  synced_ = true;
  if (news) hooks_.state_changed();
  return true;
}

// Sends a request; an answer other than 200 is a failure.
asio::awaitable<Reflector::Outcome> Reflector::begin(std::string target, std::string_view verb) {
  ChannelRequest request{.target = std::move(target), .body = {}, .content_type = {}, .deadline = {}};
  if (kind_.metadata_only) {
    const auto as = verb == "list" ? kMetadataList : kMetadata;
    request.accept = std::string(kJson) + ";" + std::string(as) + ", " + std::string(kJson);
  }
  request.deadline = Clock::now() + channel_->timeouts().response;
  request.most = kMaxPageBytes;
  const auto deadline = request.deadline;
  const auto prefix = std::string(verb) + ": ";
  const auto head = co_await channel_->begin(std::move(request));
  if (!head) co_return Failure{prefix + head.error().message};
  if (head->status == kOk && head->content_type == kJson) co_return std::nullopt;
  std::string body;
  while (body.size() < (1U << 16)) {
    const auto piece = co_await channel_->next(deadline);
    if (!piece || piece->empty()) break;
    body += *piece;
  }
  co_return Failure{prefix + problem_of(*head, body, verb), head->retry_after, head->status};
}

std::string Reflector::problem_of(const HttpHead& head, std::string_view body, std::string_view verb) const {
  const auto text = answer_problem(head, body);
  if (head.status == kOk) {
    return "not an API server's answer: its type is " + show(head.content_type) + ", not application/json";
  }
  if (head.status == kUnauthorized) return text + ": the API server does not accept our credentials";
  if (head.status != kForbidden) return text;
  return text + ": we need the right to " + std::string(verb) + " " + kind_.plural +
         (kind_.group.empty() ? "" : "." + kind_.group) + (kind_.ns.empty() ? "" : " in namespace " + kind_.ns);
}

asio::awaitable<Reflector::Outcome> Reflector::list() {
  Outcome outcome;
  for (const auto& version : kind_.versions) {
    outcome = co_await list_version(version);
    if (stopped_ || !outcome || outcome->status != kNotFound) break;
  }
  if (!outcome || outcome->status != kNotFound || kind_.crd.empty()) co_return outcome;
  outcome->problem += " (it is not served, or not yet)";
  co_return outcome;
}

asio::awaitable<Reflector::Outcome> Reflector::list_version(std::string version) {
  const std::string oldest = listed_before_ ? "" : "&resourceVersion=0";
  auto limit = tuning_.page;
  std::string more;
  ++lists_;
  replica_.begin_list();
  for (;;) {
    const auto page = std::make_shared<Page>(replica_);
    auto target = path(version) + "?limit=" + std::to_string(limit) + selector();
    target += more.empty() ? oldest : "&continue=" + percent_encode(more);
    auto failure = co_await read_page(std::move(target), page);
    if (stopped_) co_return Failure{"stopped"};
    if (failure && failure->status == kGone && !more.empty() && limit != 0) {
      // The list took longer than the server keeps its state: once more, in one piece, as client-go's pager does.
      more.clear();
      limit = 0;
      replica_.begin_list();
      continue;
    }
    if (failure) {
      replica_.drop_list();
      co_return failure;
    }
    const auto next = page->envelope.continue_token;
    if (!next.empty() && next == more) {
      replica_.drop_list();
      co_return Failure{"list: " + channel_->server() + ": two pages that go on at the same place"};
    }
    more = next;
    if (!more.empty()) continue;
    replica_.end_list(page->envelope.resource_version);
    version_ = version;
    listed_before_ = synced_ = true;
    fresh();
    co_return std::nullopt;
  }
}

asio::awaitable<Reflector::Outcome> Reflector::read_page(std::string target, std::shared_ptr<Page> page) {
  if (auto failure = co_await begin(std::move(target), "list")) co_return failure;
  for (;;) {
    const auto piece = co_await channel_->next(Clock::now() + channel_->timeouts().response);
    if (stopped_) co_return Failure{"stopped"};
    if (!piece) co_return Failure{"list: " + piece.error().message};
    if (piece->empty()) break;
    const auto fed = page->reader.feed(*piece);
    if (!fed) co_return Failure{"list: " + channel_->server() + ": " + fed.error().message};
    if (!page->problem.empty()) co_return Failure{"list: " + channel_->server() + ": " + page->problem};
  }
  auto envelope = page->reader.finish();
  if (!envelope) co_return Failure{"list: " + channel_->server() + ": " + envelope.error().message};
  const bool ours =
      envelope->kind == kind_.kind + "List" || (kind_.metadata_only && envelope->kind == "PartialObjectMetadataList");
  if (!ours) {
    co_return Failure{"list: " + channel_->server() + ": a " + show(envelope->kind) + ", not a list of " +
                      kind_.plural};
  }
  page->envelope = std::move(*envelope);
  co_return std::nullopt;
}

asio::awaitable<Reflector::Outcome> Reflector::watch() {
  const auto time = random_time(tuning_.watch_least, tuning_.watch_most);
  const auto from = replica_.position();
  ++watches_;
  auto target =
      path(version_) + "?watch=1&allowWatchBookmarks=true&resourceVersion=" + percent_encode(from) +
      "&timeoutSeconds=" + std::to_string(std::max<seconds::rep>(1, std::chrono::ceil<seconds>(time).count())) +
      selector();
  auto failure = co_await begin(std::move(target), "watch");
  const auto begun = Clock::now();
  if (stopped_) co_return Failure{"stopped"};
  if (!failure) {
    fresh();
    const auto watched = std::make_shared<Watched>();
    failure = co_await read_events(watched, begun + time + tuning_.watch_grace);
    if (stopped_) co_return Failure{"stopped"};
  }
  stale();
  if (failure && needs_list(*failure)) replica_.forget_position();
  const auto lived = Clock::now() - begun;
  const bool moved = !replica_.position().empty() && replica_.position() != from;
  if (lived >= kLived || moved) backoff_.reset();
  if (!failure && lived < kTooShort && !moved) co_return Failure{"watch: the server ended it at once"};
  co_return failure;
}

asio::awaitable<Reflector::Outcome> Reflector::read_events(std::shared_ptr<Watched> watched, SteadyTime deadline) {
  watched->reader =
      std::make_unique<WatchReader>([this, &watched = *watched](std::string_view type, Received&& received) {
        take_event(watched, type, std::move(received));
      });
  for (;;) {
    const auto silent = Clock::now() + tuning_.watch_silence;
    const auto piece = co_await channel_->next(std::min(deadline, silent));
    if (stopped_) co_return Failure{"stopped"};
    if (!piece && Clock::now() >= silent) co_return std::nullopt;  // whether it hangs the next one shows
    if (!piece) co_return Failure{"watch: " + piece.error().message};
    if (piece->empty()) co_return std::nullopt;
    const auto fed = watched->reader->feed(*piece);
    if (watched->failure) co_return watched->failure;
    if (!fed) co_return unreadable(fed.error());
  }
}

bool Reflector::needs_list(const Failure& failure) {
  // The last one is of a server that is behind the one we had, or whose etcd was restored (client-go relists, too).
  return failure.status == kGone || failure.status == kNotFound || failure.unreadable ||
         failure.problem.contains("Too large resource version");
}

Reflector::Failure Reflector::unreadable(const Error& error) const {
  return {.problem = "watch: " + channel_->server() + ": " + error.message, .unreadable = true};
}

void Reflector::take_event(Watched& watched, std::string_view type, Received&& received) {
  if (watched.failure) return;
  ++events_;
  if (type == "BOOKMARK") return replica_.bookmark(received.resource_version);
  if (type == "ERROR") {
    Findings ignored;
    const Field status(received.object, ignored);
    const auto code = status["code"].integer(0, 999).value_or(0);
    const auto reason = status["reason"].string().value_or("");
    const auto seconds_asked = status["details"]["retryAfterSeconds"].integer(0, 86'400);
    watched.failure = Failure{"watch: " + channel_->server() + ": " + std::to_string(code) + " " + reason + ": " +
                                  status["message"].string().value_or("").substr(0, 1024),
                              {},
                              reason == "Expired" || reason == "Gone" ? kGone : code};
    if (seconds_asked) watched.failure->retry_after = seconds(*seconds_asked);
    return;
  }
  if (auto taken = replica_.event(type, std::move(received)); !taken) {
    watched.failure = unreadable(taken.error());
  }
}

}  // namespace underpass::k8s
