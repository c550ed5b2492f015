// SPDX-License-Identifier: Apache-2.0
// Tells the other nodes' agents which pods of this one take HBONE, as NodeWorkloads (server-side apply). A pod is told
// of when its worker listens with a certificate, and from then on as long as it is in the mesh, whatever becomes of the
// worker: nobody is woken for what does not last.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/k8s/api/api_client.h"
#include "agent/k8s/api/backoff.h"
#include "underpass/ids.h"
#include "underpass/model/objects.h"

namespace underpass {

// An enrolled pod of this node.
struct Publishable {
  model::WorkloadClaim claim;
  bool ready = false;  // its worker takes tunnels
};

// What is to stand in each shard; pure. An empty one is not to be there.
class Shards {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Wanted = std::map<std::uint32_t, std::vector<model::WorkloadClaim>>;

  // So long a pod may be without an enrolment and still be told of: while an agent starts, say.
  static constexpr std::chrono::seconds kPatience{5};

  // `present`: what this node's shards say now, by shard.
  Wanted want(const std::vector<Publishable>& pods, const Wanted& present, Time now);

 private:
  std::map<std::string, Time> missing_;  // UIDs that are told of and not enrolled, since when
};

class Publishing {
 public:
  // `client` outlives it.
  Publishing(k8s::ApiClient& client, std::string node_name);
  ~Publishing();
  Publishing(const Publishing&) = delete;
  Publishing& operator=(const Publishing&) = delete;

  // Whenever one of the two may be another, and once a second.
  void update(const model::Snapshot& snapshot, const std::vector<Publishable>& pods);
  // This node's are taken away, since Underpass is; `done` is called once, also where that does not work.
  void withdraw(const model::Snapshot& snapshot, std::function<void()> done);

  [[nodiscard]] const std::string& problem() const;  // of the last write; empty: it went well
  [[nodiscard]] std::uint64_t writes() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace underpass
