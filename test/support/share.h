// SPDX-License-Identifier: Apache-2.0
// Under sanitizers, where each random case costs five times as much, a part of them is drawn: other ones each time.
#pragma once

namespace underpass::test {

#if defined(__has_feature) && __has_feature(address_sanitizer)
inline constexpr int kShare = 4;
#else
inline constexpr int kShare = 1;
#endif

}  // namespace underpass::test
