// SPDX-License-Identifier: Apache-2.0
// What a codec has to say and the socket has not taken yet. The memory of a long answer is given back when it is sent,
// since most connections are idle most of the time.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace underpass::http1 {

class Output {
 public:
  [[nodiscard]] std::string_view view() const { return std::string_view(text_).substr(begin_); }
  [[nodiscard]] std::size_t size() const { return text_.size() - begin_; }
  // To append to.
  [[nodiscard]] std::string& text() { return text_; }

  void sent(std::size_t bytes) {
    begin_ += bytes;
    if (begin_ >= text_.size()) {
      clear();
    } else if (begin_ > kMove && begin_ > text_.size() / 2) {
      text_.erase(0, begin_);
      begin_ = 0;
    }
  }
  void clear() {
    begin_ = 0;
    if (text_.capacity() > kKeep) text_ = {};
    text_.clear();
  }

 private:
  static constexpr std::size_t kKeep = 4UL * 1024;
  static constexpr std::size_t kMove = 16UL * 1024;  // so many sent bytes in front are worth moving the rest
  std::string text_;
  std::size_t begin_ = 0;
};

}  // namespace underpass::http1
