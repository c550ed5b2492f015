// SPDX-License-Identifier: Apache-2.0
// One HTTP/1.1 answer from bytes, without I/O: Beast's parser, fed with whatever the connection gave. The body is
// handed on as it comes, chunks undone. What no API server sends (HTTP/1.0, a header without end) is refused.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "underpass/result.h"

namespace underpass::k8s {

struct HttpHead {
  unsigned status = 0;
  std::string status_text;   // "Not Found", as the server says it
  std::string content_type;  // without parameters, in lower case
  bool gzip = false;
  std::string location;                             // of a redirect
  std::optional<std::chrono::seconds> retry_after;  // only where it is a number
};

inline constexpr std::size_t kMaxHeaderBytes = std::size_t{64} << 10;

class HttpReader {
 public:
  explicit HttpReader(bool takes_http10 = false);
  ~HttpReader();
  HttpReader(const HttpReader&) = delete;
  HttpReader& operator=(const HttpReader&) = delete;

  // All of `bytes` is taken; what is body is appended to body(), also where it fails after that.
  Result<void> feed(std::string_view bytes);
  // The connection was closed: fails where the answer is not complete.
  Result<void> end();

  [[nodiscard]] bool begun() const;  // any byte came
  [[nodiscard]] bool head_done() const;
  [[nodiscard]] bool done() const;
  [[nodiscard]] bool keep_alive() const;
  [[nodiscard]] const HttpHead& head() const;
  // What came and was not taken yet; the caller empties it.
  [[nodiscard]] std::string& body();

 private:
  class Parser;
  Result<void> parse();

  bool takes_http10_;
  std::unique_ptr<Parser> parser_;
  std::string pending_;
  bool begun_ = false;
};

}  // namespace underpass::k8s
