// SPDX-License-Identifier: Apache-2.0
// The server's end: requests are told when their heads are whole and in order, else answered here.
#include <array>
#include <cstdint>
#include <string>

#include "userspace_proxy/http2/codecs.h"
#include "userspace_proxy/http2/endpoint.h"

namespace underpass::http2 {
namespace {

constexpr std::array<std::uint8_t, 8> kLastCall{'l', 'a', 's', 't', 'c', 'a', 'l', 'l'};  // our PING's payload

// RFC 9113 §6.5.2. nghttp2 would take what is not as an error of a connection that is there already.
bool are_allowed(std::string_view settings) {
  constexpr std::size_t kEntry = 6;
  if (settings.size() % kEntry != 0) return false;
  for (; !settings.empty(); settings.remove_prefix(kEntry)) {
    const auto number = [settings](std::size_t begin, std::size_t bytes) {
      std::uint32_t out = 0;
      for (const char byte : settings.substr(begin, bytes)) out = out << 8U | static_cast<std::uint8_t>(byte);
      return out;
    };
    const auto value = number(2, 4);
    switch (number(0, 2)) {
      case NGHTTP2_SETTINGS_ENABLE_PUSH:
      case NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL:
      case NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES:
        if (value > 1) return false;
        break;
      case NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE:
        if (value > NGHTTP2_MAX_WINDOW_SIZE) return false;
        break;
      case NGHTTP2_SETTINGS_MAX_FRAME_SIZE:
        if (value < 1U << 14U || value >= 1U << 24U) return false;
        break;
      default:
        break;
    }
  }
  return true;
}

class Server final : public Endpoint<http::ServerCodec> {
 public:
  Server(const http::Limits& limits, http::ServerEvents& events, Clock clock)
      : Endpoint(Side::kServer, limits, events, std::move(clock)), events_(events) {}

  Result<void> upgrade(const http::Request& request, std::string_view settings) {
    if (!are_allowed(settings)) return fail_with(NGHTTP2_ERR_INVALID_ARGUMENT);
    const int error = nghttp2_session_upgrade2(session(), reinterpret_cast<const std::uint8_t*>(settings.data()),
                                               settings.size(), static_cast<int>(request.method == "HEAD"), nullptr);
    if (error != 0) return fail_with(error);
    auto& stream = open(1);
    stream.has_head = stream.peer_ended = true;
    stream.is_head = request.method == "HEAD";
    // Until the client is in HTTP/2: curl 7.88 takes no more than 32 KiB behind the 101.
    stream.awaits_settings = true;
    return {};
  }

  [[nodiscard]] bool is_in_head() const override { return !has_failed() && is_reading_head(); }

  void refuse_head() override {
    if (!is_in_head()) return;
    http::Request none;
    none.version = http::Version::kHttp2;
    constexpr std::string_view kDetail = "the head did not come in time";
    events_.on_refused(0, none, http::Fault::kTooLate, kDetail);
    fail(http::Fault::kTooLate, NGHTTP2_ENHANCE_YOUR_CALM, kDetail);
  }

  void send_interim(http::StreamId id, const http::Response& response) override {
    auto* stream = find(id);
    if (stream == nullptr || stream->answered) return;
    const auto list = writer().response(response.status, response);
    nghttp2_submit_headers(session(), NGHTTP2_FLAG_NONE, static_cast<std::int32_t>(id), nullptr, list.data(),
                           list.size(), nullptr);
  }

  void send_response(http::StreamId id, const http::Response& response) override {
    auto* stream = find(id);
    if (stream == nullptr || stream->answered) return;
    // RFC 8441 §5: what is 101 in HTTP/1.1 is 200 here.
    const unsigned status = response.status == 101 ? 200 : response.status;
    const bool becomes_tunnel = stream->is_tunnel && status / 100 == 2;
    const bool may_have_body = !stream->is_head && status != 204 && status != 304;
    answer(*stream, status, response, becomes_tunnel || (response.has_body && may_have_body));
    if (becomes_tunnel) {
      agree(*stream);
    } else {
      stream->early.clear();
    }
  }

  // RFC 9113 §6.8: first that no more streams are welcome, and when those that were under way are here, which the
  // answer to a PING proves, which of them was the last.
  void shut_down() override {
    if (std::exchange(leaving_, true) || has_failed()) return;
    nghttp2_submit_shutdown_notice(session());
    nghttp2_submit_ping(session(), NGHTTP2_FLAG_NONE, kLastCall.data());
  }

 private:
  static std::unexpected<Error> fail_with(int error) {
    return underpass::fail(std::string("HTTP2-Settings: ") + nghttp2_strerror(error));
  }

  void answer(Stream& stream, unsigned status, const http::Response& response, bool has_body) {
    stream.answered = true;
    stream.ended = !has_body;
    const auto list = writer().response(status, response);
    const auto body = body_of(stream);
    nghttp2_submit_response(session(), static_cast<std::int32_t>(stream.id), list.data(), list.size(),
                            has_body ? &body : nullptr);
  }

  void read_field(Stream& stream, http::Field field) override { stream.reader.add(stream.request, field, limits()); }

  void on_head(Stream& stream) override {
    auto& request = stream.request;
    request.version = http::Version::kHttp2;
    stream.reader.finish(request);
    stream.has_head = true;
    stream.is_head = request.method == "HEAD";
    stream.is_tunnel = request.is_tunnel();
    request.has_body = !stream.peer_ended && !stream.is_tunnel;
    request.expects_continue = request.expects_continue && request.has_body;
    if (stream.reader.fault() == http::Fault::kNone) {
      events_.on_request(stream.id, request);
      request = {};  // a head is memory for as long as it is told
      return;
    }
    const auto why = stream.reader.fault();
    answer(stream, http::to_status(why), {}, false);
    stream.leave_when_sent = true;
    silence(stream);
    events_.on_refused(stream.id, request, why, stream.reader.detail());
    request = {};
  }

  void on_bad_head(Stream& stream, std::string_view detail) override {
    silence(stream);
    events_.on_refused(stream.id, stream.request, http::Fault::kBadRequest, detail);
    stream.request = {};
  }

  void on_frame(const nghttp2_frame& frame) override {
    if (frame.hd.type == NGHTTP2_SETTINGS) begin_body();
    if (!leaving_ || frame.hd.type != NGHTTP2_PING || (frame.hd.flags & NGHTTP2_FLAG_ACK) == 0) return;
    nghttp2_submit_goaway(session(), NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session()),
                          NGHTTP2_NO_ERROR, nullptr, 0);
  }

  void begin_body() {
    auto* stream = find(1);
    if (stream == nullptr || !std::exchange(stream->awaits_settings, false)) return;
    nghttp2_session_resume_data(session(), 1);
  }

  void on_closing(http::StreamId /*stream*/, http::Fault /*why*/) override {}
  void after_events() override {}

  http::ServerEvents& events_;
  bool leaving_ = false;
};

Clock or_steady(Clock clock) { return clock ? std::move(clock) : Clock(std::chrono::steady_clock::now); }

}  // namespace

std::unique_ptr<http::ServerCodec> make_server_codec(const http::Limits& limits, http::ServerEvents& events,
                                                     Clock clock) {
  return std::make_unique<Server>(limits, events, or_steady(std::move(clock)));
}

Result<std::unique_ptr<http::ServerCodec>> make_upgraded_server_codec(const http::Limits& limits,
                                                                      http::ServerEvents& events,
                                                                      const http::Request& request,
                                                                      std::string_view settings, Clock clock) {
  auto server = std::make_unique<Server>(limits, events, or_steady(std::move(clock)));
  if (auto done = server->upgrade(request, settings); !done) return std::unexpected(done.error());
  return server;
}

}  // namespace underpass::http2
