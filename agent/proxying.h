// SPDX-License-Identifier: Apache-2.0
// The agent's part in what goes through workers: says which pods need one, keeps the workers equal to that, and answers
// what operators ask of them.
#pragma once

#include <prometheus/metric_family.h>

#include <boost/json/object.hpp>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "agent/admin/protocol.h"
#include "agent/certificates.h"
#include "agent/compile/compile.h"
#include "agent/dataplane/dataplane.h"
#include "agent/jwks/fetcher.h"
#include "agent/workers/workers.h"
#include "underpass/model/objects.h"

namespace underpass {

class Proxying {
 public:
  // `recompile` is called when key sets of token issuers changed, or certificates.
  Proxying(boost::asio::io_context& io, workers::Options options, jwks::FetcherOptions key_sets,
           Certificates::Options certificates, const std::function<void()>& recompile)
      : fetcher_(io, std::move(key_sets), recompile),
        certificates_(io, std::move(certificates), recompile),
        workers_(io, std::move(options)) {}

  // After the tables are in force. A null dataplane: the node is detached.
  void update(const model::Snapshot& snapshot, const compile::Compiled& compiled, dataplane::Dataplane* dataplane);
  // Once a second.
  void tick() { workers_.tick(); }
  void follow_requests() { workers_.follow_requests(); }
  void expect_successor() { workers_.expect_successor(); }
  // Before the dataplane goes.
  void leave_all() { workers_.leave_all(); }

  [[nodiscard]] std::set<NetnsCookie> tunnelling() const { return workers_.tunnelling(); }
  // For `status`.
  [[nodiscard]] std::vector<std::string> problems() const;
  // What the worker of a pod was given, and how it is.
  [[nodiscard]] admin::Answer config(const boost::json::object& request,
                                     std::span<const compile::PodStatus> pods) const;
  [[nodiscard]] admin::Answer certs(const boost::json::object& request) const { return certificates_.view(request); }
  [[nodiscard]] admin::Answer rotate_root() { return certificates_.rotate_root(); }
  [[nodiscard]] std::vector<prometheus::MetricFamily> collect() const;

 private:
  compile::WorkerPlanner planner_;
  jwks::Fetcher fetcher_;
  Certificates certificates_;
  workers::Workers workers_;
};

}  // namespace underpass
