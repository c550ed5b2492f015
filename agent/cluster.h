// SPDX-License-Identifier: Apache-2.0
// The agent's part in a cluster: its connection to the API server, the objects that come from there, and Events on
// those that were refused, where their owners look.
#pragma once

#include <prometheus/metric_family.h>

#include <boost/json/value.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "agent/compile/compile.h"
#include "agent/k8s/api/api_client.h"
#include "agent/k8s/api/api_source.h"
#include "agent/k8s/api/events.h"
#include "agent/k8s/contents.h"
#include "underpass/model/objects.h"
#include "underpass/result.h"

namespace boost::asio {
class io_context;
}

namespace underpass {

class Cluster {
 public:
  struct Options {
    std::string kubeconfig;  // empty: the pod's own service account
    std::string node_name;
    std::optional<NamespacedName> daemon_set;
  };

  static Result<std::unique_ptr<Cluster>> open(boost::asio::io_context& io, const Options& options,
                                               k8s::Source::Listener listener);

  void start() { source_->start(); }
  [[nodiscard]] k8s::ApiClient& client() { return *client_; }
  // The agent's own DaemonSet is gone or going: Underpass is being removed from the cluster.
  [[nodiscard]] bool removed() const { return source_->daemon_set_removed(); }
  // Why the source has not told everything yet; nothing: it has.
  [[nodiscard]] std::optional<std::string> not_synced() const;

  // What is wrong with objects, once for each new finding.
  void report(std::span<const model::Diagnostic> news, const k8s::Contents& contents);
  // Once a second: pods that stay refused.
  void tick(const model::Snapshot& snapshot, std::span<const compile::PodStatus> pods);

  // {server, version, kinds: [{kind, path, synced, objects, lists, watches, events, staleSince, problem}]}
  [[nodiscard]] boost::json::value view() const;
  [[nodiscard]] std::vector<std::string> problems() const;
  // underpass_kubernetes_{objects,lists_total,watches_total,events_total}{kind}, underpass_kubernetes_synced{kind},
  // underpass_kubernetes_events_made_total, underpass_kubernetes_events_dropped_total
  [[nodiscard]] std::vector<prometheus::MetricFamily> collect() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Refusal {
    std::string reason;
    Clock::time_point since;
    bool told = false;
  };

  void log_version();

  std::unique_ptr<k8s::ApiClient> client_;
  std::unique_ptr<k8s::ApiSource> source_;
  std::unique_ptr<k8s::EventRecorder> events_;
  std::map<NamespacedName, Refusal> refusals_;
  std::string logged_version_;
};

}  // namespace underpass
