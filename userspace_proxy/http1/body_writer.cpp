// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/http1/body_writer.h"

#include <array>
#include <charconv>

#include "userspace_proxy/http/chars.h"
#include "userspace_proxy/http1/head.h"

namespace underpass::http1 {

bool BodyWriter::write(std::string& out, std::string_view bytes) {
  if (bytes.empty()) return true;  // an empty chunk would be the last one
  switch (kind_) {
    case Kind::kNone:
      return false;
    case Kind::kLength:
      if (bytes.size() > left_) return false;
      left_ -= bytes.size();
      break;
    case Kind::kChunked:
      write_number(out, bytes.size(), 16);
      out += "\r\n";
      out += bytes;
      out += "\r\n";
      return true;
    case Kind::kUntilClose:
      break;
  }
  out += bytes;
  return true;
}

bool BodyWriter::end(std::string& out, const http::Fields* trailers) {
  if (kind_ == Kind::kLength) return left_ == 0;
  if (kind_ != Kind::kChunked) return true;
  out += "0\r\n";
  if (trailers != nullptr) write_fields(out, *trailers);
  out += "\r\n";
  return true;
}

void write_field(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  out += ": ";
  out += value;
  out += "\r\n";
}

void write_fields(std::string& out, const http::Fields& fields) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const auto field = fields.at(i);
    if (is_of_connection(field.name)) continue;
    // Parsers let none of these in; what policy puts in from tokens and other services must not split a message.
    if (!http::is_token(field.name) || !http::is_value(field.value)) continue;
    write_field(out, field.name, field.value);
  }
}

void write_number(std::string& out, std::uint64_t number, int base) {
  std::array<char, 20> digits;
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), number, base);
  out.append(digits.data(), end);
}

}  // namespace underpass::http1
