// SPDX-License-Identifier: Apache-2.0
// One end of an HBONE connection, either one: HTTP/2 (RFC 9113) by nghttp2's session over TLS by OpenSSL, tunnels by
// CONNECT (RFC 9113, 8.5), windows and headers as Istio's ztunnel has them
// (https://github.com/istio/ztunnel/blob/master/ARCHITECTURE.md). It shares no code with what it tests.
//
// Nothing happens on the wire but inside turn_until(), on the caller's thread.
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
#include "test/support/tls_end.h"

namespace underpass::test {

inline constexpr std::uint16_t kHbonePort = 15008;

class HboneWire {
 public:
  struct Stream {
    Head head;          // the other end's
    std::string bytes;  // that came and were not taken
    std::uint64_t came = 0;
    bool ended = false;                  // END_STREAM came
    std::optional<std::uint32_t> reset;  // RST_STREAM came, or nghttp2 refused the stream with this code
    bool closed = false;
  };

  // The handshake is over when this returns; throws when it failed. `greets`: sends the preface and SETTINGS.
  HboneWire(UniqueFd fd, TlsEnd::Role role, const TlsManners& manners, bool greets = true);
  HboneWire(const HboneWire&) = delete;
  HboneWire& operator=(const HboneWire&) = delete;

  // A request, good or bad; its number. `end`: nothing follows.
  std::int32_t ask(const Head& head, bool end = false);
  void answer(std::int32_t stream, const Head& head, bool end = false);
  void send(std::int32_t stream, std::string_view bytes, bool end = false);
  void reset(std::int32_t stream, std::uint32_t code);
  void go_away();
  void ping();
  // Bytes inside TLS that no nghttp2 wrote.
  void send_raw(std::string_view bytes) { unsent_ += bytes; }

  // What a peer does that stalls: takes nothing from the socket; or takes it, and never opens a window again.
  void read_no_more() { reads_ = false; }
  void open_no_window() { opens_windows_ = false; }
  void read_again();

  // Moves bytes until then; false: it never was, or the connection has ended before.
  bool turn_until(const std::function<bool()>& done, milliseconds deadline = seconds(10));
  // Takes exactly so many bytes of the stream; throws with what came instead.
  std::string receive(std::int32_t stream, std::size_t count, milliseconds deadline = seconds(20));

  // Of a server, from within turn_until().
  std::function<void(std::int32_t)> on_head;
  std::function<void(std::int32_t, std::string_view)> on_bytes;
  std::function<void(std::int32_t)> on_end;
  std::function<void(std::int32_t)> on_close;

  std::map<std::int32_t, Stream> streams;
  bool has_ended = false;       // the connection
  bool was_told_to_go = false;  // GOAWAY came
  std::uint32_t go_away_code = 0;
  std::size_t pings = 0;  // acknowledged

  [[nodiscard]] const TlsEnd& tls() const { return tls_; }
  // What the other end's SETTINGS say, such as NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.
  [[nodiscard]] std::uint32_t peer_setting(nghttp2_settings_id id) const {
    return nghttp2_session_get_remote_settings(session_.get(), id);
  }
  [[nodiscard]] std::size_t unsent(std::int32_t stream) { return out_[stream].bytes.size(); }

 private:
  struct Out {
    std::string bytes;
    bool ended = false;
  };
  struct Callbacks;

  void move();
  void read();
  [[nodiscard]] bool write();

  TlsEnd tls_;
  std::unique_ptr<nghttp2_session, void (*)(nghttp2_session*)> session_;
  std::map<std::int32_t, Out> out_;
  std::string unsent_;
  bool reads_ = true;
  bool opens_windows_ = true;
};

}  // namespace underpass::test
