// SPDX-License-Identifier: Apache-2.0
// `--source kubernetes`: the objects of a cluster's API server, listed and then watched (Kubernetes API Concepts,
// "Efficient detection of changes"). Kinds that the cluster does not have are left out, and taken up when their
// CustomResourceDefinition is installed. What it has is told whole, and for the first time when all kinds were listed,
// so that no policy is missing from what is first put in force. When the API server goes, all it had is kept, and the
// contents say so.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/k8s/api/api_client.h"
#include "agent/k8s/api/backoff.h"
#include "agent/k8s/source.h"
#include "underpass/ids.h"
#include "underpass/result.h"

namespace boost::asio {
class io_context;
}

namespace underpass::k8s {

// How often and how long; the defaults are for clusters.
struct ApiTuning {
  BackoffLimits backoff = {};
  std::size_t page = 500;                         // objects in one answer to a list
  std::chrono::seconds watch_least{300};          // a watch is asked to end after a random time from here
  std::chrono::seconds watch_most{600};           // ... to here, and
  std::chrono::milliseconds watch_grace{30'000};  // is given up when the server has not ended it so long after that
  // A watch that says nothing for so long is made anew: API servers send a bookmark a minute, so this one hangs, or
  // there is nothing, and then it costs one request.
  std::chrono::milliseconds watch_silence{150'000};
  std::chrono::milliseconds settle{50};           // a burst of changes is over when nothing happened for so long
  std::chrono::milliseconds settle_most{500};     // ... and is told after so long in any case
  std::chrono::milliseconds stale_after{5'000};   // a kind is lost when it was neither watched nor listed for so long
  std::chrono::milliseconds absent_poll{60'000};  // for kinds that are not there, where definitions may not be watched
};

struct ApiSourceOptions {
  // The agent's own DaemonSet, to learn at the end whether it is being removed; without it nobody is asked.
  std::optional<NamespacedName> daemon_set;
  ApiTuning tuning = {};
};

// How far one kind is.
struct KindState {
  std::string kind;     // "AuthorizationPolicy"
  std::string path;     // "/apis/security.istio.io/v1/authorizationpolicies"; empty: the cluster has no such kind
  bool synced = false;  // listed since the start, or known not to be there
  std::size_t objects = 0;
  std::uint64_t lists = 0;  // that were begun
  std::uint64_t watches = 0;
  std::uint64_t events = 0;                                          // of watches
  std::optional<std::chrono::system_clock::time_point> stale_since;  // neither watched nor listed since
  std::string problem;  // the last one, while it lasts: "list: 403 Forbidden: …"
};

class ApiSource : public Source {
 public:
  // `client` and `io` outlive the source.
  static std::unique_ptr<ApiSource> make(boost::asio::io_context& io, ApiClient& client, ApiSourceOptions options,
                                         Listener listener);

  // The definitions of custom resources and the own DaemonSet are among them.
  [[nodiscard]] virtual std::vector<KindState> kinds() const = 0;
  // Every kind that is told was listed once, or is known not to be there.
  [[nodiscard]] virtual bool synced() const = 0;
  // The own DaemonSet was there and is now deleted, or about to be.
  [[nodiscard]] virtual bool daemon_set_removed() const = 0;
};

}  // namespace underpass::k8s
