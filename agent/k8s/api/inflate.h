// SPDX-License-Identifier: Apache-2.0
// gzip, undone piece by piece: what comes out is never longer than asked for, however little went in, so that a small
// answer cannot become a large one in memory.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "underpass/result.h"

namespace underpass::k8s {

class Inflater {
 public:
  Inflater();
  ~Inflater();
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // More of what the server sent. Call it when read() gave nothing.
  void put(std::string_view packed);
  // At most `most` bytes are appended to `out`; none: put more. Fails on what is not gzip, and on what comes after it.
  Result<std::size_t> read(std::string& out, std::size_t most);
  // The end was there, with the right checksum.
  [[nodiscard]] bool complete() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace underpass::k8s
