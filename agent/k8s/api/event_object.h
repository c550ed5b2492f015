// SPDX-License-Identifier: Apache-2.0
// The object that an Event is, as the API server takes it. Pure.
#pragma once

#include <boost/json/value.hpp>
#include <chrono>
#include <string>
#include <string_view>

#include "agent/k8s/api/events.h"

namespace underpass::k8s {

struct EventObject {
  std::string path;  // to POST it to
  boost::json::value body;
};

EventObject make_event(const EventSubject& subject, const std::string& reason, const std::string& note,
                       const std::string& node, std::chrono::system_clock::time_point now);

// At most so many bytes, and no half of a character at the end.
std::string cut(std::string_view text, std::size_t bytes);

}  // namespace underpass::k8s
