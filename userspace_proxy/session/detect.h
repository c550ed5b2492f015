// SPDX-License-Identifier: Apache-2.0
// What a client speaks, told by its first bytes: HTTP/2 begins with its preface (RFC 9113 §3.4), HTTP/1 with a request
// line (RFC 9112 §3). Everything else is TCP, and so is a client that lets the server speak first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace underpass::session {

enum class Spoken : std::uint8_t { kUndecided, kTcp, kHttp1, kHttp2 };

// So much of what came is enough to tell.
inline constexpr std::size_t kDetectBytes = 1024;

// kUndecided: more bytes may tell.
Spoken detect(std::string_view begin);

// Where HTTP is what the port is for: only which version. Whatever is no preface is HTTP/1's to refuse.
Spoken detect_version(std::string_view begin);

// What is made of a client of which no more came in time. One that began a request line speaks HTTP, slowly.
Spoken detect_late(std::string_view begin);

}  // namespace underpass::session
