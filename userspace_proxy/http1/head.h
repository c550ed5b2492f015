// SPDX-License-Identifier: Apache-2.0
// Field lines of a head or of trailers (RFC 9112 §5): read strictly, and what they say of framing and of the connection
// taken out of them, since it ends here (RFC 9110 §7.6.1). Request and status lines are read here too.
//
// Refused: no token before the colon (hence obs-fold and a space before the colon), control characters in values,
// a second Content-Length or Transfer-Encoding even if equal, a length that is not digits or does not fit 63 bits,
// both of them together, a transfer coding that is not "chunked", and a Connection that names fields which say who asks
// or how long a message is. Taken out: Connection and what it names, Keep-Alive, Proxy-Connection, Upgrade,
// HTTP2-Settings, Expect, and TE but for "trailers".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "userspace_proxy/http/codec.h"

namespace underpass::http1 {

struct Problem {
  http::Fault why = http::Fault::kNone;
  std::string_view detail;

  explicit operator bool() const { return why != http::Fault::kNone; }
};
constexpr Problem bad(std::string_view detail) { return {.why = http::Fault::kBadRequest, .detail = detail}; }

// What the fields of one head say that is not among the fields.
struct Framing {
  std::optional<std::uint64_t> content_length;
  bool chunked = false;
  bool other_coding = false;  // a transfer coding that is not "chunked"
  bool close = false;         // Connection
  bool keep_alive = false;
  bool upgrade_named = false;
  bool settings_named = false;  // HTTP2-Settings, by Connection
  bool te_trailers = false;
  bool expects_continue = false;
  std::size_t hosts = 0;
  std::string host;
  std::string upgrade;       // the first protocol of Upgrade that may become a tunnel, in lower case
  std::size_t upgrades = 0;  // protocols that Upgrade names
  bool upgrades_to_h2c = false;
  std::size_t settings = 0;  // HTTP2-Settings
  std::string http2_settings;
  std::string named;  // by Connection, in lower case, each followed by ","

  void clear();
  // To HTTP/2 and nothing else, as RFC 7540 §3.2 asks: everything once, and named by Connection.
  [[nodiscard]] bool offers_http2() const {
    return upgrades_to_h2c && upgrades == 1 && settings == 1 && upgrade_named && settings_named;
  }
};

class HeadReader {
 public:
  explicit HeadReader(const http::Limits& limits) : limits_(limits) {}

  void clear();
  // One line, not the empty one at the end.
  [[nodiscard]] Problem take(std::string_view line, http::Fields& into);
  // After the last: takes away what Connection named, which in a request may not be everything.
  [[nodiscard]] Problem finish(http::Fields& fields, bool of_request);
  // The same line in trailers: fields about framing, routing and who asks are left out (RFC 9110 §6.5.1).
  [[nodiscard]] Problem take_trailer(std::string_view line, http::Fields& into);

  [[nodiscard]] const Framing& framing() const { return framing_; }

 private:
  [[nodiscard]] Problem count_and_split(std::string_view line, http::Field& field, bool& dropped);
  [[nodiscard]] Problem take_special(int special, std::string_view value, http::Fields& into);
  [[nodiscard]] Problem take_connection(std::string_view value);

  const http::Limits& limits_;
  Framing framing_;
  std::size_t count_ = 0;
};

// Whether a field belongs to one connection or to framing, so that it is not for a codec to write among the others.
// `name` in lower case.
[[nodiscard]] bool is_of_connection(std::string_view name);

// What the target is: with an authority in it, that of Host must agree.
struct RequestLine {
  bool has_authority = false;
};
// Fills method, version, scheme, authority and path, as far as it comes.
[[nodiscard]] Problem read_request_line(std::string_view line, const http::Limits& limits, http::Request& request,
                                        RequestLine& found);
// Fills version, status and reason.
[[nodiscard]] bool read_status_line(std::string_view line, http::Response& response);

}  // namespace underpass::http1
