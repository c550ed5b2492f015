// SPDX-License-Identifier: Apache-2.0
// HTTP/2 on a socket, from either end, by nghttp2 itself: it shares no code with what it tests. What comes is kept by
// stream; what is sent waits until turn_until() moves it.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "test/support/h2_head.h"
#include "test/support/sockets.h"

namespace underpass::test {

class H2Wire {
 public:
  enum class Role : std::uint8_t { kClient, kServer };
  using Head = test::Head;
  using Settings = std::vector<nghttp2_settings_entry>;

  struct Stream {
    std::vector<Head> heads;  // interim ones first
    std::string body;
    Head trailers;
    bool ended = false;                  // END_STREAM came
    std::optional<std::uint32_t> reset;  // RST_STREAM came

    // A field of the last head, or of the trailers; empty: none.
    [[nodiscard]] std::string field(std::string_view name) const;
    [[nodiscard]] std::string trailer(std::string_view name) const;
    [[nodiscard]] std::string status() const { return field(":status"); }
  };

  H2Wire(UniqueFd fd, Role role, const Settings& settings = {});
  H2Wire(const Place& client, const Place& server, std::uint16_t port);
  ~H2Wire();
  H2Wire(const H2Wire&) = delete;
  H2Wire& operator=(const H2Wire&) = delete;

  std::int32_t ask(const Head& head, bool end = true);
  void interim(std::int32_t stream, const Head& head);
  void answer(std::int32_t stream, const Head& head, bool end = true);
  void send(std::int32_t stream, std::string_view bytes, bool end = false);
  void end(std::int32_t stream, const Head& trailers = {});
  // Once what was sent before is out.
  void reset(std::int32_t stream, std::uint32_t code) { resets_.emplace_back(stream, code); }

  // Moves bytes until then; false: it never was, or the connection has ended before.
  bool turn_until(const std::function<bool()>& done, milliseconds deadline = seconds(10));
  // Of a client: the stream is over.
  const Stream& whole(std::int32_t stream);

  // Events of a server, from within turn_until(); the stream's head is the last of its heads.
  std::function<void(std::int32_t)> on_head;
  std::function<void(std::int32_t, std::string_view)> on_body;
  std::function<void(std::int32_t)> on_end;
  std::function<void(std::int32_t)> on_reset;

  std::map<std::int32_t, Stream> streams;
  bool has_ended = false;  // the connection

 private:
  struct Out {
    std::string bytes;
    bool ended = false;
    Head trailers;
  };
  struct Callbacks;

  [[nodiscard]] nghttp2_data_provider body_of(std::int32_t stream);
  void move();
  [[nodiscard]] bool write();
  [[nodiscard]] bool write_all();

  UniqueFd fd_;
  std::unique_ptr<nghttp2_session, void (*)(nghttp2_session*)> session_;
  std::map<std::int32_t, Out> out_;
  std::map<std::int32_t, Head> coming_;
  std::vector<std::pair<std::int32_t, std::uint32_t>> resets_;
  std::string unsent_;
};

}  // namespace underpass::test
