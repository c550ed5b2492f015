// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/http2/connection.h"

#include <algorithm>
#include <array>

#include "userspace_proxy/http2/callbacks.h"

namespace underpass::http2 {
namespace {

constexpr std::size_t kOutput = 64UL * 1024;  // of frames, for the socket
constexpr std::size_t kSlice = 16UL * 1024;   // of input, between two looks at what it has caused
constexpr std::size_t kMaxQueued = 1000;      // frames of nghttp2's own that wait for a peer that does not read
constexpr double kIdleFrames = 1000;          // in a row; and in the long run that many each second:
constexpr double kIdleFramesPerSecond = 20;
constexpr double kEarnedBySending = 4;  // WINDOW_UPDATE of stream and connection, twice over

std::string goaway(std::uint32_t last_stream, std::uint32_t code) {
  std::string frame("\0\0\x08\x07\0\0\0\0\0", 9);
  for (const auto number : {last_stream, code})
    for (int shift = 24; shift >= 0; shift -= 8) frame += static_cast<char>(number >> shift);
  return frame;
}

}  // namespace

Connection::Connection(Side side, const http::Limits& limits, http::StreamEvents& events, Clock clock)
    : side_(side),
      limits_(limits),
      events_(events),
      clock_(std::move(clock)),
      resets_(limits.max_resets_per_minute, limits.max_resets_per_minute / 60.0, clock_),
      idle_(kIdleFrames, kIdleFramesPerSecond, clock_),
      empty_frames_(side == Side::kServer ? NGHTTP2_CLIENT_MAGIC_LEN : 0),
      session_(Callbacks::make_session(*this, side)) {
  submit_settings();
}

Connection::~Connection() = default;

void Connection::submit_settings() {
  const auto list_bytes = limits_.max_head_bytes + 32 * limits_.max_fields;  // RFC 9113 §6.5.2 counts 32 for each field
  std::vector<nghttp2_settings_entry> entries{
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits_.stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(list_bytes)},
  };
  if (side_ == Side::kServer) {
    entries.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits_.max_streams});
    entries.push_back({NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1});
    entries.push_back({NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1});
  } else {
    entries.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
  }
  nghttp2_submit_settings(session(), NGHTTP2_FLAG_NONE, entries.data(), entries.size());
  const auto window = static_cast<std::int32_t>(std::max<std::uint32_t>(limits_.connection_window, 65535));
  nghttp2_session_set_local_window_size(session(), NGHTTP2_FLAG_NONE, 0, window);
}

// ---- streams

Stream& Connection::open(http::StreamId id) {
  ++live_;
  return *streams_.emplace_back(std::make_unique<Stream>(id));
}

Connection::Streams::const_iterator Connection::place_of(http::StreamId id) const {
  const auto at = std::ranges::lower_bound(streams_, id, {}, [](const auto& stream) { return stream->id; });
  return at != streams_.end() && (*at)->id == id ? at : streams_.end();
}

Stream* Connection::find_any(http::StreamId id) const {
  if (last_found_ != nullptr && last_found_->id == id) return last_found_;
  const auto at = place_of(id);
  return at == streams_.end() ? nullptr : last_found_ = at->get();
}

Stream* Connection::find(http::StreamId id) const {
  auto* stream = has_failed() ? nullptr : find_any(id);
  return stream == nullptr || stream->silent ? nullptr : stream;
}

void Connection::silence(Stream& stream) {
  if (stream.silent) return;
  stream.silent = true;
  --live_;
  if (limits_.share_window) open_window(std::exchange(stream.unconsumed, 0));
}

// nghttp2 forgets what waits to be sent on a stream that is reset. Of an answer it is to arrive as far as it came; a
// request is better not sent at all.
void Connection::say_before_reset() {
  if (side_ == Side::kServer) fill_output();
}

void Connection::give_up(http::StreamId id, http::Fault why) {
  auto* stream = find(id);
  if (stream == nullptr) return;
  silence(*stream);
  if (stream->is_held) return;
  if (why == http::Fault::kNone && stream->ended) {
    stream->leave_when_sent = !stream->peer_ended;
    if (!stream->end_sent) return;
  }
  stream->out.clear();
  nghttp2_submit_rst_stream(session(), NGHTTP2_FLAG_NONE, static_cast<std::int32_t>(id), to_error_code(why));
}

void Connection::refuse(Stream& stream, http::Fault why) {
  if (stream.silent) return;
  give_up(stream.id, why);
  resets_to_tell_.emplace_back(stream.id, why);
}

void Connection::agree(Stream& stream) {
  stream.is_agreed = stream.is_untold = true;
  agreed_to_tell_.push_back(stream.id);
}

void Connection::drop(Stream& stream, http::Fault why) {
  silence(stream);
  resets_to_tell_.emplace_back(stream.id, why);
}

void Connection::forget(http::StreamId id) {
  last_found_ = nullptr;
  if (const auto at = place_of(id); at != streams_.end()) streams_.erase(at);
}

// ---- in

void Connection::take(std::string_view bytes) {
  while (!bytes.empty() && !has_failed()) {
    const auto slice = bytes.substr(0, kSlice);
    reading_ = true;
    const auto taken =
        nghttp2_session_mem_recv(session(), reinterpret_cast<const std::uint8_t*>(slice.data()), slice.size());
    reading_ = false;
    if (taken < 0) {
      const auto error = static_cast<int>(taken);
      const bool is_flood = error == NGHTTP2_ERR_FLOODED || error == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS;
      const auto why = is_flood ? http::Fault::kFlood : from_own_error(NGHTTP2_PROTOCOL_ERROR, side_);
      fail(why, to_error_code(why), nghttp2_strerror(error));
    } else if (nghttp2_session_get_outbound_queue_size(session()) > kMaxQueued) {
      fail(http::Fault::kFlood, NGHTTP2_ENHANCE_YOUR_CALM, "the peer asks for more than it reads");
    }
    if (taken > 0) {
      const auto empty = empty_frames_.count(slice.substr(0, static_cast<std::size_t>(taken)));
      if (empty > 0) charge_idle(static_cast<double>(empty));
      bytes.remove_prefix(static_cast<std::size_t>(taken));
    }
    fill_output();
    tell();
  }
}

void Connection::take_end() {
  if (has_failed()) return;
  peer_gone_ = true;
  if (live_ > 0) fail(http::Fault::kEndedEarly, NGHTTP2_NO_ERROR, "the peer closed, and streams were open");
  tell();
}

void Connection::hand_back(http::StreamId id, std::size_t bytes) {
  auto* stream = find(id);
  if (stream == nullptr) return;
  const auto back = std::min(bytes, stream->unconsumed);
  stream->unconsumed -= back;
  if (limits_.share_window) open_window(back);
  if (back > 0 && !stream->peer_ended) nghttp2_session_consume_stream(session(), static_cast<std::int32_t>(id), back);
}

void Connection::open_window(std::size_t bytes) {
  if (bytes > 0) nghttp2_session_consume_connection(session(), bytes);
}

void Connection::say_ping() {
  if (!has_failed()) nghttp2_submit_ping(session(), NGHTTP2_FLAG_NONE, nullptr);
}

void Connection::charge_reset() {
  if (!resets_.take(1)) fail(http::Fault::kFlood, NGHTTP2_ENHANCE_YOUR_CALM, "too many streams were reset");
}

void Connection::charge_idle(double frames) {
  if (!idle_.take(frames)) fail(http::Fault::kFlood, NGHTTP2_ENHANCE_YOUR_CALM, "too many frames that move nothing");
}

void Connection::fail(http::Fault why, std::uint32_t code, std::string_view detail) {
  if (has_failed()) return;
  failure_ = {.why = why, .detail = std::string(detail), .code = code};
  live_ = 0;
}

// By hand, since nghttp2 does not go on after an error of its own, and would first send what is in its queue.
void Connection::say_why() {
  if (!failure_->code || peer_gone_ || within_head_) return;
  const auto last = static_cast<std::uint32_t>(nghttp2_session_get_last_proc_stream_id(session()));
  output_.append(goaway(last, *std::exchange(failure_->code, std::nullopt)));
}

// ---- out

std::string_view Connection::give() {
  fill_output();
  return output_.view();
}

void Connection::given(std::size_t bytes) {
  output_.take(bytes);
  fill_output();
  tell();
}

bool Connection::is_finished() const {
  return has_failed() || peer_gone_ ||
         (nghttp2_session_want_read(session()) == 0 && nghttp2_session_want_write(session()) == 0);
}

void Connection::fill_output() {
  if (reading_) return;
  pump();
  if (has_failed()) say_why();
}

// A head's frames stay together, since say_why() may add one after what is there.
void Connection::pump() {
  while (!has_failed() && (within_head_ || output_.size() < kOutput)) {
    const std::uint8_t* frame = nullptr;
    const auto size = nghttp2_session_mem_send(session(), &frame);
    if (size < 0) return fail(http::Fault::kInternal, NGHTTP2_INTERNAL_ERROR, nghttp2_strerror(static_cast<int>(size)));
    if (size == 0) return;
    output_.append({reinterpret_cast<const char*>(frame), static_cast<std::size_t>(size)});
    constexpr std::size_t kType = 3;
    constexpr std::size_t kFlags = 4;
    within_head_ = size >= 9 && (frame[kType] == NGHTTP2_HEADERS || frame[kType] == NGHTTP2_CONTINUATION) &&
                   (frame[kFlags] & NGHTTP2_FLAG_END_HEADERS) == 0;
  }
}

void Connection::append_data(http::StreamId id, std::string_view bytes) {
  auto* stream = find(id);
  if (stream == nullptr || stream->ended || bytes.empty()) return;
  stream->out.append(bytes);
  stream->was_full = stream->was_full || stream->out.size() > limits_.max_buffered;
  nghttp2_session_resume_data(session(), static_cast<std::int32_t>(id));
}

void Connection::append_end(http::StreamId id, const http::Fields* trailers) {
  auto* stream = find(id);
  if (stream == nullptr || stream->ended) return;
  stream->ended = true;
  if (trailers != nullptr) stream->trailers_out = *trailers;
  nghttp2_session_resume_data(session(), static_cast<std::int32_t>(id));
}

std::size_t Connection::waiting(http::StreamId id) const {
  const auto* stream = find(id);
  return stream == nullptr ? 0 : stream->out.size();
}

nghttp2_data_provider Connection::body_of(Stream& stream) { return Callbacks::body_of(stream); }

ssize_t Connection::read_body(Stream& stream, std::size_t most, std::uint32_t& flags) {
  if (stream.is_untold || stream.awaits_settings || (stream.out.empty() && !stream.ended)) return NGHTTP2_ERR_DEFERRED;
  const auto bytes = std::min(most, stream.out.size());
  flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (bytes < stream.out.size() || !stream.ended) return static_cast<ssize_t>(bytes);
  flags |= NGHTTP2_DATA_FLAG_EOF;
  if (const auto list = writer_.trailers(stream.trailers_out); !list.empty()) {
    flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    nghttp2_submit_trailer(session(), static_cast<std::int32_t>(stream.id), list.data(), list.size());
  }
  return static_cast<ssize_t>(bytes);
}

int Connection::write_body(Stream& stream, const std::uint8_t* frame_head, std::size_t bytes) {
  output_.append({reinterpret_cast<const char*>(frame_head), 9});
  output_.append(stream.out.view().substr(0, bytes));
  stream.out.take(bytes);
  if (stream.was_full && stream.out.size() <= limits_.max_buffered / 2) {
    stream.was_full = false;
    writable_to_tell_.push_back(stream.id);
  }
  return output_.size() < kOutput ? 0 : NGHTTP2_ERR_PAUSE;
}

// ---- what the session is told late, since nghttp2 is not to be called again from where it becomes known

void Connection::tell() {
  if (telling_) return;
  telling_ = true;
  for (std::size_t i = 0; i < agreed_to_tell_.size(); ++i) tell_early(agreed_to_tell_[i]);
  agreed_to_tell_.clear();
  for (std::size_t i = 0; i < resets_to_tell_.size(); ++i) {
    const auto [id, why] = resets_to_tell_[i];
    on_closing(id, why);
    events_.on_reset(id, why);
  }
  resets_to_tell_.clear();
  for (std::size_t i = 0; i < writable_to_tell_.size(); ++i)
    if (find(writable_to_tell_[i]) != nullptr) events_.on_writable(writable_to_tell_[i]);
  writable_to_tell_.clear();
  if (!has_failed()) after_events();
  if (has_failed() && !std::exchange(failure_->told, true)) events_.on_failed(failure_->why, failure_->detail);
  telling_ = false;
}

void Connection::tell_early(http::StreamId id) {
  if (auto* stream = find(id)) {
    stream->is_untold = false;
    const auto early = std::exchange(stream->early, {});
    if (!early.empty()) events_.on_data(id, early.view());
  }
  if (auto* stream = find(id)) {
    if (stream->peer_ended) events_.on_end(id, nullptr);
    nghttp2_session_resume_data(session(), static_cast<std::int32_t>(id));
  }
}

// ---- what nghttp2 tells

void Connection::on_frame_begins(const nghttp2_frame_hd& frame) {
  if (has_failed()) return;
  switch (frame.type) {
    case NGHTTP2_DATA:  // see take()
      is_padded_ = (frame.flags & NGHTTP2_FLAG_PADDED) != 0 && (frame.flags & NGHTTP2_FLAG_END_STREAM) == 0;
      return;
    case NGHTTP2_HEADERS:
      return;
    case NGHTTP2_PUSH_PROMISE:  // our settings forbid it, and came before the first request; nghttp2 waits for their
                                // ACK
      return fail(from_own_error(NGHTTP2_PROTOCOL_ERROR, side_), NGHTTP2_PROTOCOL_ERROR, "PUSH_PROMISE");
    default:
      charge_idle(1);
  }
}

void Connection::on_head_begins(const nghttp2_frame& frame) {
  if (frame.hd.type != NGHTTP2_HEADERS || has_failed()) return;
  const auto id = static_cast<http::StreamId>(frame.hd.stream_id);
  auto* stream = frame.headers.cat == NGHTTP2_HCAT_REQUEST ? &open(id) : find_any(id);
  if (stream != nullptr) stream->reader.start();
  idle_.earn(kEarnedBySending);
}

int Connection::on_field(http::StreamId id, http::Field field) {
  auto* stream = has_failed() ? nullptr : find_any(id);
  if (stream == nullptr) return 0;
  if (stream->has_head) {
    stream->reader.add(stream->trailers_in, field, limits_);
  } else {
    read_field(*stream, field);
  }
  if (!stream->reader.is_bomb(limits_)) return 0;
  fail(http::Fault::kFlood, NGHTTP2_ENHANCE_YOUR_CALM, "a head is several times larger than allowed");
  return NGHTTP2_ERR_PAUSE;  // do not unfold the rest
}

void Connection::on_frame_read(const nghttp2_frame& frame) {
  if (has_failed()) return;
  auto* stream = frame.hd.stream_id == 0 ? nullptr : find_any(static_cast<http::StreamId>(frame.hd.stream_id));
  const bool is_end = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  switch (frame.hd.type) {
    case NGHTTP2_HEADERS:
      if (stream != nullptr) on_head_read(*stream, is_end);
      return;
    case NGHTTP2_DATA:
      if (stream != nullptr && is_end) end_by_peer(*stream, nullptr);
      return;
    case NGHTTP2_RST_STREAM:
      if (stream == nullptr) return;
      stream->peer_reset = true;
      if (side_ == Side::kServer && !std::exchange(stream->counted, true)) charge_reset();
      return;
    case NGHTTP2_SETTINGS:
    case NGHTTP2_PING:
    case NGHTTP2_GOAWAY:
      on_frame(frame);
      return;
    default:
      return;
  }
}

void Connection::on_head_read(Stream& stream, bool is_end) {
  if (!stream.has_head) {
    stream.peer_ended = is_end;
    if (!stream.silent) on_head(stream);
    return;
  }
  if (stream.reader.fault() != http::Fault::kNone) {
    const bool is_server = side_ == Side::kServer;
    return refuse(stream, is_server ? stream.reader.fault() : http::Fault::kBadResponse);
  }
  end_by_peer(stream, stream.trailers_in.empty() ? nullptr : &stream.trailers_in);
}

void Connection::end_by_peer(Stream& stream, const http::Fields* trailers) {
  stream.peer_ended = true;
  const bool is_early = stream.is_tunnel && (!stream.is_agreed || stream.is_untold);
  if (!stream.silent && !is_early) events_.on_end(stream.id, trailers);
}

void Connection::on_body(http::StreamId id, std::string_view bytes) {
  auto* stream = find(id);
  if (stream == nullptr || !limits_.share_window) open_window(bytes.size());
  if (stream == nullptr) return;
  if (std::exchange(is_padded_, false)) idle_.earn(1);  // it was charged, and is not empty
  stream->unconsumed += bytes.size();
  if (!stream->is_tunnel || (stream->is_agreed && !stream->is_untold)) return events_.on_data(id, bytes);
  if (!stream->answered || stream->is_untold) stream->early.append(bytes);  // else the tunnel was declined
}

void Connection::on_bad_frame(const nghttp2_frame& frame, int error) {
  if (has_failed() || frame.hd.stream_id == 0) return;
  auto* stream = find_any(static_cast<http::StreamId>(frame.hd.stream_id));
  if (side_ == Side::kServer && (stream == nullptr || !std::exchange(stream->counted, true))) charge_reset();
  if (stream == nullptr || stream->silent || has_failed()) return;
  if (frame.hd.type == NGHTTP2_HEADERS && !stream->has_head) on_bad_head(*stream, nghttp2_strerror(error));
}

void Connection::on_stream_closed(http::StreamId id, std::uint32_t code) {
  auto* stream = has_failed() ? nullptr : find_any(id);
  if (stream == nullptr) return;
  if (side_ == Side::kServer && code != NGHTTP2_NO_ERROR && !stream->silent && !std::exchange(stream->counted, true))
    charge_reset();
  if (!stream->silent && (code != NGHTTP2_NO_ERROR || stream->peer_reset))
    resets_to_tell_.emplace_back(id, stream->peer_reset ? from_reset(code, side_) : from_own_error(code, side_));
  if (!has_failed()) silence(*stream);
  forget(id);
}

void Connection::on_frame_sent(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_DATA) idle_.earn(kEarnedBySending);
  if (frame.hd.type == NGHTTP2_GOAWAY && frame.goaway.error_code != NGHTTP2_NO_ERROR && !has_failed()) {
    const std::string_view reason(reinterpret_cast<const char*>(frame.goaway.opaque_data),
                                  frame.goaway.opaque_data_len);
    failure_ = {.why = from_own_error(frame.goaway.error_code, side_), .detail = std::string(reason)};
    live_ = 0;
  }
  if (frame.hd.type != NGHTTP2_DATA && frame.hd.type != NGHTTP2_HEADERS) return;
  if (frame.hd.type == NGHTTP2_HEADERS && frame.headers.cat == NGHTTP2_HCAT_REQUEST)
    last_request_sent_ = static_cast<http::StreamId>(frame.hd.stream_id);
  if ((frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return;
  auto* stream = find_any(static_cast<http::StreamId>(frame.hd.stream_id));
  if (stream == nullptr) return;
  stream->end_sent = true;
  if (stream->leave_when_sent && !stream->peer_ended)
    nghttp2_submit_rst_stream(session(), NGHTTP2_FLAG_NONE, frame.hd.stream_id, NGHTTP2_NO_ERROR);
}

// A head that cannot be sent (it is too large) must not leave its stream hanging. Where it is a client's the stream is
// closed by nghttp2.
void Connection::on_frame_not_sent(const nghttp2_frame& frame, int error) {
  if (frame.hd.type != NGHTTP2_HEADERS || side_ != Side::kServer || error == NGHTTP2_ERR_STREAM_CLOSING ||
      error == NGHTTP2_ERR_STREAM_CLOSED || error == NGHTTP2_ERR_SESSION_CLOSING)
    return;
  if (auto* stream = find_any(static_cast<http::StreamId>(frame.hd.stream_id))) refuse(*stream, http::Fault::kInternal);
}

}  // namespace underpass::http2
