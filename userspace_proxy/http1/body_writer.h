// SPDX-License-Identifier: Apache-2.0
// The body of a message that goes out, framed as its head said. It never says more or less than announced: the reader
// would take what follows for something else.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "userspace_proxy/http/fields.h"

namespace underpass::http1 {

class BodyWriter {
 public:
  enum class Kind : std::uint8_t { kNone, kLength, kChunked, kUntilClose };

  void start(Kind kind, std::uint64_t length = 0) {
    kind_ = kind;
    left_ = length;
  }
  [[nodiscard]] Kind kind() const { return kind_; }

  // False: more than was announced; nothing was written.
  [[nodiscard]] bool write(std::string& out, std::string_view bytes);
  // False: less than was announced.
  [[nodiscard]] bool end(std::string& out, const http::Fields* trailers);

 private:
  Kind kind_ = Kind::kNone;
  std::uint64_t left_ = 0;
};

// "name: value" for each field that is well-formed and none of the connection's own: those the codec says itself.
void write_fields(std::string& out, const http::Fields& fields);
void write_field(std::string& out, std::string_view name, std::string_view value);
void write_number(std::string& out, std::uint64_t number, int base = 10);

}  // namespace underpass::http1
