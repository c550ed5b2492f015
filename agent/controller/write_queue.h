// SPDX-License-Identifier: Apache-2.0
// Writes of which the last word about an object counts, a few at a time: those that fail are tried again after a while,
// those that lost a race are dropped, since the object comes again as it is then.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "agent/k8s/api/api_client.h"

namespace boost::asio {
class io_context;
}

namespace underpass::controller {

struct Write {
  std::string method;  // "PATCH"
  std::string path;
  boost::json::value body;  // null: none
};

class WriteQueue {
 public:
  struct Counts {
    std::uint64_t done = 0;
    std::uint64_t failed = 0;
    std::size_t waiting = 0;
  };

  // `io` and `client` outlive it.
  static std::unique_ptr<WriteQueue> make(boost::asio::io_context& io, k8s::ApiClient& client);
  virtual ~WriteQueue() = default;

  // In the place of what was to be written to this path and is not under way.
  virtual void put(Write write) = 0;
  virtual void drop(const std::string& path) = 0;
  [[nodiscard]] virtual Counts counts() const = 0;
  [[nodiscard]] virtual const std::string& problem() const = 0;  // of the last write; empty: it went well
};

}  // namespace underpass::controller
