// SPDX-License-Identifier: Apache-2.0
// The agent's part in certificates: from the pods that speak with other nodes to what their workers are given, and what
// operators are told of it.
#pragma once

#include <prometheus/metric_family.h>

#include <boost/asio/io_context.hpp>
#include <boost/json/object.hpp>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/admin/protocol.h"
#include "agent/ca/keeper.h"
#include "agent/compile/workers.h"

namespace underpass {

// Of all pods that tunnel.
std::set<std::string> wanted_certificates(const std::map<std::string, compile::WorkerPlan>& plans);

class Certificates {
 public:
  struct Options {
    ca::KeeperOptions keeper;
    std::string remembered;  // where the next agent finds what this one has (ca/remembered.h); empty: nowhere
  };

  // `changed` is called when what fill() gives is another; never from within a call, and not after this is destroyed.
  // `io` outlives it.
  Certificates(boost::asio::io_context& io, Options options, std::function<void()> changed);
  ~Certificates();
  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;

  // In the place of what was wanted before; new ones are made at once. The authority's folder is made with the first.
  void set_wanted(const std::set<std::string>& identities);
  // The certificates of the plan's pods, as far as there are any, and the trust bundle.
  void fill(compile::WorkerPlan& plan) const;

  // For `status`.
  [[nodiscard]] std::vector<std::string> problems() const;
  // `certs`, and `rotate-root`.
  [[nodiscard]] admin::Answer view(const boost::json::object& request) const;
  [[nodiscard]] admin::Answer rotate_root();
  // underpass_certificate_expiry_seconds{identity,kind} and underpass_certificate_renewals_total{result}.
  [[nodiscard]] std::vector<prometheus::MetricFamily> collect() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace underpass
