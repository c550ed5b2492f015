// SPDX-License-Identifier: Apache-2.0
// Blocks of one thread for bytes on their way. A connection holds one only while it has bytes that the other side does
// not take; the block that was given back last is handed out next, so that it is still in the processor's cache.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace underpass::session {

class BufferPool {
 public:
  static constexpr std::size_t kBlock = 64UL * 1024;
  using Block = std::unique_ptr<char[]>;

  Block take() {
    if (free_.empty()) return Block(new char[kBlock]);  // not zeroed
    Block block = std::move(free_.back());
    free_.pop_back();
    return block;
  }
  void give_back(Block block) {
    if (block && free_.size() < kKept) free_.push_back(std::move(block));
  }

 private:
  static constexpr std::size_t kKept = 8;

  std::vector<Block> free_;
};

}  // namespace underpass::session
