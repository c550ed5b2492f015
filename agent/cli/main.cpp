// SPDX-License-Identifier: Apache-2.0
// underpassctl's main(): a standard output that ends quietly when its reader has seen enough (`underpassctl map dump
// all | head`), and does not pretend when the disk is full.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <iostream>
#include <ostream>
#include <streambuf>
#include <string>
#include <vector>

#include "agent/cli/app.h"
#include "agent/cli/session.h"

namespace {

// Buffered, and remembers why a write failed; after that, nothing more is written.
class StandardOutput : public std::streambuf {
 public:
  StandardOutput() { setp(buffer_.data(), buffer_.data() + buffer_.size()); }

  // 0: all went well so far.
  [[nodiscard]] int error() const { return error_; }

 protected:
  int_type overflow(int_type c) override {
    if (sync() != 0) return traits_type::eof();
    if (traits_type::eq_int_type(c, traits_type::eof())) return traits_type::not_eof(c);
    return sputc(traits_type::to_char_type(c));
  }

  int sync() override {
    const char* at = pbase();
    while (error_ == 0 && at < pptr()) {
      const ssize_t written = ::write(STDOUT_FILENO, at, static_cast<std::size_t>(pptr() - at));
      if (written >= 0) {
        at += written;
      } else if (errno != EINTR) {
        error_ = errno;
      }
    }
    setp(buffer_.data(), buffer_.data() + buffer_.size());
    return error_ == 0 ? 0 : -1;
  }

 private:
  std::array<char, 65536> buffer_;
  int error_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    StandardOutput standard_output;
    std::ostream out(&standard_output);
    const int code =
        underpass::cli::run(std::vector<std::string>(argv + std::min(argc, 1), argv + argc), out, std::cerr);
    out.flush();
    const int error = standard_output.error();
    if (error == 0 || error == EPIPE) return code;
    std::cerr << "underpassctl: write to standard output: " << std::strerror(error) << '\n';
  } catch (const std::exception& problem) {  // out of memory
    std::cerr << "underpassctl: " << problem.what() << '\n';
  }
  return underpass::cli::kNegative;
}
