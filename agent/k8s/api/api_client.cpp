// SPDX-License-Identifier: Apache-2.0
// Single requests: each is a coroutine that borrows a channel from a small pool and gives it back.
#include "agent/k8s/api/api_client.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <set>
#include <utility>
#include <vector>

#include "agent/k8s/api/channel.h"
#include "agent/k8s/field.h"

namespace underpass::k8s {
namespace asio = boost::asio;
namespace json = boost::json;

namespace {

constexpr std::size_t kMaxAnswerBytes = std::size_t{8} << 20;
constexpr std::size_t kKept = 8;  // connections that wait for the next request
constexpr unsigned kOldestMinor = 30;

std::string text_of(const json::value& value, std::string_view key) {
  Findings ignored;
  return Field(value, ignored)[key].string().value_or("");
}

// What coroutines hold; the client closes it.
struct State {
  State(asio::io_context& context, Session made) : io(context), session(std::make_shared<Session>(std::move(made))) {}

  std::shared_ptr<Channel> borrow() {
    std::shared_ptr<Channel> channel;
    if (idle.empty()) {
      channel = std::make_shared<Channel>(io, session);
    } else {
      channel = std::move(idle.back());
      idle.pop_back();
    }
    busy.insert(channel);
    return channel;
  }

  void give_back(const std::shared_ptr<Channel>& channel) {
    busy.erase(channel);
    if (!session->closed && idle.size() < kKept) idle.push_back(channel);
  }

  asio::io_context& io;
  std::shared_ptr<Session> session;
  std::vector<std::shared_ptr<Channel>> idle;
  std::set<std::shared_ptr<Channel>> busy;
  std::string version;
};

Result<ApiAnswer> to_answer(const HttpHead& head, const std::string& body) {
  ApiAnswer answer{.status = head.status, .reason = {}, .body = nullptr, .retry_after = head.retry_after};
  boost::system::error_code error;
  if (!body.empty()) answer.body = json::parse(body, error);
  if (error || (head.status >= 300 && head.status < 400)) return fail(answer_problem(head, body));
  answer.reason = text_of(answer.body, "reason");
  return answer;
}

asio::awaitable<Result<ApiAnswer>> converse(std::shared_ptr<Channel> channel, ChannelRequest request) {
  const auto what = request.method + " " + request.target;
  const auto deadline = request.deadline;
  const auto head = co_await channel->begin(std::move(request));
  if (!head) co_return fail_in(what, head.error());
  const auto body = co_await channel->rest(deadline);
  if (!body) co_return fail_in(what, body.error());
  auto answer = to_answer(*head, *body);
  if (!answer) co_return fail(channel->server() + ": " + what + ": " + answer.error().message);
  co_return answer;
}

asio::awaitable<void> serve(std::shared_ptr<State> state, ChannelRequest request, ApiClient::Done done) {
  co_await asio::post(asio::use_awaitable);  // never from within request()
  if (state->session->closed) co_return;
  const bool asks_version = request.target == "/version";
  const auto channel = state->borrow();
  auto answer = co_await converse(channel, std::move(request));
  state->give_back(channel);
  if (state->session->closed) co_return;
  if (asks_version && answer && answer->status == 200) state->version = text_of(answer->body, "gitVersion");
  done(std::move(answer));
}

class HttpApiClient : public ApiClient {
 public:
  explicit HttpApiClient(std::shared_ptr<State> state) : state_(std::move(state)) {}

  ~HttpApiClient() override {
    state_->session->closed = true;
    for (const auto& channel : state_->busy) channel->close();
    state_->idle.clear();
  }
  HttpApiClient(const HttpApiClient&) = delete;
  HttpApiClient& operator=(const HttpApiClient&) = delete;

  [[nodiscard]] std::string server() const override { return state_->session->config.server; }
  [[nodiscard]] std::string version() const override { return state_->version; }

  void request(const std::string& method, const std::string& path, const json::value& body, Done done) override {
    ChannelRequest request{
        .method = method == "APPLY" ? "PATCH" : method, .target = path, .body = {}, .content_type = {}, .deadline = {}};
    if (!body.is_null()) {
      request.body = json::serialize(body);
      request.content_type = method == "PATCH"   ? "application/merge-patch+json"
                             : method == "APPLY" ? "application/apply-patch+yaml"
                                                 : "application/json";
    }
    request.deadline = std::chrono::steady_clock::now() + state_->session->timeouts.request;
    request.most = kMaxAnswerBytes;
    asio::co_spawn(state_->io, serve(state_, std::move(request), std::move(done)), asio::detached);
  }

  std::shared_ptr<Channel> open_channel() override { return std::make_shared<Channel>(state_->io, state_->session); }

 private:
  std::shared_ptr<State> state_;
};

}  // namespace

std::string describe(const ApiAnswer& answer) {
  const auto message = text_of(answer.body, "message");
  return std::to_string(answer.status) + " " + answer.reason + (message.empty() ? "" : ": " + message);
}

Result<std::unique_ptr<ApiClient>> ApiClient::open(asio::io_context& io, const ApiOptions& options) {
  auto config = load_api_config(options);
  if (!config) return std::unexpected(config.error());
  TokenSource token(config->token, config->token_file);
  // What is wrong with files now is said now; later they may change.
  if (auto first = token.get(); !first) return std::unexpected(first.error());
  const auto session = Session{.config = std::move(*config),
                               .token = std::move(token),
                               .timeouts = options.timeouts,
                               .user_agent = options.user_agent};
  auto state = std::make_shared<State>(io, session);
  if (auto wire = make_wire(io, state->session); !wire) return std::unexpected(wire.error());
  return std::make_unique<HttpApiClient>(std::move(state));
}

std::optional<std::string> version_warning(const std::string& version) {
  unsigned major = 0;
  unsigned minor = 0;
  const char* end = version.data() + version.size();
  const char* at = version.data() + (version.starts_with('v') ? 1 : 0);
  const auto first = std::from_chars(at, end, major);
  if (first.ec != std::errc{} || first.ptr == end || *first.ptr != '.' ||
      std::from_chars(first.ptr + 1, end, minor).ec != std::errc{}) {
    return "the API server's version " + show(version) + " says nothing: Kubernetes 1.30 or newer is needed";
  }
  if (major > 1 || minor >= kOldestMinor) return std::nullopt;
  return "the API server is " + version + ": Kubernetes 1.30 or newer is needed";
}

}  // namespace underpass::k8s
