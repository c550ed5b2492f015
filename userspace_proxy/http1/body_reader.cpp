// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/http1/body_reader.h"

#include <algorithm>

#include "userspace_proxy/http/chars.h"

namespace underpass::http1 {
namespace {

constexpr std::size_t kMaxSizeLine = 1024;
constexpr std::size_t kMaxExcess = 16UL * 1024;

}  // namespace

void BodyReader::start_length(std::uint64_t bytes) {
  trailers_.clear();
  left_ = bytes;
  state_ = bytes == 0 ? State::kEnded : State::kLength;
}

void BodyReader::start_chunked() {
  trailers_.clear();
  head_.clear();
  head_bytes_ = 0;
  excess_ = 0;
  state_ = State::kSizeLine;
}

void BodyReader::start_until_close() {
  trailers_.clear();
  state_ = State::kUntilClose;
}

BodyReader::Got BodyReader::next(std::string_view& bytes, std::size_t room) {
  while (true) {
    if (state_ == State::kEnded) return Got::kEnd;
    if (bytes.empty()) return Got::kMore;
    switch (state_) {
      case State::kLength:
      case State::kUntilClose:
      case State::kChunk:
        return take_data(bytes, room);
      case State::kChunkCr:
      case State::kChunkLf:
        if (bytes.front() != (state_ == State::kChunkCr ? '\r' : '\n')) return fail(bad("a chunk longer than it said"));
        bytes.remove_prefix(1);
        state_ = state_ == State::kChunkCr ? State::kChunkLf : State::kSizeLine;
        break;
      default:
        if (const auto got = take_line(bytes); got != Got::kData) return got;
    }
  }
}

BodyReader::Got BodyReader::take_data(std::string_view& bytes, std::size_t room) {
  std::size_t count = std::min(bytes.size(), room);
  if (state_ != State::kUntilClose) {
    if (count > left_) count = static_cast<std::size_t>(left_);
    left_ -= count;
    if (left_ == 0) state_ = state_ == State::kChunk ? State::kChunkCr : State::kEnded;
  }
  data_ = bytes.substr(0, count);
  bytes.remove_prefix(count);
  return Got::kData;
}

// kData here: go on.
BodyReader::Got BodyReader::take_line(std::string_view& bytes) {
  const bool trailers = state_ == State::kTrailers;
  switch (lines_.next(bytes, trailers ? limits_.max_head_bytes - head_bytes_ : kMaxSizeLine)) {
    case LineReader::Got::kMore:
      return Got::kMore;
    case LineReader::Got::kTooLong:
      return fail(
          {.why = trailers ? http::Fault::kHeadTooLarge : http::Fault::kBadRequest, .detail = "a line too long"});
    case LineReader::Got::kBareLf:
      return fail(bad("LF without CR"));
    case LineReader::Got::kLine:
      break;
  }
  const auto line = lines_.line();
  if (!trailers) {
    if (const auto problem = take_size(line)) return fail(problem);
    return Got::kData;
  }
  if (line.empty()) {
    state_ = State::kEnded;
    return Got::kEnd;
  }
  head_bytes_ += line.size() + 2;
  if (const auto problem = head_.take_trailer(line, trailers_)) return fail(problem);
  return Got::kData;
}

Problem BodyReader::take_size(std::string_view line) {
  std::uint64_t size = 0;
  std::size_t digits = 0;
  for (; digits < line.size() && http::hex_value(line[digits]) >= 0; ++digits) {
    if (size >> 59U != 0) return bad("a chunk too large");
    size = size << 4U | static_cast<std::uint64_t>(http::hex_value(line[digits]));
  }
  if (digits == 0 || digits > 16) return bad("a chunk without size");
  const auto extension = line.substr(digits);
  if (!extension.empty() && extension.front() != ';') return bad("a chunk size with something else");
  if (!http::is_value(extension)) return bad("a control character in a chunk extension");
  // What 16 bytes and the chunk's own size do not pay for is remembered, and paid for by later chunks.
  const std::uint64_t worth = 16 + std::min<std::uint64_t>(size, kMaxExcess);
  excess_ += extension.size();
  excess_ -= static_cast<std::size_t>(std::min<std::uint64_t>(excess_, worth));
  if (excess_ > kMaxExcess) return bad("too many chunk extensions");
  left_ = size;
  state_ = size == 0 ? State::kTrailers : State::kChunk;
  return {};
}

BodyReader::Got BodyReader::fail(Problem problem) {
  problem_ = problem;
  return Got::kBad;
}

}  // namespace underpass::http1
