// SPDX-License-Identifier: Apache-2.0
// Requests one after another on one connection to the API server, which is kept between them, and answers read piece by
// piece. Credentials are put in here. For one coroutine; close() may be called by others.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "agent/k8s/api/http_reader.h"
#include "agent/k8s/api/inflate.h"
#include "agent/k8s/api/session.h"
#include "agent/k8s/api/wire.h"
#include "underpass/result.h"

namespace underpass::k8s {

struct ChannelRequest {
  std::string method = "GET";
  std::string target;  // path and query
  std::string accept = "application/json";
  std::string body;          // with its type; empty: none
  std::string content_type;  // of the body
  SteadyTime deadline;       // for the answer's head
  std::size_t most = 0;      // bytes that the body may come to; 0: any number
};

class Channel {
 public:
  Channel(boost::asio::io_context& io, std::shared_ptr<Session> session);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // Connects where there is no connection, sends, and waits for the answer's head. What is left of the answer before is
  // thrown away, with its connection. A token that is not taken is read again and tried once more.
  boost::asio::awaitable<Result<HttpHead>> begin(ChannelRequest request);
  // A piece of the body, decoded, good until the next call; empty: that was all.
  boost::asio::awaitable<Result<std::string_view>> next(SteadyTime deadline);
  // All that is left of it.
  boost::asio::awaitable<Result<std::string>> rest(SteadyTime deadline);

  // For good: what is waited for ends, and all that comes after fails.
  void close();
  [[nodiscard]] const std::string& server() const { return session_->config.server; }
  [[nodiscard]] const ApiTimeouts& timeouts() const { return session_->timeouts; }

 private:
  boost::asio::awaitable<Result<void>> connect();
  boost::asio::awaitable<Result<HttpHead>> exchange(std::shared_ptr<const ChannelRequest> request);
  boost::asio::awaitable<Result<void>> send_and_wait(std::shared_ptr<const ChannelRequest> request);
  boost::asio::awaitable<Result<void>> receive(SteadyTime deadline);
  Result<std::string> request_text(const ChannelRequest& request);
  Result<bool> take_piece();
  void hang_up();
  [[nodiscard]] std::unexpected<Error> broken(const Error& error);

  boost::asio::io_context& io_;
  std::shared_ptr<Session> session_;
  std::unique_ptr<Wire> wire_;  // null: not connected
  std::unique_ptr<HttpReader> answer_;
  std::unique_ptr<Inflater> inflater_;  // of an answer that is packed
  std::string buffer_;                  // for the wire
  std::string piece_;
  std::optional<Error> failed_;  // what ended the answer
  std::size_t most_ = 0;
  std::size_t given_ = 0;
  bool closed_ = false;
};

// "403 Forbidden: pods is forbidden: …" from the head and the body of an answer other than 2xx.
std::string answer_problem(const HttpHead& head, std::string_view body);

}  // namespace underpass::k8s
