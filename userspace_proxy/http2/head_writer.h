// SPDX-License-Identifier: Apache-2.0
// Outgoing heads as nghttp2 takes them. The views point into what was given and into the writer; nghttp2 copies them.
#pragma once

#include <nghttp2/nghttp2.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "userspace_proxy/http/message.h"

namespace underpass::http2 {

class HeadWriter {
 public:
  // Good until the next call. A request with `protocol` is an extended CONNECT (RFC 8441), whatever its method: that is
  // what an Upgrade of HTTP/1.1 is here.
  [[nodiscard]] std::span<const nghttp2_nv> request(const http::Request& request);
  [[nodiscard]] std::span<const nghttp2_nv> response(unsigned status, const http::Response& response);
  [[nodiscard]] std::span<const nghttp2_nv> trailers(const http::Fields& fields);

 private:
  void add(std::string_view name, std::string_view value);
  // All but what HTTP/2 forbids or has another place for.
  void add_all(const http::Fields& fields);
  void add_content_length(std::optional<std::uint64_t> length);

  std::vector<nghttp2_nv> list_;
  std::array<char, 4> status_{};
  std::array<char, 20> length_{};
};

}  // namespace underpass::http2
