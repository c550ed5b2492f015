// SPDX-License-Identifier: Apache-2.0
#include "test/netns/http2/h2_wire.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <stdexcept>

namespace underpass::test {

std::string H2Wire::Stream::field(std::string_view name) const {
  return heads.empty() ? "" : field_of(heads.back(), name);
}
std::string H2Wire::Stream::trailer(std::string_view name) const { return field_of(trailers, name); }

struct H2Wire::Callbacks {
  static H2Wire& of(void* user) { return *static_cast<H2Wire*>(user); }
  static int on_begin(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    of(user).coming_[frame->hd.stream_id].clear();
    return 0;
  }
  static int on_field(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                      const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user) {
    of(user).coming_[frame->hd.stream_id].emplace_back(std::string(reinterpret_cast<const char*>(name), name_size),
                                                       std::string(reinterpret_cast<const char*>(value), value_size));
    return 0;
  }
  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    auto& self = of(user);
    const auto id = frame->hd.stream_id;
    if (id == 0) return 0;
    if (frame->hd.type == NGHTTP2_HEADERS) {
      auto& stream = self.streams[id];
      auto& head = self.coming_[id];
      const bool is_head = !head.empty() && head.front().first.starts_with(':');
      is_head ? stream.heads.push_back(head) : void(stream.trailers = head);
      if (is_head && self.on_head) self.on_head(id);
    }
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
      self.streams[id].reset = frame->rst_stream.error_code;
      if (self.on_reset) self.on_reset(id);
    }
    const bool may_end = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (!may_end || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    self.streams[id].ended = true;
    if (self.on_end) self.on_end(id);
    return 0;
  }
  static int on_data(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* bytes, std::size_t size,
                     void* user) {
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    of(user).streams[id].body += text;
    if (of(user).on_body) of(user).on_body(id, text);
    return 0;
  }
  static ssize_t read(nghttp2_session* session, std::int32_t id, std::uint8_t* buffer, std::size_t size,
                      std::uint32_t* flags, nghttp2_data_source*, void* user) {
    auto& out = of(user).out_[id];
    if (out.bytes.empty() && !out.ended) return NGHTTP2_ERR_DEFERRED;
    const auto some = std::min(size, out.bytes.size());
    std::copy_n(out.bytes.data(), some, reinterpret_cast<char*>(buffer));
    out.bytes.erase(0, some);
    if (!out.bytes.empty() || !out.ended) return static_cast<ssize_t>(some);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!out.trailers.empty()) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      const auto list = list_of(out.trailers);
      nghttp2_submit_trailer(session, id, list.data(), list.size());
    }
    return static_cast<ssize_t>(some);
  }
};

H2Wire::H2Wire(UniqueFd fd, Role role, const Settings& settings) : fd_(std::move(fd)), session_(nullptr, nullptr) {
  nghttp2_session_callbacks* table = nullptr;
  check_nghttp2(nghttp2_session_callbacks_new(&table));
  nghttp2_session_callbacks_set_on_begin_headers_callback(table, Callbacks::on_begin);
  nghttp2_session_callbacks_set_on_header_callback(table, Callbacks::on_field);
  nghttp2_session_callbacks_set_on_frame_recv_callback(table, Callbacks::on_frame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table, Callbacks::on_data);
  nghttp2_session* session = nullptr;
  const auto make = role == Role::kServer ? nghttp2_session_server_new : nghttp2_session_client_new;
  check_nghttp2(make(&session, table, this));
  nghttp2_session_callbacks_del(table);
  session_ = {session, nghttp2_session_del};
  set_option(fd_.get(), IPPROTO_TCP, TCP_NODELAY, 1);  // or each WINDOW_UPDATE waits for the peer's delayed ACK
  check_nghttp2(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings.data(), settings.size()));
}

H2Wire::H2Wire(const Place& client, const Place& server, std::uint16_t port)
    : H2Wire(connect_from(client, Address::of(server.v4, port)), Role::kClient) {}

H2Wire::~H2Wire() = default;

nghttp2_data_provider H2Wire::body_of(std::int32_t /*stream*/) {
  return {.source = {.ptr = nullptr}, .read_callback = Callbacks::read};
}

std::int32_t H2Wire::ask(const Head& head, bool end) {
  const auto list = list_of(head);
  const auto body = body_of(0);
  return check_nghttp2(
      nghttp2_submit_request(session_.get(), nullptr, list.data(), list.size(), end ? nullptr : &body, nullptr));
}

void H2Wire::interim(std::int32_t stream, const Head& head) {
  const auto list = list_of(head);
  check_nghttp2(
      nghttp2_submit_headers(session_.get(), NGHTTP2_FLAG_NONE, stream, nullptr, list.data(), list.size(), nullptr));
}

void H2Wire::answer(std::int32_t stream, const Head& head, bool end) {
  const auto list = list_of(head);
  const auto body = body_of(stream);
  check_nghttp2(nghttp2_submit_response(session_.get(), stream, list.data(), list.size(), end ? nullptr : &body));
}

void H2Wire::send(std::int32_t stream, std::string_view bytes, bool end) {
  out_[stream].bytes += bytes;
  out_[stream].ended |= end;
  (void)nghttp2_session_resume_data(session_.get(), stream);
}

void H2Wire::end(std::int32_t stream, const Head& trailers) {
  out_[stream].trailers = trailers;
  send(stream, {}, true);
}

bool H2Wire::write() {
  for (;;) {
    if (unsent_.empty()) {
      const std::uint8_t* bytes = nullptr;
      const auto size = nghttp2_session_mem_send(session_.get(), &bytes);
      if (size <= 0) return size == 0;
      unsent_.assign(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
    }
    const ssize_t sent = ::send(fd_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return errno == EAGAIN;
    unsent_.erase(0, static_cast<std::size_t>(sent));
  }
}

bool H2Wire::write_all() {
  if (!write()) return false;
  for (const auto& [stream, code] : std::exchange(resets_, {}))
    check_nghttp2(nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, stream, code));
  return write();
}

void H2Wire::move() {
  if (!write_all()) has_ended = true;
  std::array<std::uint8_t, 65536> bytes;
  pollfd wait{.fd = fd_.get(), .events = static_cast<short>(unsent_.empty() ? POLLIN : POLLIN | POLLOUT), .revents = 0};
  ::poll(&wait, 1, 20);
  const ssize_t got = ::recv(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0 || nghttp2_session_mem_recv(session_.get(), bytes.data(), static_cast<std::size_t>(got)) < 0 ||
      !write_all())
    has_ended = true;
}

bool H2Wire::turn_until(const std::function<bool()>& done, milliseconds deadline) {
  const auto until = Clock::now() + deadline;
  while (!done()) {
    if (has_ended || Clock::now() > until) return done();
    move();
  }
  (void)write_all();
  return true;
}

const H2Wire::Stream& H2Wire::whole(std::int32_t stream) {
  if (!turn_until([&] { return streams[stream].ended || streams[stream].reset; }))
    throw std::runtime_error("stream " + std::to_string(stream) + " has no end, its status is \"" +
                             streams[stream].status() + "\"");
  return streams[stream];
}

}  // namespace underpass::test
