// SPDX-License-Identifier: Apache-2.0
// One incoming head, field by field, into a Request, a Response or trailers. nghttp2 has looked at each field before
// (characters, order and number of pseudo-headers, connection-specific fields, te); what is left to be checked is what
// another reader could read differently (RFC 9113 §8.3.1: Host and :authority, paths), and limits.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "userspace_proxy/http/codec.h"

namespace underpass::http2 {

class HeadReader {
 public:
  // A new head, or trailers, begins.
  void start();

  // Each counts the field; what does not fit is left out, and the head is refused when it is whole.
  void add(http::Request& request, http::Field field, const http::Limits& limits);
  void add(http::Response& response, http::Field field, const http::Limits& limits);
  void add(http::Fields& trailers, http::Field field, const http::Limits& limits);

  // The head is whole: what can be judged now only.
  void finish(http::Request& request);
  void finish(http::Response& response);

  // Not kNone: it is to be refused.
  [[nodiscard]] http::Fault fault() const { return fault_; }
  [[nodiscard]] std::string_view detail() const { return detail_; }
  // So far above the limits that reading on is work for nothing: small blocks of bytes can unfold to any size (HPACK).
  [[nodiscard]] bool is_bomb(const http::Limits& limits) const;

 private:
  void refuse(http::Fault fault, std::string_view detail);
  [[nodiscard]] bool count(http::Field field, const http::Limits& limits);
  void add_pseudo(http::Request& request, http::Field field, const http::Limits& limits);
  void add_cookie(std::string_view value);
  [[nodiscard]] bool passes_underscores(std::string_view name, Underscores policy);
  void check_authority(http::Request& request);

  http::Fault fault_ = http::Fault::kNone;
  std::string_view detail_;  // a literal
  std::size_t bytes_ = 0;
  std::size_t fields_ = 0;
  std::string host_;
  std::string cookies_;
};

}  // namespace underpass::http2
