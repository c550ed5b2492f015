// SPDX-License-Identifier: Apache-2.0
// What plain and TLS wires have in common: to find the server and to connect to it.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <memory>

#include "agent/k8s/api/session.h"
#include "underpass/result.h"

namespace underpass::k8s {

// Tries the server's addresses one after another. An address is used as it is; a name is looked up as long as the C
// library takes for it. `stream` and `closed`, which says that nobody wants it any more, outlive the call.
boost::asio::awaitable<Result<void>> dial(boost::beast::tcp_stream* stream, const bool* closed,
                                          std::shared_ptr<Session> session);

// "deadline exceeded" for a timeout of Beast's.
std::string wire_cause(const boost::system::error_code& error);

// Nothing to read on a socket at this moment, its end neither.
bool has_nothing_to_read(int fd);

}  // namespace underpass::k8s
