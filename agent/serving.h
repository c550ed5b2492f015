// SPDX-License-Identifier: Apache-2.0
// The agent's part in Services: compiles what the objects say, keeps the kernel's tables equal to it, follows the
// traffic through them, and answers what operators ask of it.
#pragma once

#include <prometheus/metric_family.h>

#include <boost/json/object.hpp>
#include <span>
#include <string>
#include <vector>

#include "agent/admin/flow_log.h"
#include "agent/admin/protocol.h"
#include "agent/compile/remotes.h"
#include "agent/compile/services.h"
#include "agent/dataplane/dataplane.h"
#include "agent/metrics.h"
#include "agent/request_meter.h"
#include "agent/traffic_meter.h"
#include "underpass/model/objects.h"
#include "underpass/worker_protocol.h"

namespace underpass {

class Serving {
 public:
  // `remotes` lives longer, and is up to date whenever this is called.
  Serving(std::string node_name, compile::MissingSlices missing_slices, const compile::RemoteCompiler& remotes)
      : node_name_(std::move(node_name)), compiler_(missing_slices), remotes_(remotes) {}

  // After each new snapshot, and when there is another dataplane; null: the node is detached. `changes`: since the last
  // update.
  void update(const model::Snapshot& snapshot, const model::Changes& changes, dataplane::Dataplane* dataplane);
  // Once a second, and before somebody looks.
  void tick(dataplane::Dataplane& dataplane, std::span<const compile::PodStatus> pods, const model::Snapshot& snapshot,
            std::span<const up_flow> flows);

  // After each new state of the objects, so that what a worker says of a pod that has just come is believed.
  void note_pods(std::span<const compile::PodStatus> pods, const model::Snapshot& snapshot);
  // What the worker of that name says.
  void hear(const std::string& worker, const worker::Metrics& message, const dataplane::Dataplane& dataplane);
  void hear(const std::string& worker, worker::Requests message);

  // What is in force less than the objects ask for, and what soon may be: for `status`.
  [[nodiscard]] std::vector<std::string> problems() const;

  [[nodiscard]] admin::Answer services(const model::Snapshot& snapshot) const;
  [[nodiscard]] admin::Answer explain(const boost::json::object& request, const model::Snapshot& snapshot,
                                      std::span<const compile::PodStatus> pods,
                                      const dataplane::Dataplane* dataplane) const;
  [[nodiscard]] admin::Answer flows(const boost::json::object& request, std::span<const compile::PodStatus> pods,
                                    const dataplane::Dataplane* dataplane) const;

  void describe(MetricsInput& metrics) const;
  [[nodiscard]] std::vector<prometheus::MetricFamily> collect() const;

 private:
  std::string node_name_;
  compile::ServiceCompiler compiler_;
  const compile::RemoteCompiler& remotes_;
  std::string trust_domain_;
  std::vector<std::string> errors_;
  std::vector<std::string> full_;  // "up_backends is 93 % full (…)"
  std::vector<model::Diagnostic> logged_;
  admin::FlowLog flow_log_;
  TrafficMeter meter_;
  RequestMeter request_meter_;
  std::uint64_t request_flows_lost_ = 0;
};

// The names of numbers in the maps; empty without a dataplane.
admin::ServiceName service_names(const dataplane::Dataplane* dataplane);

}  // namespace underpass
