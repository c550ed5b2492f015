// SPDX-License-Identifier: Apache-2.0
// The bearer token of this moment. One in a file is read again when the file changes, once a minute in any case, and
// when the server did not take it; while the file cannot be read, the last one is used. Never part of a message.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "agent/k8s/read_file.h"
#include "underpass/result.h"

namespace underpass::k8s {

class TokenSource {
 public:
  using Clock = std::function<std::chrono::steady_clock::time_point()>;

  // `file` empty: `token` for ever, which may be empty (none).
  TokenSource(std::string token, std::string file, Clock clock = std::chrono::steady_clock::now);

  // Fails while there never was one to be read, or the file has something that cannot be a token.
  Result<std::string> get();
  // The server did not take it: the file is read again for the next request.
  void refused() { refused_ = true; }

 private:
  [[nodiscard]] bool due(const FileStamp& now) const;

  std::string token_;
  std::string file_;
  Clock clock_;
  FileStamp stamp_;
  std::chrono::steady_clock::time_point read_at_;
  bool have_ = false;
  bool refused_ = false;
};

}  // namespace underpass::k8s
