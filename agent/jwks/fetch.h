// SPDX-License-Identifier: Apache-2.0
// One fetch of one key set, on a connection of its own, within a time and a size.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "agent/jwks/uri.h"
#include "agent/k8s/api/channel.h"
#include "underpass/result.h"

namespace underpass::jwks {

struct Fetched {
  Result<std::string> text;
  std::optional<std::chrono::seconds> retry_after;  // the server asks for it
};

// A channel to the URI's host; `session` has what the fetcher asks of it besides.
std::shared_ptr<k8s::Channel> open_channel(boost::asio::io_context& io, const Uri& uri, k8s::Session session);

// The set, or why there is none. Whoever closes the channel ends it.
boost::asio::awaitable<Fetched> fetch(std::shared_ptr<k8s::Channel> channel, std::string target,
                                      std::chrono::milliseconds timeout);

}  // namespace underpass::jwks
