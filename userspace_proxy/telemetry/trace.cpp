// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/telemetry/trace.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>

namespace underpass::telemetry {
namespace {

constexpr std::string_view kTraceParent = "traceparent";
constexpr std::string_view kTraceState = "tracestate";
constexpr std::string_view kB3 = "b3";
constexpr std::string_view kB3Trace = "x-b3-traceid";
constexpr std::string_view kB3Span = "x-b3-spanid";
constexpr std::string_view kB3Parent = "x-b3-parentspanid";
constexpr std::string_view kB3Sampled = "x-b3-sampled";
constexpr std::string_view kB3Flags = "x-b3-flags";
constexpr std::string_view kRequestId = "x-request-id";
constexpr std::size_t kTraceDigits = 32;
constexpr std::size_t kSpanDigits = 16;
constexpr std::size_t kTraceParentBytes = 55;
constexpr std::size_t kLongestRequestId = 128;
constexpr std::size_t kLongestTraceState = 8192;  // of which 512 must be handed on (W3C §3.3.1.5)

bool is_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}
bool is_zero(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

bool is_id(std::string_view text, std::size_t digits) {
  return text.size() == digits && is_hex(text) && !is_zero(text);
}
// Of B3 a trace id may be 64 bits long.
bool is_b3_trace(std::string_view text) { return is_id(text, kTraceDigits) || is_id(text, kSpanDigits); }

std::string widened(std::string_view trace_id) {
  return std::string(kTraceDigits - trace_id.size(), '0') + std::string(trace_id);
}

char* put_hex(char* out, std::uint64_t number) {
  constexpr std::string_view kHex = "0123456789abcdef";
  for (int shift = 60; shift >= 0; shift -= 4) *out++ = kHex[(number >> shift) & 15U];
  return out;
}

// A trace id, or a span id, which are not 0.
std::string new_id(Dice& dice, std::size_t digits) {
  std::string out(digits, '0');
  for (std::size_t at = 0; at < digits; at += kSpanDigits) put_hex(out.data() + at, dice.roll() | 1U);
  return out;
}

std::string new_uuid(Dice& dice) {
  std::array<char, kTraceDigits> digits{};
  char* const half = put_hex(digits.data(), (dice.roll() & ~0xf000ULL) | 0x4000ULL);
  put_hex(half, (dice.roll() & ~(3ULL << 62)) | (2ULL << 62));
  std::string out;
  out.reserve(digits.size() + 4);
  for (std::size_t at = 0; at < digits.size(); ++at) {
    if (at == 8 || at == 12 || at == 16 || at == 20) out += '-';
    out += digits[at];
  }
  return out;
}

std::string to_text(const TraceParent& parent) {
  std::string out;
  out.reserve(kTraceParentBytes);
  out += "00-";
  out += parent.trace_id;
  out += '-';
  out += parent.span_id;
  out += parent.sampled ? "-01" : "-00";
  return out;
}

// The one field of that name: where there are several nobody knows which one others take.
std::optional<std::string_view> only(const http::Fields& fields, std::string_view name) {
  return fields.count(name) == 1 ? fields.find(name) : std::nullopt;
}

bool has_b3(const http::Fields& fields) {
  return std::ranges::any_of(std::array{kB3, kB3Trace, kB3Span, kB3Parent, kB3Sampled, kB3Flags},
                             [&](std::string_view name) { return fields.count(name) != 0; });
}

void remove_b3(http::Fields& fields) {
  for (const auto name : {kB3, kB3Trace, kB3Span, kB3Parent, kB3Sampled, kB3Flags}) fields.remove(name);
}

struct Context {
  bool good = true;
  std::optional<TraceParent> parent;  // none of a decision without a trace
};

bool is_decision(std::string_view text) { return text == "0" || text == "1" || text == "d"; }

// The headers x-b3-…: both ids or none; older senders write decisions as words.
Context b3_of_many(const http::Fields& fields) {
  const Context bad{.good = false, .parent = {}};
  for (const auto name : {kB3Trace, kB3Span, kB3Parent, kB3Sampled, kB3Flags})
    if (fields.count(name) > 1) return bad;
  const auto sampled = fields.find(kB3Sampled);
  const auto flags = fields.find(kB3Flags);
  if (sampled && *sampled != "0" && *sampled != "1" && *sampled != "true" && *sampled != "false") return bad;
  if (flags && *flags != "0" && *flags != "1") return bad;
  const auto trace_id = fields.find(kB3Trace);
  const auto span_id = fields.find(kB3Span);
  const auto parent_id = fields.find(kB3Parent);
  if (!trace_id && !span_id && !parent_id) return {};
  if (!trace_id || !span_id || !is_b3_trace(*trace_id) || !is_id(*span_id, kSpanDigits)) return bad;
  if (parent_id && !is_id(*parent_id, kSpanDigits)) return bad;
  const bool keep = (sampled && (*sampled == "1" || *sampled == "true")) || (flags && *flags == "1");
  return {.good = true,
          .parent = TraceParent{.trace_id = widened(*trace_id), .span_id = std::string(*span_id), .sampled = keep}};
}

Context b3_of(const http::Fields& fields) {
  if (fields.count(kB3) == 0) return b3_of_many(fields);
  const auto value = only(fields, kB3);
  if (!value) return {.good = false, .parent = {}};
  if (is_decision(*value)) return b3_of_many(fields);
  auto parent = parse_b3(*value);
  const bool good = parent.has_value() && b3_of_many(fields).good;
  return {.good = good, .parent = std::move(parent)};
}

std::string settle_request_id(http::Fields& fields, Dice& dice) {
  if (const auto id = only(fields, kRequestId); id && !id->empty() && id->size() <= kLongestRequestId &&
                                                std::ranges::all_of(*id, [](char c) { return c > ' ' && c < 0x7f; }))
    return std::string(*id);
  const std::string id = new_uuid(dice);
  fields.set(kRequestId, id);
  return id;
}

// Of the fields tracestate there may be several (§3.3.1.1); what is in them is others' business.
void settle_trace_state(http::Fields& fields) {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < fields.size(); ++i)
    if (const auto field = fields.at(i); field.name == kTraceState) bytes += field.value.size();
  if (bytes > kLongestTraceState) fields.remove(kTraceState);
}

}  // namespace

std::optional<TraceParent> parse_traceparent(std::string_view value) {
  constexpr std::size_t kWhole = kTraceParentBytes;
  if (value.size() < kWhole || value[2] != '-' || value[35] != '-' || value[52] != '-') return std::nullopt;
  const auto version = value.substr(0, 2);
  const auto trace_id = value.substr(3, kTraceDigits);
  const auto span_id = value.substr(36, kSpanDigits);
  const auto flags = value.substr(53, 2);
  if (!is_hex(version) || version == "ff" || !is_id(trace_id, kTraceDigits) || !is_id(span_id, kSpanDigits) ||
      !is_hex(flags))
    return std::nullopt;
  if (value.size() > kWhole && (version == "00" || value[kWhole] != '-')) return std::nullopt;
  const bool sampled = std::string_view("13579bdf").contains(flags[1]);
  return TraceParent{.trace_id = std::string(trace_id), .span_id = std::string(span_id), .sampled = sampled};
}

std::optional<TraceParent> parse_b3(std::string_view value) {
  const auto next = [&value] {
    const auto end = std::min(value.find('-'), value.size());
    const auto part = value.substr(0, end);
    value.remove_prefix(std::min(end + 1, value.size()));
    return part;
  };
  if (value.ends_with('-')) return std::nullopt;
  const auto trace_id = next();
  const auto span_id = next();
  if (!is_b3_trace(trace_id) || !is_id(span_id, kSpanDigits)) return std::nullopt;
  const auto decision = next();
  if (!decision.empty() && !is_decision(decision)) return std::nullopt;
  const bool has_parent = !value.empty();
  if (has_parent && (decision.empty() || !is_id(value, kSpanDigits))) return std::nullopt;
  return TraceParent{
      .trace_id = widened(trace_id), .span_id = std::string(span_id), .sampled = decision == "1" || decision == "d"};
}

Dice::Dice() : state_{} {
  ssize_t got = 0;
  do {
    got = ::getrandom(state_.data(), sizeof(state_), 0);
  } while (got < 0 && errno == EINTR);
  // Does not fail on a kernel that has BPF; ids would only be easier to guess.
  if (got != static_cast<ssize_t>(sizeof(state_)))
    state_ = {static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()), 1, 2, 3};
}

// https://prng.di.unimi.it/, xoshiro256** 1.0.
std::uint64_t Dice::roll() {
  auto& s = state_;
  const std::uint64_t result = std::rotl(s[1] * 5, 7) * 9;
  const std::uint64_t shifted = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= shifted;
  s[3] = std::rotl(s[3], 45);
  return result;
}

TraceIds trace(http::Fields& fields, Dice& dice) {
  TraceIds out{.request_id = settle_request_id(fields, dice), .trace_id = {}};
  Context b3;
  if (has_b3(fields)) {
    b3 = b3_of(fields);
    if (!b3.good) remove_b3(fields);
  }
  std::optional<TraceParent> parent;
  if (const auto value = only(fields, kTraceParent)) parent = parse_traceparent(*value);
  if (parent) {
    settle_trace_state(fields);
  } else {
    fields.remove(kTraceState);
    parent = b3.good ? std::move(b3.parent) : std::nullopt;
    if (!parent) parent = TraceParent{.trace_id = new_id(dice, kTraceDigits), .span_id = new_id(dice, kSpanDigits)};
    fields.set(kTraceParent, to_text(*parent));
  }
  out.trace_id = std::move(parent->trace_id);
  return out;
}

}  // namespace underpass::telemetry
