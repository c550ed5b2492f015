// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/api/token_source.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

namespace underpass::k8s {
namespace {

constexpr std::chrono::minutes kReadAgain(1);
constexpr std::size_t kMaxTokenBytes = std::size_t{32} << 10;  // it must fit a header

std::string trimmed(std::string text) {
  const auto space = [](unsigned char c) { return c <= 0x20; };
  while (!text.empty() && space(static_cast<unsigned char>(text.back()))) text.pop_back();
  text.erase(text.begin(), std::ranges::find_if_not(text, space));
  return text;
}

// It goes into a header as it is.
bool is_token(const std::string& text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) { return c > 0x20 && c < 0x7f; });
}

}  // namespace

TokenSource::TokenSource(std::string token, std::string file, Clock clock)
    : token_(trimmed(std::move(token))), file_(std::move(file)), clock_(std::move(clock)) {}

bool TokenSource::due(const FileStamp& now) const {
  return !have_ || refused_ || now != stamp_ || clock_() - read_at_ >= kReadAgain;
}

Result<std::string> TokenSource::get() {
  if (file_.empty()) {
    if (!token_.empty() && !is_token(token_)) return fail("token: not a bearer token");
    return token_;
  }
  struct stat status{};
  const bool there = ::stat(file_.c_str(), &status) == 0;
  if (there && !due(make_stamp(status))) return token_;
  auto read = read_file(AT_FDCWD, file_, kMaxTokenBytes);
  if (!read) {
    if (have_) return token_;
    return fail("token file " + file_ + ": " + read.error().cause);
  }
  auto token = trimmed(std::move(read->text));
  if (!is_token(token)) {
    if (have_) return token_;
    return fail("token file " + file_ + ": no bearer token in it");
  }
  token_ = std::move(token);
  stamp_ = read->stamp;
  read_at_ = clock_();
  have_ = true;
  refused_ = false;
  return token_;
}

}  // namespace underpass::k8s
