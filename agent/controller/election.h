// SPDX-License-Identifier: Apache-2.0
// Who of several controllers works: whoever holds the Lease (coordination.k8s.io/v1), as client-go's leader election
// has it. No clock but one's own is compared with: a Lease that did not change for its own duration, as we saw it, is
// free. A leader that could not renew stops before others may take over. Pure; who has a client reads and writes.
#pragma once

#include <boost/json/value.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "underpass/ids.h"

namespace underpass::controller {

struct ElectionTerms {
  NamespacedName lease;
  std::string identity;                   // ours, of no other process: the pod's name and something random
  std::chrono::seconds duration{15};      // for which others leave a renewed Lease alone
  std::chrono::seconds renew_within{10};  // a leader that did not get it renewed for so long is none any more
};

class Election {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using WallTime = std::chrono::system_clock::time_point;

  explicit Election(ElectionTerms terms) : terms_(std::move(terms)) {}

  // `found`: the Lease as the API server has it now; null: there is none. What to write, to be POSTed where there is
  // none and else PUT, so that of two who write one is refused; nothing while another holds it.
  std::optional<boost::json::value> answer(const boost::json::value& found, Time now, WallTime wall);
  // The write that answer() told of, begun at `began`, was done; or not, so that the Lease is to be read again.
  void wrote(bool done, Time began);
  // As `found` with nobody as its holder, if it is ours: the next one need not wait.
  [[nodiscard]] std::optional<boost::json::value> release(const boost::json::value& found, WallTime wall) const;

  [[nodiscard]] bool leads(Time now) const { return renewed_ && now - *renewed_ < terms_.renew_within; }
  // As last seen; empty: nobody.
  [[nodiscard]] const std::string& holder() const { return seen_.holder; }

 private:
  struct Spec {
    std::string version;  // metadata.resourceVersion: another after each write
    std::string holder;
    std::string renewed;   // renewTime, as text
    std::string acquired;  // acquireTime
    std::int64_t transitions = 0;
    std::chrono::seconds duration{};

    bool operator==(const Spec&) const = default;
  };

  [[nodiscard]] static Spec read(const boost::json::value& found);
  [[nodiscard]] boost::json::value lease(const boost::json::value& found, const Spec& spec) const;

  ElectionTerms terms_;
  Spec seen_;
  Time seen_since_;  // when it became what it is
  std::optional<Time> renewed_;
};

}  // namespace underpass::controller
