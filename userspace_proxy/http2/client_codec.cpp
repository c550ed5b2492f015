// SPDX-License-Identifier: Apache-2.0
// The client's end: how many requests the server takes, and which of them it never saw.
#include <algorithm>
#include <utility>
#include <vector>

#include "userspace_proxy/http/upgrade.h"
#include "userspace_proxy/http2/codecs.h"
#include "userspace_proxy/http2/endpoint.h"

namespace underpass::http2 {
namespace {

constexpr double kInterimCost = 10;  // more than what a head earns

class Client final : public Endpoint<http::ClientCodec> {
 public:
  Client(const http::Limits& limits, http::ClientEvents& events, Clock clock)
      : Endpoint(Side::kClient, limits, events, std::move(clock)), events_(events) {}

  [[nodiscard]] bool can_send() const override {
    const auto allowed = nghttp2_session_get_remote_settings(session(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return !is_finished() && !leaving_ && count() < std::min(allowed, limits().max_streams) &&
           nghttp2_session_check_request_allowed(session()) != 0;
  }

  [[nodiscard]] bool takes_upgrades() const override {
    return !has_settings_ ||
           nghttp2_session_get_remote_settings(session(), NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
  }

  // The server's SETTINGS say whether an upgrade may be asked for. Until they are here it is held, and what comes after
  // it, since numbers of streams only grow.
  http::StreamId send_request(const http::Request& request) override {
    const bool is_upgrade = !request.protocol.empty();
    if (is_upgrade && (!takes_upgrades() || !is_answerable(request))) return 0;
    const auto id = static_cast<http::StreamId>(nghttp2_session_get_next_stream_id(session())) +
                    2 * static_cast<http::StreamId>(held_.size());
    auto& stream = open(id);
    stream.is_head = request.method == "HEAD";
    stream.is_tunnel = request.is_tunnel();
    stream.ended = !request.has_body && !stream.is_tunnel;
    stream.is_upgrade = is_upgrade && !request.is_connect();
    if (stream.is_upgrade) stream.websocket_key = request.fields.find(kKey).value_or("");
    stream.is_held = !held_.empty() || (is_upgrade && !has_settings_);
    if (stream.is_held)
      held_.emplace_back(id, request);
    else
      submit(stream, request);
    had_room_ = can_send();
    return id;
  }

  [[nodiscard]] bool is_unseen(http::StreamId stream) const override {
    return stream > last_seen_ || stream > last_request_sent() || stream == refused_;
  }

  void shut_down() override {
    if (std::exchange(leaving_, true) || has_failed()) return;
    nghttp2_submit_goaway(session(), NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, nullptr, 0);
  }

 private:
  static constexpr std::string_view kKey = "sec-websocket-key";

  // A WebSocket of HTTP/1.1 waits for what only its key can be answered with.
  static bool is_answerable(const http::Request& request) {
    if (request.is_connect() || request.protocol != "websocket") return true;
    return http::is_websocket_key(request.fields.find(kKey).value_or(""));
  }

  void submit(Stream& stream, const http::Request& request) {
    const auto list = writer().request(request);
    const bool has_body = request.has_body || stream.is_tunnel;
    const auto body = body_of(stream);
    if (nghttp2_submit_request(session(), nullptr, list.data(), list.size(), has_body ? &body : nullptr, nullptr) < 0)
      drop(stream, http::Fault::kRefused);
  }

  void submit_held() {
    for (const auto& [id, request] : std::exchange(held_, {})) {
      auto* stream = find(id);
      if (stream != nullptr && !request.protocol.empty() && !takes_upgrades())
        drop(*std::exchange(stream, nullptr), http::Fault::kNotImplemented);
      if (stream == nullptr) {
        forget(id);
        continue;
      }
      stream->is_held = false;
      nghttp2_session_set_next_stream_id(session(), static_cast<std::int32_t>(id));
      submit(*stream, request);
    }
  }

  // RFC 8441 §5: what is 200 here is 101 in HTTP/1.1.
  static void answer_upgrade(const Stream& stream, http::Response& response) {
    response.status = 101;
    response.content_length.reset();
    if (!stream.websocket_key.empty())
      response.fields.set("sec-websocket-accept", http::websocket_accept(stream.websocket_key));
  }

  void read_field(Stream& stream, http::Field field) override { stream.reader.add(stream.response, field, limits()); }

  void on_head(Stream& stream) override {
    auto& response = stream.response;
    response.version = http::Version::kHttp2;
    stream.reader.finish(response);
    if (stream.reader.fault() != http::Fault::kNone) return refuse(stream, http::Fault::kBadResponse);
    if (response.is_interim()) {
      events_.on_response(stream.id, response);
      response = {};
      return charge_idle(kInterimCost);
    }
    stream.has_head = true;
    stream.is_tunnel = stream.is_tunnel && response.status / 100 == 2;
    response.has_body = !stream.peer_ended && !stream.is_tunnel;
    if (stream.is_tunnel) agree(stream);
    if (stream.is_tunnel && stream.is_upgrade) answer_upgrade(stream, response);
    events_.on_response(stream.id, response);
    response = {};  // a head is memory for as long as it is told
  }

  void on_bad_head(Stream& stream, std::string_view /*detail*/) override { drop(stream, http::Fault::kBadResponse); }

  void on_frame(const nghttp2_frame& frame) override {
    if (frame.hd.type == NGHTTP2_GOAWAY)
      last_seen_ = std::min(last_seen_, static_cast<http::StreamId>(frame.goaway.last_stream_id));
    if (frame.hd.type != NGHTTP2_SETTINGS || (frame.hd.flags & NGHTTP2_FLAG_ACK) != 0) return;
    if (!std::exchange(has_settings_, true)) submit_held();
  }

  void on_closing(http::StreamId stream, http::Fault why) override {
    if (why == http::Fault::kRefused) refused_ = stream;
  }

  void after_events() override {
    const bool has_room = can_send();
    if (!std::exchange(had_room_, has_room) && has_room) events_.on_room();
  }

  http::ClientEvents& events_;
  http::StreamId last_seen_ = ~http::StreamId{0};  // by the server, as its GOAWAY says
  http::StreamId refused_ = 0;                     // the last that was told as refused
  std::vector<std::pair<http::StreamId, http::Request>> held_;
  bool has_settings_ = false;  // the server's
  bool had_room_ = true;
  bool leaving_ = false;
};

}  // namespace

std::unique_ptr<http::ClientCodec> make_client_codec(const http::Limits& limits, http::ClientEvents& events,
                                                     Clock clock) {
  return std::make_unique<Client>(limits, events, clock ? std::move(clock) : Clock(std::chrono::steady_clock::now));
}

}  // namespace underpass::http2
