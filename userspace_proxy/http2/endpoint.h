// SPDX-License-Identifier: Apache-2.0
// http::Codec by a Connection, for both ends.
#pragma once

#include <string_view>
#include <utility>

#include "userspace_proxy/http2/connection.h"

namespace underpass::http2 {

template <typename Interface>
class Endpoint : public Interface, protected Connection {
 public:
  using Connection::Connection;

  std::size_t receive(std::string_view bytes) final {
    take(bytes);
    return bytes.size();
  }
  void receive_end() final { take_end(); }
  [[nodiscard]] bool wants_input() const final { return wants_more(); }
  [[nodiscard]] std::string_view output() final { return give(); }
  void sent(std::size_t bytes) final { given(bytes); }
  [[nodiscard]] bool is_over() const final { return is_finished(); }
  void send_data(http::StreamId stream, std::string_view bytes) final { append_data(stream, bytes); }
  void send_end(http::StreamId stream, const http::Fields* trailers) final { append_end(stream, trailers); }
  void reset(http::StreamId stream, http::Fault why) final {
    say_before_reset();
    give_up(stream, why);
  }
  [[nodiscard]] std::size_t buffered(http::StreamId stream) const final { return waiting(stream); }
  void consume(http::StreamId stream, std::size_t bytes) final { hand_back(stream, bytes); }
  void ping() final { say_ping(); }
  [[nodiscard]] std::size_t open_streams() const final { return count(); }
};

}  // namespace underpass::http2
