// SPDX-License-Identifier: Apache-2.0
#include "agent/jwks/fetch.h"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <utility>

#include "agent/jwks/key_set_text.h"

namespace underpass::jwks {
namespace asio = boost::asio;

namespace {

std::string status_problem(const k8s::HttpHead& head) {
  auto text = std::to_string(head.status) + (head.status_text.empty() ? "" : " " + head.status_text.substr(0, 64));
  return head.status >= 300 && head.status < 400 ? text + ", which is not followed" : text;
}

asio::awaitable<Fetched> converse(std::shared_ptr<k8s::Channel> channel, k8s::ChannelRequest request) {
  const auto deadline = request.deadline;
  const auto head = co_await channel->begin(std::move(request));
  if (!head) co_return Fetched{.text = std::unexpected(head.error()), .retry_after = {}};
  if (head->status != 200) co_return Fetched{.text = fail(status_problem(*head)), .retry_after = head->retry_after};
  auto text = co_await channel->rest(deadline);
  if (text) {
    if (const auto good = check_key_set(*text); !good) text = std::unexpected(good.error());
  }
  co_return Fetched{.text = std::move(text), .retry_after = {}};
}

}  // namespace

std::shared_ptr<k8s::Channel> open_channel(asio::io_context& io, const Uri& uri, k8s::Session session) {
  auto& config = session.config;
  config.server = (uri.tls ? "https://" : "http://") + uri.host + ":" + uri.port;
  config.tls = uri.tls;
  config.host = config.server_name = uri.host;
  config.port = uri.port;
  session.takes_http10 = true;
  return std::make_shared<k8s::Channel>(io, std::make_shared<k8s::Session>(std::move(session)));
}

asio::awaitable<Fetched> fetch(std::shared_ptr<k8s::Channel> channel, std::string target,
                               std::chrono::milliseconds timeout) {
  k8s::ChannelRequest request{
      .target = std::move(target), .accept = "application/json, */*;q=0.5", .body = {}, .content_type = {}};
  request.deadline = std::chrono::steady_clock::now() + timeout;
  request.most = kMaxSetBytes;
  // Each step has a deadline of its own, which a name with many addresses adds up.
  asio::steady_timer whole(co_await asio::this_coro::executor, request.deadline);
  const auto late = std::make_shared<bool>(false);
  whole.async_wait([channel, late](const boost::system::error_code& error) {
    if (error) return;
    *late = true;
    channel->close();
  });
  auto fetched = co_await converse(channel, std::move(request));
  if (*late) fetched.text = fail("no key set within " + std::to_string(timeout.count()) + " ms");
  channel->close();
  co_return fetched;
}

}  // namespace underpass::jwks
