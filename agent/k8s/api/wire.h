// SPDX-License-Identifier: Apache-2.0
// A TCP connection to the API server, plain or TLS, as bytes in and out. Every wait has a deadline; a peer that is
// silent because it is gone is noticed by the kernel (keep-alive probes, TCP_USER_TIMEOUT). For one coroutine; close()
// may be called by others and ends what it waits for.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string_view>

#include "agent/k8s/api/session.h"
#include "underpass/result.h"

namespace underpass::k8s {

using SteadyTime = std::chrono::steady_clock::time_point;

class Wire {
 public:
  Wire() = default;
  virtual ~Wire() = default;
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  virtual boost::asio::awaitable<Result<void>> connect() = 0;
  // `text` outlives the call.
  virtual boost::asio::awaitable<Result<void>> write(std::string_view text, SteadyTime deadline) = 0;
  // Some bytes; 0: the peer has closed.
  virtual boost::asio::awaitable<Result<std::size_t>> read(boost::asio::mutable_buffer into, SteadyTime deadline) = 0;
  // The peer has neither closed nor sent anything that nobody asked for.
  [[nodiscard]] virtual bool quiet() = 0;
  virtual void close() = 0;
};

// Verified and pinned as the session's configuration says; certificates and CA are read now.
Result<std::unique_ptr<Wire>> make_wire(boost::asio::io_context& io, const std::shared_ptr<Session>& session);
Result<std::unique_ptr<Wire>> make_tls_wire(boost::asio::io_context& io, const std::shared_ptr<Session>& session);

}  // namespace underpass::k8s
