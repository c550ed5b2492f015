// SPDX-License-Identifier: Apache-2.0
// The body of a message, whichever way it is framed (RFC 9112 §6 and §7): pieces of it, without copying, and its end.
// Chunk sizes are hexadecimal digits that fit 63 bits, followed by CRLF or ";" and an extension, which is dropped; a
// peer that sends more extension than body is refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "userspace_proxy/http1/head.h"
#include "userspace_proxy/http1/line_reader.h"

namespace underpass::http1 {

class BodyReader {
 public:
  explicit BodyReader(const http::Limits& limits) : limits_(limits), head_(limits) {}

  void start_length(std::uint64_t bytes);
  void start_chunked();
  void start_until_close();

  enum class Got { kMore, kData, kEnd, kBad };
  // Takes from the front of `bytes`, of the body itself at most `room` > 0. kMore: all was taken, and more is needed.
  Got next(std::string_view& bytes, std::size_t room);

  // Of kData: in `bytes` as they were.
  [[nodiscard]] std::string_view data() const { return data_; }
  [[nodiscard]] const Problem& problem() const { return problem_; }
  // After kEnd; null: none.
  [[nodiscard]] const http::Fields* trailers() const { return trailers_.empty() ? nullptr : &trailers_; }
  [[nodiscard]] bool is_ended() const { return state_ == State::kEnded; }
  // Whether the peer's end of stream is the body's.
  [[nodiscard]] bool ends_with_stream() const { return state_ == State::kUntilClose; }

 private:
  enum class State { kLength, kUntilClose, kSizeLine, kChunk, kChunkCr, kChunkLf, kTrailers, kEnded };

  Got take_data(std::string_view& bytes, std::size_t room);
  Got take_line(std::string_view& bytes);
  [[nodiscard]] Problem take_size(std::string_view line);
  Got fail(Problem problem);

  const http::Limits& limits_;
  LineReader lines_;
  HeadReader head_;
  http::Fields trailers_;
  std::string_view data_;
  Problem problem_;
  State state_ = State::kEnded;
  std::uint64_t left_ = 0;      // of the body or chunk
  std::size_t head_bytes_ = 0;  // of the trailers
  std::size_t excess_ = 0;      // framing beyond what the chunks are worth
};

}  // namespace underpass::http1
