// SPDX-License-Identifier: Apache-2.0
// curl as a client of the fake API server: a peer that knows nothing of ours.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <vector>

#include "test/support/fake_api.h"
#include "test/support/process.h"

namespace underpass::fake {

struct CurlAnswer {
  int exit = 0;      // of curl: 0 where the answer was whole
  int status = 0;    // HTTP
  std::string head;  // status line and headers
  std::string body;

  [[nodiscard]] boost::json::value json() const;
  [[nodiscard]] bool has_header(const std::string& line) const { return head.find(line) != std::string::npos; }
};

using Options = std::vector<std::string>;

inline const Options kNoOptions{};

// With "token-1", unless the options bring their own Authorization or certificate. A path with a query.
test::Command curl_command(const test::FakeApi& api, const std::string& target, const Options& options = {});
CurlAnswer curl(const test::FakeApi& api, const std::string& target, const Options& options = {});

// The events of a watch that curl has seen so far, one JSON value a line.
std::vector<boost::json::value> events_in(const std::string& out);
// "ADDED web 1001".
std::string show_event(const boost::json::value& event);

}  // namespace underpass::fake
