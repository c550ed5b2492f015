// SPDX-License-Identifier: Apache-2.0
// How the fake API server can misbehave, and to which requests: `Fault::answer(503).at("/api/v1/pods").times(3)`.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>

namespace underpass::test {

struct FakeCall;  // of fake_api_rest.h

struct Fault {
  enum class What {
    kAnswer,      // this status, headers and body instead of the true answer
    kStatus,      // the same, with a Status object as the body where that is empty
    kForbidden,   // 403 as RBAC says it
    kGone,        // 410, in the answer
    kEmptyList,   // a list without elements; of `status`
    kReset,       // after `after` bytes of the body the connection is reset; in a watch: in the middle of an event
    kStall,       // never answered
    kDrip,        // a byte at a time
    kTail,        // `body` behind the true body
    kMoreLength,  // Content-Length is `after` too large, then the connection ends
    kLessLength,  // ... too small
    // Of watches, each after `after` events; a watch has no end then, but for those that say so.
    kErrorEvent,        // ERROR with `status`, then the end
    kEnd,               // the regular end
    kCut,               // the connection is closed without one
    kSilence,           // nothing more, while the connection lives
    kBlackHole,         // ... and the packets of the client are dropped
    kLine,              // `body` as a line of its own, then all goes on
    kDuplicates,        // each event twice
    kSwap,              // two events of one object that are due together come in the other order
    kOldBookmarks,      // an older version in each bookmark
    kModifiedNotAdded,  // what is new is MODIFIED
    kDeletedTwice,
  };
  enum class Of { kAll, kLists, kWatches, kOthers };
  static constexpr int kAlways = -1;

  What what = What::kAnswer;
  std::string path{};  // "/api/v1/pods"; empty: all
  Of of = Of::kAll;
  int left = 1;  // requests
  std::size_t after = 0;
  unsigned status = 0;
  std::multimap<std::string, std::string> headers{};
  std::string body{};

  static Fault make(What what, Of of = Of::kAll) { return {.what = what, .of = of}; }
  // A Status object, as the server itself would write it.
  static Fault answer(unsigned status) { return {.what = What::kStatus, .status = status}; }
  // Something else that came from a proxy on the way.
  static Fault text(unsigned status, std::string type, std::string body) {
    Fault fault{.what = What::kAnswer, .status = status, .body = std::move(body)};
    return std::move(fault).header("Content-Type", std::move(type));
  }
  static Fault too_many_requests(int retry_after_s) {
    return answer(429).header("Retry-After", std::to_string(retry_after_s));
  }
  static Fault forbidden() { return make(What::kForbidden); }
  static Fault gone() { return make(What::kGone); }
  static Fault empty_list(unsigned status) { return {.what = What::kEmptyList, .of = Of::kLists, .status = status}; }
  static Fault reset_after(std::size_t bytes) { return {.what = What::kReset, .after = bytes}; }
  static Fault stall() { return make(What::kStall); }
  static Fault drip() { return make(What::kDrip); }
  // One of a watch, after so many events.
  static Fault watch(What what, std::size_t after = 0) { return {.what = what, .of = Of::kWatches, .after = after}; }
  static Fault error_event(unsigned status, std::size_t after = 0) {
    return {.what = What::kErrorEvent, .of = Of::kWatches, .after = after, .status = status};
  }
  static Fault line(std::string text, std::size_t after = 0) {
    return {.what = What::kLine, .of = Of::kWatches, .after = after, .body = std::move(text)};
  }

  [[nodiscard]] Fault at(std::string where) && { return path = std::move(where), std::move(*this); }
  [[nodiscard]] Fault times(int count) && { return left = count, std::move(*this); }
  [[nodiscard]] Fault always() && { return std::move(*this).times(kAlways); }
  [[nodiscard]] Fault lists() && { return of = Of::kLists, std::move(*this); }
  [[nodiscard]] Fault watches() && { return of = Of::kWatches, std::move(*this); }
  [[nodiscard]] Fault header(std::string name, std::string value) && {
    return headers.emplace(std::move(name), std::move(value)), std::move(*this);
  }

  [[nodiscard]] bool applies_to(const FakeCall& call) const;
};

}  // namespace underpass::test
