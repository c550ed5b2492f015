// SPDX-License-Identifier: Apache-2.0
// Issues by asking the cluster's controller: a CertificateSigningRequest (certificates.k8s.io/v1) to the signer
// underpass.dev/workload for each certificate, with a key that never leaves this process. Whom to believe is in a
// ConfigMap that the controller writes. While it does not answer, what was asked stays asked, and is not asked twice.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "agent/ca/issuer.h"
#include "agent/k8s/api/api_client.h"
#include "underpass/ids.h"

namespace boost::asio {
class io_context;
}

namespace underpass {

struct ClusterIssuerOptions {
  NamespacedName trust_bundle;  // a ConfigMap; its key is root-cert.pem
  std::string known_bundle;     // of the agent before this one; empty: none
  std::chrono::seconds svid_life = std::chrono::hours(24);
  std::chrono::milliseconds first_look{50};  // for an answer; twice as long each time
  std::chrono::milliseconds longest_pause{10'000};
  std::chrono::seconds patience{10};  // after so long without an answer something is wrong
};

// `io` and `client` outlive it.
std::unique_ptr<ca::Issuer> make_cluster_issuer(boost::asio::io_context& io, k8s::ApiClient& client,
                                                ClusterIssuerOptions options);

}  // namespace underpass
