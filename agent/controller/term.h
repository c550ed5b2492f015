// SPDX-License-Identifier: Apache-2.0
// All that the leader does, from when its term begins to when it ends: it signs, keeps the authority, writes what is
// made of policies into their status, and removes NodeWorkloads of nodes that are gone. Nothing of it outlives a term,
// so a new leader begins with what the API server says and nothing else.
#pragma once

#include <prometheus/metric_family.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/controller/cluster_authority.h"
#include "agent/k8s/api/api_client.h"
#include "agent/k8s/api/api_source.h"
#include "underpass/ids.h"

namespace boost::asio {
class io_context;
}

namespace underpass::controller {

struct TermOptions {
  AuthorityOptions authority;
  std::string agents;  // the user that agents are: "system:serviceaccount:underpass-system:underpass-agent"
  std::chrono::seconds longest_certificate = std::chrono::hours(24);
};

class Term {
 public:
  // `io` and `client` outlive it.
  static std::unique_ptr<Term> begin(boost::asio::io_context& io, k8s::ApiClient& client, const TermOptions& options);
  virtual ~Term() = default;

  // Why it cannot do its work; nothing: it does.
  [[nodiscard]] virtual std::optional<std::string> problem() const = 0;
  // underpass_controller_certificate_requests_total{result}, underpass_controller_certificate_requests_waiting,
  // underpass_controller_writes_total{result}, underpass_certificate_expiry_seconds of roots and of what signs,
  // underpass_kubernetes_{objects,events_total}{kind}
  [[nodiscard]] virtual std::vector<prometheus::MetricFamily> collect() const = 0;
};

}  // namespace underpass::controller
