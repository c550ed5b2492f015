// SPDX-License-Identifier: Apache-2.0
// An ApiSource and the store behind it, run by the test's own thread, and a listener that looks at everything the
// source ever tells: that it tells nothing before all kinds are there, and that from then on nothing that stays in the
// cluster is missing for a moment or goes back to an older version.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/k8s/api/api_client.h"
#include "agent/k8s/api/api_source.h"
#include "agent/k8s/contents.h"
#include "agent/state/store.h"
#include "test/support/eventually.h"
#include "test/support/fake_api.h"
#include "test/support/temp_folder.h"

namespace underpass::fake {

class Scene {
 public:
  using Login = test::FakeApi::Login;
  using Duration = std::chrono::milliseconds;

  struct Options {
    Login login = Login::kTokenFile;
    bool in_cluster = false;  // by the pod's service account instead of a kubeconfig
    bool daemon_set = false;  // underpass-system/underpass is the agent's own
    k8s::ApiTimeouts timeouts{};
    // A test waits for no back-off of half a minute; those about it say {}.
    k8s::ApiTuning tuning{.backoff = {.most = std::chrono::seconds(1)}};
  };

  // Of node-1.
  explicit Scene(test::FakeApi& api, const Options& options);
  explicit Scene(test::FakeApi& api) : Scene(api, Options()) {}
  ~Scene();

  void start();
  // Runs the source until it is so; false if it still is not at the deadline.
  bool until(const std::function<bool()>& condition, Duration deadline = std::chrono::seconds(20));
  void run_for(Duration time);
  // start(), and until the store has what the fake holds.
  bool start_and_sync(Duration deadline = std::chrono::seconds(20));
  // Until the store has what the fake holds.
  bool until_equal(Duration deadline = std::chrono::seconds(20));
  // ... and every kind is watched again.
  bool until_well(Duration deadline = std::chrono::seconds(20));

  // In what the store and the fake differ; empty: in nothing.
  [[nodiscard]] std::string difference() const;
  // ... and what the source says of itself.
  [[nodiscard]] std::string state() const;
  // What was told that must not be; empty: nothing.
  [[nodiscard]] std::string broken_promises() const { return broken_; }
  // All objects that there are now stay there: each time the source tells something they must be in it. Not those of
  // these kinds.
  void keep_all(const std::set<std::string>& but = {});

  [[nodiscard]] k8s::ApiSource& source() { return *source_; }
  [[nodiscard]] k8s::ApiClient& client() { return *client_; }
  [[nodiscard]] boost::asio::io_context& io() { return io_; }
  [[nodiscard]] const model::Snapshot& snapshot() const { return *store_.snapshot(); }
  [[nodiscard]] k8s::KindState kind(const std::string& name) const;
  [[nodiscard]] int told() const { return told_; }  // calls of the listener
  [[nodiscard]] bool lost() const { return lost_.has_value(); }
  [[nodiscard]] std::string loss() const { return lost_ ? lost_->cause : ""; }
  // Files that were replaced by others, over all calls.
  [[nodiscard]] std::size_t replaced() const { return replaced_; }
  void destroy_source() { source_.reset(); }
  // CPU time of the thread that runs the source, net of what the test looks at.
  [[nodiscard]] double cpu_seconds() const { return cpu_seconds_; }

 private:
  void hear(const k8s::Contents& contents);
  void check_versions(const k8s::File& file);
  void complain(const std::string& what);
  void run_once();

  test::FakeApi& api_;
  test::TempFolder folder_{"fake"};
  boost::asio::io_context io_{1};
  std::unique_ptr<k8s::ApiClient> client_;
  std::unique_ptr<k8s::ApiSource> source_;
  state::Store store_;
  std::map<std::string, std::shared_ptr<const k8s::File>> files_;  // of the last call, by path
  std::map<std::string, long> versions_;                           // the newest seen, by object and uid
  std::set<std::string> kept_;                                     // "Pod shop/web"
  std::optional<k8s::Unreadable> lost_;
  std::string broken_;
  int told_ = 0;
  std::size_t replaced_ = 0;
  double cpu_seconds_ = 0;
};

// Expected of a source that was synced: what the objects of the fake decode to.
model::Snapshot snapshot_of(test::FakeApi& api);

// Some objects of every kind.
void put_some(test::FakeApi& api);

inline const std::vector<std::string> kKinds{"Namespace",
                                             "Node",
                                             "Pod",
                                             "Service",
                                             "EndpointSlice",
                                             "AuthorizationPolicy",
                                             "PeerAuthentication",
                                             "RequestAuthentication",
                                             "Mesh"};

}  // namespace underpass::fake
