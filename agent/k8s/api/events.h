// SPDX-License-Identifier: Apache-2.0
// Kubernetes Events, where operators look first (`kubectl describe`). The same Event is made once, whichever node sees
// the reason: its name follows from what it says, so that of a hundred agents one makes it. Made at most so many a
// second; what is over that is dropped and counted, since Events are news and not state.
//
// They are made as events.k8s.io/v1, not v1: the same objects and what `kubectl describe` shows, but the API server
// checks them (a note that is too long, a reporter that is missing) instead of keeping anything. The right that is
// needed is to create events.events.k8s.io.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "agent/k8s/api/api_client.h"
#include "underpass/ids.h"

namespace underpass::k8s {

struct EventSubject {
  std::string api_version;  // "security.istio.io/v1"
  std::string kind;
  NamespacedName id;  // ns is empty for cluster-scoped ones
  std::string uid;
};

class EventRecorder {
 public:
  // `node`: who reports. `client` outlives it.
  // At most 25 in a burst and one a second.
  static std::unique_ptr<EventRecorder> make(ApiClient& client, std::string node);
  virtual ~EventRecorder() = default;

  // A Warning. `reason` is CamelCase ("Refused"), `note` the sentence (cut to the 1,024 bytes that the API allows).
  virtual void warn(const EventSubject& subject, const std::string& reason, const std::string& note) = 0;

  [[nodiscard]] virtual std::uint64_t made() const = 0;
  [[nodiscard]] virtual std::uint64_t dropped() const = 0;
  [[nodiscard]] virtual std::string problem() const = 0;  // the last failure; empty after a success
};

}  // namespace underpass::k8s
