// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/http2/callbacks.h"

#include <cstdint>
#include <new>
#include <string_view>

namespace underpass::http2 {
namespace {

constexpr std::size_t kMaxHeadOut = 256UL * 1024;  // what a head may grow to when it is sent on; the default is 64 KiB

constexpr std::uint64_t kNoLimit = 1UL << 40;

std::string_view text(const std::uint8_t* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

struct Option {
  Option() {
    if (nghttp2_option_new(&it) != 0) throw std::bad_alloc();
  }
  Option(const Option&) = delete;
  Option& operator=(const Option&) = delete;
  ~Option() { nghttp2_option_del(it); }
  nghttp2_option* it = nullptr;
};

struct CallbackTable {
  CallbackTable() {
    if (nghttp2_session_callbacks_new(&it) != 0) throw std::bad_alloc();
  }
  CallbackTable(const CallbackTable&) = delete;
  CallbackTable& operator=(const CallbackTable&) = delete;
  ~CallbackTable() { nghttp2_session_callbacks_del(it); }
  nghttp2_session_callbacks* it = nullptr;
};

Connection& owner(void* user_data) { return *static_cast<Connection*>(user_data); }
http::StreamId number(std::int32_t id) { return static_cast<http::StreamId>(id); }

}  // namespace

void Connection::Callbacks::set(nghttp2_session_callbacks* table) {
  using Session = nghttp2_session;
  using Frame = nghttp2_frame;
  using Head = nghttp2_frame_hd;
  using Byte = std::uint8_t;

  nghttp2_session_callbacks_set_on_begin_frame_callback(table, [](Session*, const Head* head, void* data) {
    owner(data).on_frame_begins(*head);
    return 0;
  });
  nghttp2_session_callbacks_set_on_begin_headers_callback(table, [](Session*, const Frame* frame, void* data) {
    owner(data).on_head_begins(*frame);
    return 0;
  });
  nghttp2_session_callbacks_set_on_header_callback(
      table, [](Session*, const Frame* frame, const Byte* name, std::size_t name_size, const Byte* value,
                std::size_t value_size, Byte, void* data) {
        return owner(data).on_field(number(frame->hd.stream_id), {text(name, name_size), text(value, value_size)});
      });
  // Without it nghttp2 leaves a field out that is not well-formed, and goes on.
  nghttp2_session_callbacks_set_on_invalid_header_callback(
      table, [](Session*, const Frame*, const Byte*, std::size_t, const Byte*, std::size_t, Byte, void*) -> int {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(table, [](Session*, const Frame* frame, void* data) {
    owner(data).on_frame_read(*frame);
    return 0;
  });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      table, [](Session*, Byte, std::int32_t id, const Byte* bytes, std::size_t size, void* data) {
        owner(data).on_body(number(id), text(bytes, size));
        return 0;
      });
  nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(table,
                                                               [](Session*, const Frame* frame, int error, void* data) {
                                                                 owner(data).on_bad_frame(*frame, error);
                                                                 return 0;
                                                               });
  nghttp2_session_callbacks_set_on_stream_close_callback(table,
                                                         [](Session*, std::int32_t id, std::uint32_t code, void* data) {
                                                           owner(data).on_stream_closed(number(id), code);
                                                           return 0;
                                                         });
  nghttp2_session_callbacks_set_on_frame_send_callback(table, [](Session*, const Frame* frame, void* data) {
    owner(data).on_frame_sent(*frame);
    return 0;
  });
  nghttp2_session_callbacks_set_on_frame_not_send_callback(table,
                                                           [](Session*, const Frame* frame, int error, void* data) {
                                                             owner(data).on_frame_not_sent(*frame, error);
                                                             return 0;
                                                           });
  nghttp2_session_callbacks_set_send_data_callback(
      table, [](Session*, Frame* frame, const Byte* head, std::size_t size, nghttp2_data_source* source, void* data) {
        (void)frame;  // never padded
        return owner(data).write_body(*static_cast<Stream*>(source->ptr), head, size);
      });
}

nghttp2_data_provider Connection::Callbacks::body_of(Stream& stream) {
  return {.source = {.ptr = &stream},
          .read_callback = [](nghttp2_session*, std::int32_t, std::uint8_t*, std::size_t most, std::uint32_t* flags,
                              nghttp2_data_source* source, void* data) {
            return owner(data).read_body(*static_cast<Stream*>(source->ptr), most, *flags);
          }};
}

std::unique_ptr<nghttp2_session, Connection::SessionDeleter> Connection::Callbacks::make_session(Connection& owner,
                                                                                                 Side side) {
  const CallbackTable table;
  set(table.it);
  const Option option;
  nghttp2_option_set_no_auto_window_update(option.it, 1);
  nghttp2_option_set_no_closed_streams(option.it, 1);
  nghttp2_option_set_max_send_header_block_length(option.it, kMaxHeadOut);
  // Its own limit of resets counts other things and says INTERNAL_ERROR: charge_reset() stands in for it.
  nghttp2_option_set_stream_reset_rate_limit(option.it, kNoLimit, kNoLimit);
  nghttp2_session* session = nullptr;
  const auto make = side == Side::kServer ? nghttp2_session_server_new2 : nghttp2_session_client_new2;
  if (make(&session, table.it, &owner, option.it) != 0) throw std::bad_alloc();
  return std::unique_ptr<nghttp2_session, SessionDeleter>(session);
}

}  // namespace underpass::http2
