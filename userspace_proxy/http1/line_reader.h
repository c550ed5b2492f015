// SPDX-License-Identifier: Apache-2.0
// Lines of a head or of chunked framing, out of pieces as the socket gave them. A line that is whole is looked at where
// it is; only one that is not yet is kept. A line ends with CRLF and nothing else (RFC 9112 §2.2 allows a bare LF,
// which is what two readers may differ about).
#pragma once

#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

namespace underpass::http1 {

class LineReader {
 public:
  enum class Got { kLine, kMore, kTooLong, kBareLf };

  // Takes one line off the front of `bytes`, which may have `limit` bytes with its CRLF; all of them if it is not
  // whole.
  Got next(std::string_view& bytes, std::size_t limit) {
    release();
    const void* found = std::memchr(bytes.data(), '\n', bytes.size());
    const std::size_t length = found == nullptr ? bytes.size() : static_cast<const char*>(found) - bytes.data() + 1UL;
    // Without its end it will be one byte longer at least.
    if (kept_.size() + length + (found == nullptr ? 1 : 0) > limit) return Got::kTooLong;
    const auto piece = bytes.substr(0, length);
    bytes.remove_prefix(length);
    if (found == nullptr || !kept_.empty()) kept_ += piece;
    if (found == nullptr) return Got::kMore;
    told_ = true;
    line_ = kept_.empty() ? piece : std::string_view(kept_);
    if (!line_.ends_with("\r\n")) return Got::kBareLf;
    line_.remove_suffix(2);
    return Got::kLine;
  }

  // Without its CRLF; good until the next call, or until the bytes go.
  [[nodiscard]] std::string_view line() const { return line_; }
  // Whether a line has begun and is not whole.
  [[nodiscard]] bool is_inside() const { return !told_ && !kept_.empty(); }
  // Forgets the last line.
  void release() {
    if (!told_) return;
    told_ = false;
    line_ = {};
    if (kept_.capacity() > kKeep) kept_ = {};
    kept_.clear();
  }

 private:
  static constexpr std::size_t kKeep = 512;  // of memory for the next one, while a connection is idle
  std::string kept_;
  std::string_view line_;
  bool told_ = false;
};

}  // namespace underpass::http1
