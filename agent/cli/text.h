// SPDX-License-Identifier: Apache-2.0
// Text from outside (names, reasons, map contents) made fit for JSON and for a terminal: valid UTF-8, no control
// characters, a known width.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace underpass::cli {

// Every byte that is not part of valid UTF-8 becomes U+FFFD.
std::string to_utf8(std::string_view text);

// to_utf8(), and control characters (line feeds, terminal escapes, C1) become "?": one line, whatever it says.
std::string to_printable(std::string_view text);

// Columns of valid UTF-8 on a terminal, one per code point.
std::size_t width_of(std::string_view text);

}  // namespace underpass::cli
