// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/kernel_symbol.h"

#include <charconv>
#include <fstream>
#include <string>
#include <string_view>

namespace underpass::dataplane {
namespace {

// Lines are "address type name", and "\t[module]" after that. Hidden addresses read as 0.
std::uint64_t find(std::string_view wanted) {
  std::ifstream symbols("/proc/kallsyms");
  const std::string end = " " + std::string(wanted);
  for (std::string line; std::getline(symbols, line);) {
    if (!line.ends_with(end)) continue;
    std::uint64_t address = 0;
    std::from_chars(line.data(), line.data() + line.size(), address, 16);
    return address;
  }
  return 0;
}

}  // namespace

std::uint64_t woken_wake_function() {
  static const std::uint64_t address = find("woken_wake_function");
  return address;
}

}  // namespace underpass::dataplane
