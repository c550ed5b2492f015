// SPDX-License-Identifier: Apache-2.0
// Takes part in the election (election.h) by the API server: reads the Lease every two seconds, and writes it where it
// may. The term ends by this process' own clock, also while the API server does not answer.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "agent/controller/election.h"
#include "agent/k8s/api/api_client.h"

namespace boost::asio {
class io_context;
}

namespace underpass::controller {

class Leader {
 public:
  struct Hooks {
    std::function<void()> begins;  // the term
    std::function<void()> ends;
  };

  static std::unique_ptr<Leader> make(boost::asio::io_context& io, k8s::ApiClient& client, ElectionTerms terms,
                                      Hooks hooks);
  // No hook is called any more.
  virtual ~Leader() = default;

  virtual void start() = 0;
  // Ends the term and gives the Lease back, so that the next need not wait; `done` is called once.
  virtual void resign(std::function<void()> done) = 0;

  [[nodiscard]] virtual bool leads() const = 0;
  [[nodiscard]] virtual const std::string& holder() const = 0;   // as last seen; empty: nobody
  [[nodiscard]] virtual const std::string& problem() const = 0;  // of the last try; empty: none
};

}  // namespace underpass::controller
