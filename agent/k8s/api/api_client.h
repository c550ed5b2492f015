// SPDX-License-Identifier: Apache-2.0
// Whom to talk to and as whom: the API server's address, its CA, and our credentials, from the pod's service account or
// from a kubeconfig file. Tokens are read from their file again when it changes (projected tokens live an hour). HTTP
// proxies and redirects are not followed.
#pragma once

#include <boost/json/value.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "underpass/result.h"

namespace boost::asio {
class io_context;
}

namespace underpass::k8s {

class Channel;

// How long what may take; each is for one step.
struct ApiTimeouts {
  std::chrono::milliseconds connect{10'000};  // TCP, per address
  std::chrono::milliseconds handshake{10'000};
  std::chrono::milliseconds response{60'000};  // until the answer's head is there, and between two pieces of a list
  std::chrono::milliseconds request{30'000};   // of ApiClient::request, the whole
  std::chrono::seconds silence{30};            // of a peer, until the kernel asks whether it is there
};

struct ApiOptions {
  std::string kubeconfig;  // a file; empty: the pod's own service account (KUBERNETES_SERVICE_HOST and its mount)
  std::string user_agent;  // "underpassd/0.1.0 (node-1)"
  // Where the service account is mounted: token, ca.crt, namespace.
  std::string service_account_dir = "/var/run/secrets/kubernetes.io/serviceaccount";
  ApiTimeouts timeouts = {};
};

// An answer other than 2xx, as the API server's Status object says it (or the HTTP status where it is none).
struct ApiAnswer {
  unsigned status = 0;                              // HTTP
  std::string reason;                               // "AlreadyExists"
  boost::json::value body;                          // null where there was none
  std::optional<std::chrono::seconds> retry_after;  // what the server asks for, with 429 or 503
};

// "403 Forbidden: pods is forbidden: …".
std::string describe(const ApiAnswer& answer);

class ApiClient {
 public:
  using Done = std::function<void(Result<ApiAnswer>)>;

  // Fails where there is no usable configuration; whether the server answers shows later. `io` outlives the client.
  static Result<std::unique_ptr<ApiClient>> open(boost::asio::io_context& io, const ApiOptions& options);
  virtual ~ApiClient() = default;

  // "https://10.96.0.1:443".
  [[nodiscard]] virtual std::string server() const = 0;
  // The server's version as it last said ("v1.34.2"); empty: not asked yet.
  [[nodiscard]] virtual std::string version() const = 0;

  // One request with a deadline, on a connection of its own pool; `done` is called once, from the io_context's thread
  // and never from within this call, with an error where no answer came; not after the client is destroyed. `body`
  // null: none. A PATCH is a merge patch; APPLY is a PATCH for server-side apply.
  virtual void request(const std::string& method, const std::string& path, const boost::json::value& body,
                       Done done) = 0;

  // A connection for answers that are read as they come (lists, watches); it may outlive the client.
  [[nodiscard]] virtual std::shared_ptr<Channel> open_channel() = 0;
};

// What is wrong with an API server of this version ("v1.29.3"); nothing: it is one that Underpass knows or a newer one.
std::optional<std::string> version_warning(const std::string& version);

}  // namespace underpass::k8s
