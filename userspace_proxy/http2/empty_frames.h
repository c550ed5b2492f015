// SPDX-License-Identifier: Apache-2.0
// DATA frames that end nothing and are empty, or padded and so perhaps empty (CVE-2019-9518), counted in the bytes of a
// connection: of those to a stream that is over nghttp2 tells nobody.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace underpass::http2 {

class EmptyFrames {
 public:
  // `preface`: bytes before the first frame (RFC 9113 §3.4).
  explicit EmptyFrames(std::size_t preface) : rest_(preface) {}

  // Of how many the head became whole with these bytes.
  [[nodiscard]] std::size_t count(std::string_view bytes) {
    std::size_t out = 0;
    while (!bytes.empty()) {
      const auto skipped = std::min(rest_, bytes.size());
      rest_ -= skipped;
      bytes.remove_prefix(skipped);
      for (; rest_ == 0 && !bytes.empty() && had_ < head_.size(); bytes.remove_prefix(1))
        head_[had_++] = static_cast<std::uint8_t>(bytes.front());
      if (had_ < head_.size()) continue;
      had_ = 0;
      rest_ = std::size_t{head_[0]} << 16U | std::size_t{head_[1]} << 8U | head_[2];
      constexpr std::uint8_t kData = 0;
      constexpr std::uint8_t kEndStream = 1;
      constexpr std::uint8_t kPadded = 8;
      const bool may_be_empty = rest_ == 0 || (head_[4] & kPadded) != 0;
      if (head_[3] == kData && may_be_empty && (head_[4] & kEndStream) == 0) ++out;
    }
    return out;
  }

 private:
  std::size_t rest_;                    // of the frame's payload
  std::array<std::uint8_t, 9> head_{};  // of the next one: length in 3 bytes, type, flags, stream
  std::size_t had_ = 0;                 // bytes of it
};

}  // namespace underpass::http2
