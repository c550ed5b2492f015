// SPDX-License-Identifier: Apache-2.0
// HTTP/2 frames made by hand (RFC 9113 §4, §6), right and wrong ones, and read again from what a codec says.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace underpass::test {

inline std::string big_endian(std::uint32_t value, int bytes) {
  std::string text;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) text += static_cast<char>(value >> shift);
  return text;
}

inline constexpr std::uint8_t kEndStream = 1;
inline constexpr std::uint8_t kAck = 1;
inline constexpr std::uint8_t kEndHeaders = 4;

inline std::string frame(unsigned type, unsigned flags, std::uint32_t stream, std::string_view payload = {}) {
  return big_endian(static_cast<std::uint32_t>(payload.size()), 3) + static_cast<char>(type) +
         static_cast<char>(flags) + big_endian(stream, 4) + std::string(payload);
}

inline std::string data_frame(std::uint32_t stream, std::string_view bytes, unsigned flags = 0) {
  return frame(NGHTTP2_DATA, flags, stream, bytes);
}
inline std::string rst_frame(std::uint32_t stream, std::uint32_t code = NGHTTP2_CANCEL) {
  return frame(NGHTTP2_RST_STREAM, 0, stream, big_endian(code, 4));
}
inline std::string window_frame(std::uint32_t stream, std::uint32_t bytes) {
  return frame(NGHTTP2_WINDOW_UPDATE, 0, stream, big_endian(bytes, 4));
}
inline std::string ping_frame(unsigned flags = 0) { return frame(NGHTTP2_PING, flags, 0, "12345678"); }
inline std::string goaway_frame(std::uint32_t last, std::uint32_t code = NGHTTP2_NO_ERROR) {
  return frame(NGHTTP2_GOAWAY, 0, 0, big_endian(last, 4) + big_endian(code, 4));
}
inline std::string setting(unsigned id, std::uint32_t value) { return big_endian(id, 2) + big_endian(value, 4); }
inline std::string settings_frame(std::string_view settings = {}, unsigned flags = 0) {
  return frame(NGHTTP2_SETTINGS, flags, 0, settings);
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

// RFC 7541 §6.2.2: names and values as they are, whatever is in them, and no state.
inline std::string hpack_integer(std::uint32_t value, unsigned prefix_bits, unsigned first) {
  const std::uint32_t most = (1U << prefix_bits) - 1;
  if (value < most) return {static_cast<char>(first | value)};
  std::string text{static_cast<char>(first | most)};
  for (value -= most; value >= 128; value /= 128) text += static_cast<char>(value % 128 + 128);
  return text + static_cast<char>(value);
}
inline std::string hpack_string(std::string_view text) {
  return hpack_integer(static_cast<std::uint32_t>(text.size()), 7, 0) + std::string(text);
}
inline std::string hpack_literal(std::string_view name, std::string_view value, unsigned kind = 0x00) {
  return std::string(1, static_cast<char>(kind)) + hpack_string(name) + hpack_string(value);
}
inline std::string hpack(const Pairs& pairs) {
  std::string block;
  for (const auto& [name, value] : pairs) block += hpack_literal(name, value);
  return block;
}

inline std::string headers_frame(std::uint32_t stream, const Pairs& pairs, unsigned flags = kEndStream | kEndHeaders) {
  return frame(NGHTTP2_HEADERS, flags, stream, hpack(pairs));
}
// GET / and what is to be added.
inline Pairs request_head(const Pairs& more = {}) {
  Pairs all{{":method", "GET"}, {":scheme", "http"}, {":authority", "a.example"}, {":path", "/"}};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}
inline std::string request_frame(std::uint32_t stream, const Pairs& more = {},
                                 unsigned flags = kEndStream | kEndHeaders) {
  return headers_frame(stream, request_head(more), flags);
}

// What was said, a line for each frame, with what a test looks at: ":status" of a head, codes, bytes.
class FrameReader {
 public:
  FrameReader() {
    if (nghttp2_hd_inflate_new(&inflater_) != 0) throw std::bad_alloc();
  }
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;
  ~FrameReader() { nghttp2_hd_inflate_del(inflater_); }

  std::vector<std::string> lines;  // without SETTINGS and WINDOW_UPDATE
  std::string bodies;

  void read(std::string_view bytes) {
    text_ += bytes;
    while (text_.size() >= 9) {
      const auto size = number(0, 3);
      if (text_.size() < 9 + size) return;
      read_frame(static_cast<std::uint8_t>(text_[3]), static_cast<std::uint8_t>(text_[4]), number(5, 4),
                 text_.substr(9, size));
      text_.erase(0, 9 + size);
    }
  }
  [[nodiscard]] bool is_whole() const { return text_.empty(); }

 private:
  [[nodiscard]] std::uint32_t number(std::size_t at, std::size_t bytes) const { return number(text_, at, bytes); }
  static std::uint32_t number(std::string_view text, std::size_t at, std::size_t bytes) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | static_cast<std::uint8_t>(text[at + i]);
    return value;
  }

  void read_frame(unsigned type, unsigned flags, std::uint32_t stream, std::string payload) {
    const auto on = " " + std::to_string(stream);
    const std::string end = (flags & kEndStream) != 0 ? " end" : "";
    if (type == NGHTTP2_HEADERS) lines.push_back("headers" + on + " " + status_of(payload) + end);
    if (type == NGHTTP2_DATA) {
      bodies += payload;
      lines.push_back("data" + on + " " + std::to_string(payload.size()) + end);
    }
    if (type == NGHTTP2_RST_STREAM) lines.push_back("reset" + on + " " + code(number(payload, 0, 4)));
    if (type == NGHTTP2_GOAWAY) lines.push_back("goaway " + code(number(payload, 4, 4)));
    if (type == NGHTTP2_PING) lines.push_back((flags & kAck) != 0 ? "pong" : "ping");
  }
  static std::string code(std::uint32_t number) { return nghttp2_http2_strerror(number); }

  std::string status_of(std::string& block) {
    std::string status;
    auto* at = reinterpret_cast<std::uint8_t*>(block.data());
    auto left = block.size();
    for (;;) {
      nghttp2_nv nv{};
      int flags = 0;
      const auto taken = nghttp2_hd_inflate_hd2(inflater_, &nv, &flags, at, left, 1);
      if (taken < 0) throw std::runtime_error("a head that is no HPACK");
      at += taken;
      left -= static_cast<std::size_t>(taken);
      const std::string_view name(reinterpret_cast<const char*>(nv.name), nv.namelen);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0 && name == ":status")
        status.assign(reinterpret_cast<const char*>(nv.value), nv.valuelen);
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
    }
    nghttp2_hd_inflate_end_headers(inflater_);
    return status;
  }

  std::string text_;
  nghttp2_hd_inflater* inflater_ = nullptr;
};

}  // namespace underpass::test
