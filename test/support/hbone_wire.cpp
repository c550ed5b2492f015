// SPDX-License-Identifier: Apache-2.0
#include "test/support/hbone_wire.h"

#include <netinet/tcp.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "test/support/sockets.h"

namespace underpass::test {
namespace {

constexpr std::uint32_t kStreamWindow = 4 << 20;
constexpr std::int32_t kConnectionWindow = 16 << 20;
constexpr std::size_t kLargestHead = 1 << 20;  // of what it sends: a test is to send too much

}  // namespace

struct HboneWire::Callbacks {
  static HboneWire& of(void* user) { return *static_cast<HboneWire*>(user); }

  static int on_field(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                      const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user) {
    of(user).streams[frame->hd.stream_id].head.emplace_back(
        std::string(reinterpret_cast<const char*>(name), name_size),
        std::string(reinterpret_cast<const char*>(value), value_size));
    return 0;
  }

  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    auto& self = of(user);
    const auto id = frame->hd.stream_id;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
      self.was_told_to_go = true;
      self.go_away_code = frame->goaway.error_code;
    }
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) ++self.pings;
    if (frame->hd.type == NGHTTP2_RST_STREAM) self.streams[id].reset = frame->rst_stream.error_code;
    if (frame->hd.type == NGHTTP2_HEADERS && self.on_head) self.on_head(id);
    const bool may_end = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (!may_end || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    self.streams[id].ended = true;
    if (self.on_end) self.on_end(id);
    return 0;
  }

  static int on_data(nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t* bytes,
                     std::size_t size, void* user) {
    auto& self = of(user);
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    self.streams[id].came += size;
    if (self.opens_windows_) check_nghttp2(nghttp2_session_consume(session, id, size));
    if (self.on_bytes)
      self.on_bytes(id, text);
    else
      self.streams[id].bytes += text;
    return 0;
  }

  static int on_closed(nghttp2_session*, std::int32_t id, std::uint32_t code, void* user) {
    auto& stream = of(user).streams[id];
    stream.closed = true;
    if (code != NGHTTP2_NO_ERROR && !stream.reset) stream.reset = code;
    if (of(user).on_close) of(user).on_close(id);
    return 0;
  }

  static ssize_t produce(nghttp2_session*, std::int32_t id, std::uint8_t* buffer, std::size_t size,
                         std::uint32_t* flags, nghttp2_data_source*, void* user) {
    auto& out = of(user).out_[id];
    if (out.bytes.empty() && !out.ended) return NGHTTP2_ERR_DEFERRED;
    const auto some = std::min(size, out.bytes.size());
    std::copy_n(out.bytes.data(), some, reinterpret_cast<char*>(buffer));
    out.bytes.erase(0, some);
    if (out.bytes.empty() && out.ended) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(some);
  }

  static constexpr nghttp2_data_provider kBody{.source = {.ptr = nullptr}, .read_callback = produce};
};

HboneWire::HboneWire(UniqueFd fd, TlsEnd::Role role, const TlsManners& manners, bool greets)
    : tls_(std::move(fd), role, manners), session_(nullptr, nullptr) {
  set_option(tls_.fd(), IPPROTO_TCP, TCP_NODELAY, 1);
  tls_.handshake();
  nghttp2_session_callbacks* table = nullptr;
  check_nghttp2(nghttp2_session_callbacks_new(&table));
  nghttp2_session_callbacks_set_on_header_callback(table, Callbacks::on_field);
  nghttp2_session_callbacks_set_on_frame_recv_callback(table, Callbacks::on_frame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table, Callbacks::on_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(table, Callbacks::on_closed);
  nghttp2_option* options = nullptr;
  check_nghttp2(nghttp2_option_new(&options));
  nghttp2_option_set_no_auto_window_update(options, 1);
  nghttp2_option_set_max_send_header_block_length(options, kLargestHead);
  nghttp2_option_set_peer_max_concurrent_streams(options, 1 << 20);  // until SETTINGS say otherwise
  const auto make = role == TlsEnd::Role::kServer ? nghttp2_session_server_new2 : nghttp2_session_client_new2;
  nghttp2_session* session = nullptr;
  const int made = make(&session, table, this, options);
  nghttp2_session_callbacks_del(table);
  nghttp2_option_del(options);
  check_nghttp2(made);
  session_ = {session, nghttp2_session_del};
  if (!greets) return;
  const std::array<nghttp2_settings_entry, 2> settings{
      {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow}, {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 1 << 20}}};
  check_nghttp2(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings.data(), settings.size()));
  check_nghttp2(nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, kConnectionWindow));
}

std::int32_t HboneWire::ask(const Head& head, bool end) {
  const auto list = list_of(head);
  return check_nghttp2(nghttp2_submit_request(session_.get(), nullptr, list.data(), list.size(),
                                              end ? nullptr : &Callbacks::kBody, nullptr));
}

void HboneWire::answer(std::int32_t stream, const Head& head, bool end) {
  const auto list = list_of(head);
  check_nghttp2(
      nghttp2_submit_response(session_.get(), stream, list.data(), list.size(), end ? nullptr : &Callbacks::kBody));
}

void HboneWire::send(std::int32_t stream, std::string_view bytes, bool end) {
  out_[stream].bytes += bytes;
  out_[stream].ended |= end;
  (void)nghttp2_session_resume_data(session_.get(), stream);
}

void HboneWire::reset(std::int32_t stream, std::uint32_t code) {
  check_nghttp2(nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, stream, code));
}

void HboneWire::go_away() {
  const auto last = nghttp2_session_get_last_proc_stream_id(session_.get());
  check_nghttp2(nghttp2_submit_goaway(session_.get(), NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, nullptr, 0));
}

void HboneWire::ping() { check_nghttp2(nghttp2_submit_ping(session_.get(), NGHTTP2_FLAG_NONE, nullptr)); }

void HboneWire::read_again() {
  reads_ = true;
  if (std::exchange(opens_windows_, true)) return;
  for (const auto& [id, stream] : streams)
    if (!stream.closed && stream.came > 0) (void)nghttp2_session_consume(session_.get(), id, stream.came);
}

bool HboneWire::write() {
  for (;;) {
    if (unsent_.empty()) {
      const std::uint8_t* bytes = nullptr;
      const auto size = nghttp2_session_mem_send(session_.get(), &bytes);
      if (size <= 0) return size == 0;
      unsent_.assign(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
    }
    const auto moved = tls_.write(unsent_);
    if (moved != TlsEnd::Moved::kBytes) return moved == TlsEnd::Moved::kNothing;
  }
}

void HboneWire::read() {
  std::string bytes;
  for (;;) {
    bytes.clear();
    const auto moved = tls_.read(bytes);
    if (moved == TlsEnd::Moved::kNothing) return;
    if (moved == TlsEnd::Moved::kEnd ||
        nghttp2_session_mem_recv(session_.get(), reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()) <
            0) {
      has_ended = true;
      return;
    }
  }
}

void HboneWire::move() {
  const bool could_write = write();
  pollfd wait{.fd = tls_.fd(),
              .events = static_cast<short>((reads_ ? POLLIN : 0) | (unsent_.empty() ? 0 : POLLOUT)),
              .revents = 0};
  ::poll(&wait, 1, 20);
  if (reads_) read();  // also what came before the end, and why it ended
  if (!could_write || !write()) has_ended = true;
}

bool HboneWire::turn_until(const std::function<bool()>& done, milliseconds deadline) {
  const auto until = Clock::now() + deadline;
  while (!done()) {
    if (has_ended || Clock::now() > until) return done();
    move();
  }
  if (!has_ended && !write()) has_ended = true;
  return true;
}

std::string HboneWire::receive(std::int32_t stream, std::size_t count, milliseconds deadline) {
  auto& from = streams[stream];
  if (!turn_until([&] { return from.bytes.size() >= count || from.closed || from.ended; }, deadline) ||
      from.bytes.size() < count)
    throw std::runtime_error("tunnel: " + std::to_string(from.bytes.size()) + " of " + std::to_string(count) +
                             " bytes came; status " + field_of(from.head, ":status") + ", connection " +
                             (has_ended ? "ended: " + tls_.why_ended() : "open"));
  std::string out = from.bytes.substr(0, count);
  from.bytes.erase(0, count);
  return out;
}

}  // namespace underpass::test
