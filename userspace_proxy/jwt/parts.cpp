// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/jwt/parts.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <cmath>

#include "userspace_proxy/jwt/base64url.h"
#include "userspace_proxy/jwt/json.h"

namespace underpass::jwt {
namespace json = boost::json;

namespace {

using Problem = std::optional<Refusal>;

constexpr std::string_view kBadForm = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections";
constexpr double kMaxSeconds = 9.2e18;  // what 64 bits with a sign can hold

Problem refuse(std::string_view message, std::string cause = "") {
  return Refusal{.message = message, .cause = std::move(cause)};
}

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

// False: it is there, and no string.
bool read_string(const json::object& object, std::string_view name, std::optional<std::string>& into) {
  const auto* value = object.if_contains({name.data(), name.size()});
  if (value == nullptr) return true;
  const auto* text = value->if_string();
  if (text != nullptr) into = view(*text);
  return text != nullptr;
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

// RFC 7515 §4.1: what a header may not ask for.
Problem check_extensions(const json::object& header) {
  constexpr std::string_view kBad = "Jwt verification fails";
  if (header.contains("crit")) return refuse(kBad, "header: crit names extensions, of which none is known");
  if (const auto* b64 = header.if_contains("b64"); b64 != nullptr && *b64 != json::value(true))
    return refuse(kBad, "header: b64 is not true");
  if (header.contains("enc")) return refuse(kBad, "header: enc: an encrypted token");
  std::optional<std::string> cty;
  if (!read_string(header, "cty", cty)) return refuse(kBad, "header: cty is not a string");
  if (cty && (equals_ignoring_case(*cty, "JWT") || equals_ignoring_case(*cty, "application/jwt")))
    return refuse(kBad, "header: cty: a nested token");
  return std::nullopt;
}

Problem read_header(std::string_view text, Parts& parts) {
  const auto decoded = decode_base64url(text);
  if (!decoded) return refuse("Jwt header is an invalid Base64url encoded");
  const auto header = parse_object(*decoded);
  if (!header) return refuse("Jwt header is an invalid JSON", "header: " + header.error().message);
  std::optional<std::string> alg;
  if (!read_string(*header, "alg", alg) || !alg)
    return refuse("Jwt header [alg] field is required and must be a string");
  parts.algorithm = find_algorithm(*alg);
  if (parts.algorithm == nullptr) return refuse("Jwt header [alg] is not supported");
  if (!read_string(*header, "kid", parts.kid)) return refuse("Jwt header [kid] field is not a string");
  return check_extensions(*header);
}

struct DateWords {
  const char* name;
  std::string_view no_number;
  std::string_view out_of_range;
};
constexpr DateWords kIat{.name = "iat",
                         .no_number = "Jwt payload [iat] field is not an integer",
                         .out_of_range = "Jwt payload [iat] field is not a positive 64 bit integer"};
constexpr DateWords kNbf{.name = "nbf",
                         .no_number = "Jwt payload [nbf] field is not an integer",
                         .out_of_range = "Jwt payload [nbf] field is not a positive 64 bit integer"};
constexpr DateWords kExp{.name = "exp",
                         .no_number = "Jwt payload [exp] field is not an integer",
                         .out_of_range = "Jwt payload [exp] field is not a positive 64 bit integer"};

// RFC 7519 §2, NumericDate: a number, which may have a fraction.
Problem read_date(const json::object& payload, const DateWords& words, std::optional<double>& into) {
  const auto* value = payload.if_contains(words.name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) return refuse(words.no_number);
  json::error_code error;
  const auto seconds = value->to_number<double>(error);
  if (error || !std::isfinite(seconds) || seconds < 0 || seconds > kMaxSeconds) return refuse(words.out_of_range);
  into = seconds;
  return std::nullopt;
}

bool read_audiences(const json::object& payload, std::vector<std::string>& into) {
  const auto* value = payload.if_contains("aud");
  if (value == nullptr) return true;
  if (const auto* one = value->if_string()) {
    into.emplace_back(view(*one));
    return true;
  }
  const auto* list = value->if_array();
  if (list == nullptr || !std::ranges::all_of(*list, [](const json::value& each) { return each.is_string(); }))
    return false;
  for (const auto& each : *list) into.emplace_back(view(each.get_string()));
  return true;
}

Problem read_dates(const json::object& payload, Lifetime& lifetime) {
  std::optional<double> issued;  // read for its form alone: a clock that is ahead is nbf's business
  if (auto problem = read_date(payload, kIat, issued)) return problem;
  if (auto problem = read_date(payload, kNbf, lifetime.not_before)) return problem;
  return read_date(payload, kExp, lifetime.expires);
}

Problem read_payload(std::string_view text, Parts& parts) {
  const auto decoded = decode_base64url(text);
  if (!decoded) return refuse("Jwt payload is an invalid Base64url encoded");
  auto payload = parse_object(*decoded);
  if (!payload) return refuse("Jwt payload is an invalid JSON", "payload: " + payload.error().message);
  auto claims = std::make_shared<Claims>();
  std::optional<std::string> issuer;
  std::optional<std::string> subject;
  std::optional<std::string> presenter;
  if (!read_string(*payload, "iss", issuer)) return refuse("Jwt payload [iss] field is not a string");
  if (!read_string(*payload, "sub", subject)) return refuse("Jwt payload [sub] field is not a string");
  if (auto problem = read_dates(*payload, parts.lifetime)) return problem;
  if (!read_audiences(*payload, claims->audiences))
    return refuse("Jwt payload [aud] field is not a string or string list");
  // Of azp nothing is asked: one that is no string is nobody's name.
  if (read_string(*payload, "azp", presenter)) claims->presenter = presenter.value_or("");
  parts.issuer = issuer.value_or("");
  if (!parts.issuer.empty() && subject && !subject->empty())
    claims->principal = parts.issuer + kPrincipalSeparator + *subject;
  claims->all = std::move(*payload);
  parts.claims = std::move(claims);
  return std::nullopt;
}

}  // namespace

std::optional<Refusal> Lifetime::problem_at(double now) const {
  const auto skew = static_cast<double>(kSkew.count());
  if (not_before && *not_before > now + skew) return refuse("Jwt not yet valid");
  if (expires && *expires < now - skew) return refuse("Jwt is expired");
  return std::nullopt;
}

std::expected<Parts, Refusal> take_apart(std::string_view token) {
  const auto bad = [](std::optional<Refusal> refusal) { return std::unexpected(std::move(*refusal)); };
  if (token.size() > kMaxToken) return bad(refuse(kBadForm, "longer than " + std::to_string(kMaxToken) + " bytes"));
  if (std::ranges::count(token, '.') != 2) return bad(refuse(kBadForm));
  const auto first = token.find('.');
  const auto second = token.find('.', first + 1);
  Parts parts{.signed_text = token.substr(0, second), .payload = token.substr(first + 1, second - first - 1)};
  if (auto problem = read_header(token.substr(0, first), parts)) return bad(std::move(problem));
  if (auto problem = read_payload(parts.payload, parts)) return bad(std::move(problem));
  auto signature = decode_base64url(token.substr(second + 1));
  if (!signature) return bad(refuse("Jwt signature is an invalid Base64url encoded"));
  parts.signature = std::move(*signature);
  return parts;
}

}  // namespace underpass::jwt
