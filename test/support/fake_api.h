// SPDX-License-Identifier: Apache-2.0
// A small Kubernetes API server for tests, on a thread of its own at 127.0.0.1: objects are put and removed from
// outside, lists and watches are answered as kube-apiserver does, and it misbehaves on demand. It stands for the
// outside world; nothing of ours is in it. All calls return when the server has done it, and may come from any other
// thread.
#pragma once

#include <boost/json/value.hpp>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "test/support/fake_api_fault.h"
#include "test/support/fake_api_server.h"
#include "test/support/fake_api_tls.h"
#include "test/support/temp_folder.h"

namespace underpass::test {

class FakeApi {
 public:
  // With the CustomResourceDefinitions of security.istio.io and underpass.dev, and otherwise empty.
  FakeApi();
  ~FakeApi();
  FakeApi(const FakeApi&) = delete;
  FakeApi& operator=(const FakeApi&) = delete;

  // By apiVersion, kind and metadata; what is there is replaced, and keeps uid and creationTimestamp where the new one
  // says none.
  void put(const boost::json::value& object);
  // ... in one step: a watch finds all of them due at once.
  void put_all(const std::vector<boost::json::value>& objects);
  // ... with bytes in its text that JSON does not allow.
  void put_broken(const boost::json::value& object, std::string_view from, std::string_view to);
  void remove(std::string_view kind, const std::string& ns, const std::string& name);
  // Of a custom kind: its CustomResourceDefinition. No versions: all that the fake knows.
  void define(std::string_view kind, std::vector<std::string> versions = {});
  // ... and its objects.
  void undefine(std::string_view kind);
  // All objects of a kind, as they are served (of several versions in the first one; Events of both groups).
  [[nodiscard]] std::vector<boost::json::value> objects(std::string_view kind);
  [[nodiscard]] std::uint64_t version();

  // How many changes the history holds; watches and continued lists of before are 410.
  void keep_history(std::size_t changes);
  void forget_history();
  // As after etcd was restored from a backup.
  void restart_versions_at(std::uint64_t version);

  // The first fault that applies to a request is the only one for it.
  std::uint64_t misbehave(Fault fault);
  void behave(std::uint64_t fault);
  void behave();

  // On the same port as before. stop() resets all connections.
  void stop();
  void start();
  void reset_connections();
  // Its certificate from now on; connections are reset.
  enum class Certificate { kGood, kOtherAuthority, kOtherName, kExpired, kNotYet };
  void identify(Certificate certificate);

  // Tokens that are good. The first one is "token-1"; the agent's file holds the last one that was issued.
  std::string issue_token();
  void revoke_token(const std::string& token);
  // In the files of in_cluster_folder(), as the kubelet replaces them; "" too.
  void write_token(const std::string& token);

  void set_version(const std::string& major, const std::string& minor, const std::string& git);
  void set_clock_skew(std::chrono::seconds skew);
  void set_bookmarks(std::chrono::milliseconds every);
  void set_compressed_from(std::size_t bytes);

  // What was asked since the start or the last forget_requests().
  [[nodiscard]] std::vector<FakeRequest> requests();
  // ... of one verb ("list", "watch"; empty: any) and one collection ("/api/v1/pods"; empty: any).
  [[nodiscard]] std::size_t count(std::string_view verb, std::string_view collection = {});
  // Watches that go on.
  [[nodiscard]] std::size_t open_watches(std::string_view collection = {});
  void forget_requests();

  [[nodiscard]] std::string url() const;
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] const std::string& authority() const { return authority_.certificate(); }

  enum class Login { kToken, kTokenFile, kCertificate, kCertificateFiles, kNone };
  // Writes `folder`/kubeconfig, and returns its path. The token's file is that of in_cluster_folder().
  std::string kubeconfig(const std::filesystem::path& folder, Login login = Login::kToken);
  // ca.crt, namespace and token, as they are mounted in a pod.
  [[nodiscard]] std::filesystem::path in_cluster_folder() const { return folder_ / "serviceaccount"; }

 private:
  // Waits for it; throws what it throws.
  void on_server(const std::function<void()>& what);

  FakeAuthority authority_{"fake-api-ca"};
  FakeAuthority other_authority_{"fake-api-ca"};
  TempFolder folder_;
  std::unique_ptr<FakeServer> server_;
  std::uint16_t port_ = 0;
  std::uint64_t next_fault_ = 1;
  int tokens_ = 0;
  int generation_ = 0;  // of the token's file
  std::string token_;
  std::size_t first_request_ = 0;
  std::thread thread_;
};

}  // namespace underpass::test
