// SPDX-License-Identifier: Apache-2.0
// What is asked of a pod and whether it can be had: label and annotations of the Pod over those of its Namespace, and
// the reasons, written for operators, for which a pod that should be in the mesh cannot be.
#pragma once

#include <optional>
#include <string>

#include "agent/compile/compile.h"
#include "underpass/model/objects.h"

namespace underpass::compile {

// A setting and where it comes from, as PodStatus shows it.
template <typename T>
struct Chosen {
  T value;
  std::string origin;
};

struct Wish {
  bool mesh = false;
  std::string why_not;  // where mesh is false
  Chosen<model::ShortCircuit> short_circuit;
  Chosen<model::ShortCircuitPeers> peers;
  Chosen<model::Capture> capture;
  Chosen<model::LocalMtls> local_mtls;
};

// `ns` is null where the snapshot has no such Namespace: then the Pod alone counts.
Wish decide_wish(const model::Pod& pod, const model::Namespace* ns, const Options& options);

// By their labels alone; `ns` as above. So it stands with pods of other nodes, where others decide what is possible.
bool is_wanted_in_mesh(const model::Pod& pod, const model::Namespace* ns);
// An address that is a pod's own, and not every pod's or nobody's.
bool is_usable(const IpAddress& ip);

// Why this pod cannot be enrolled, seen by itself; nothing if it can. `fact` is null where none was gathered.
std::optional<std::string> find_obstacle(const model::Pod& pod, const Result<NetnsFact>* fact, const Options& options);

}  // namespace underpass::compile
