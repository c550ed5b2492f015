// SPDX-License-Identifier: Apache-2.0
// Lists and watches as they come off the wire, in pieces of any size: each object is handed out when it is complete,
// and nothing of it stays, so that neither a page's text nor its tree ever stands in memory. An object that is too
// large or nested too deep is skipped and handed out as refused, with its name; the others go on.
#pragma once

#include <boost/json/value.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "underpass/result.h"

namespace underpass::k8s {

struct ReaderLimits {
  std::size_t object_bytes = std::size_t{8} << 20;  // texts, keys, and 16 for every value: about what it takes
  std::size_t depth = 128;                          // of one object
};

// An object, and of its metadata what is needed to tell which it is before anything is decoded.
struct Received {
  boost::json::value object;  // null where it was refused
  std::string refused;        // why; empty: it was not
  std::string ns;
  std::string name;
  std::string uid;
  std::string resource_version;
  bool deleting = false;  // metadata.deletionTimestamp
};

struct ListEnvelope {
  std::string kind;  // "PodList"
  std::string api_version;
  std::string resource_version;
  std::string continue_token;  // empty: this was the last page
  std::int64_t remaining = 0;  // metadata.remainingItemCount
};

class ListReader {
 public:
  using OnObject = std::function<void(Received&&)>;

  explicit ListReader(OnObject on_object, ReaderLimits limits = {});
  ~ListReader();
  ListReader(const ListReader&) = delete;
  ListReader& operator=(const ListReader&) = delete;

  Result<void> feed(std::string_view piece);
  // After the last piece. Fails where it was cut short, or was no list: a text without items does not say that there
  // are none.
  Result<ListEnvelope> finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class WatchReader {
 public:
  // `type` as the server says it: ADDED, MODIFIED, DELETED, BOOKMARK, ERROR.
  using OnEvent = std::function<void(std::string_view type, Received&&)>;

  explicit WatchReader(OnEvent on_event, ReaderLimits limits = {});
  ~WatchReader();
  WatchReader(const WatchReader&) = delete;
  WatchReader& operator=(const WatchReader&) = delete;

  // Events are handed out as soon as they are complete, without waiting for what comes next.
  Result<void> feed(std::string_view piece);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace underpass::k8s
