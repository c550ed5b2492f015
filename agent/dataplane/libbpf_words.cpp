// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/libbpf_words.h"

#include <bpf/libbpf.h>

#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace underpass::dataplane {
namespace {

thread_local std::string words;

int keep(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN || words.size() > 600) return 0;
  std::array<char, 512> line{};
  std::vsnprintf(line.data(), line.size(), format, arguments);
  words += line.data();
  return 0;
}

}  // namespace

void keep_libbpf_words() {
  libbpf_set_print(keep);
  words.clear();
}

std::unexpected<Error> fail_libbpf(const std::string& what, int error) {
  std::string message = what + ": " + std::strerror(error < 0 ? -error : error);
  for (auto& c : words)
    if (c == '\n') c = ' ';
  if (!words.empty()) message += " (" + words + ")";
  return fail(message);
}

}  // namespace underpass::dataplane
