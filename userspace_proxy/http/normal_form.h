// SPDX-License-Identifier: Apache-2.0
// What is done to a request between codec and policy, so that what is matched is what is forwarded: the request itself
// is changed, and Subject's host and path are views into it. The meaning of the settings is Istio's
// (https://istio.io/latest/docs/ops/best-practices/security/#customize-your-system-on-path-normalization), in its
// order: escaped slashes, RFC 3986, then slashes that follow each other.
//
// - Path, without its query: "\" is "/"; escaped unreserved characters are unescaped, once; other escapes keep their
//   meaning and get upper-case digits; dot segments are resolved and never lead above the root. "%2f" and "%5c" stay
//   escaped but for kDecodeAndMergeSlashes. A cut-off escape is refused. kNone changes nothing and looks at nothing.
// - In every setting "%00" in the path, and bytes that no target may have, are refused. The query is left as it is.
// - Authority: lower case, one trailing dot is dropped; userinfo and whatever else is no host[:port] is refused.
// - The normal form of a normal form is itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "underpass/proxy_settings.h"
#include "userspace_proxy/http/message.h"

namespace underpass::http {

// Views into the request, good until it is changed.
struct NormalForm {
  std::string_view host;              // without port; IPv6 in brackets; empty: HTTP/1.0 without Host
  std::optional<std::uint16_t> port;  // none: none was given, or it is the scheme's own
  std::string_view path;              // without query; of a CONNECT empty
};

// None: the request is to be refused with 400, and may have been changed in part.
[[nodiscard]] std::optional<NormalForm> normalize(Request& request, PathNormalization how);

}  // namespace underpass::http
