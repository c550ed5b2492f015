// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/jwt/json.h"

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <cstdint>

namespace underpass::jwt {
namespace json = boost::json;
using json::error_code;

namespace {

json::parse_options options() {
  json::parse_options options;
  options.max_depth = kMaxJsonDepth;
  return options;
}

// Counts the members of all objects as they are written.
struct WrittenMembers {
  static constexpr std::size_t max_object_size = -1;
  static constexpr std::size_t max_array_size = -1;
  static constexpr std::size_t max_key_size = -1;
  static constexpr std::size_t max_string_size = -1;

  std::size_t count = 0;

  static bool on_document_begin(error_code& /*error*/) { return true; }
  static bool on_document_end(error_code& /*error*/) { return true; }
  static bool on_object_begin(error_code& /*error*/) { return true; }
  bool on_object_end(std::size_t members, error_code& /*error*/) {
    count += members;
    return true;
  }
  static bool on_array_begin(error_code& /*error*/) { return true; }
  static bool on_array_end(std::size_t /*size*/, error_code& /*error*/) { return true; }
  static bool on_key_part(json::string_view /*text*/, std::size_t /*size*/, error_code& /*error*/) { return true; }
  static bool on_key(json::string_view /*text*/, std::size_t /*size*/, error_code& /*error*/) { return true; }
  static bool on_string_part(json::string_view /*text*/, std::size_t /*size*/, error_code& /*error*/) { return true; }
  static bool on_string(json::string_view /*text*/, std::size_t /*size*/, error_code& /*error*/) { return true; }
  static bool on_number_part(json::string_view /*text*/, error_code& /*error*/) { return true; }
  static bool on_int64(std::int64_t /*number*/, json::string_view /*text*/, error_code& /*error*/) { return true; }
  static bool on_uint64(std::uint64_t /*number*/, json::string_view /*text*/, error_code& /*error*/) { return true; }
  static bool on_double(double /*number*/, json::string_view /*text*/, error_code& /*error*/) { return true; }
  static bool on_bool(bool /*truth*/, error_code& /*error*/) { return true; }
  static bool on_null(error_code& /*error*/) { return true; }
  static bool on_comment_part(json::string_view /*text*/, error_code& /*error*/) { return true; }
  static bool on_comment(json::string_view /*text*/, error_code& /*error*/) { return true; }
};

// ... and as they were kept. Its depth is that of the text, which was bounded.
std::size_t kept_members(const json::value& value) {
  std::size_t count = 0;
  if (const auto* object = value.if_object()) {
    count = object->size();
    for (const auto& [name, member] : *object) count += kept_members(member);
  } else if (const auto* array = value.if_array()) {
    for (const auto& element : *array) count += kept_members(element);
  }
  return count;
}

}  // namespace

Result<json::object> parse_object(std::string_view text) {
  error_code error;
  auto value = json::parse({text.data(), text.size()}, error, {}, options());
  if (error) return fail("not JSON: " + error.message());
  if (!value.is_object()) return fail("not an object");

  json::basic_parser<WrittenMembers> written(options());
  written.write_some(false, text.data(), text.size(), error);
  if (error) return fail("not JSON: " + error.message());
  if (written.handler().count != kept_members(value)) return fail("a member is there twice");
  return std::move(value.get_object());
}

}  // namespace underpass::jwt
