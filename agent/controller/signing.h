// SPDX-License-Identifier: Apache-2.0
// Whom the controller signs for. A CertificateSigningRequest (certificates.k8s.io/v1) is signed if an agent asks, the
// API server itself says of which node, and that node runs a pod with the service account that the identity names: a
// token that was stolen from an agent yields no identity that its node has not anyway. Pure.
#pragma once

#include <boost/json/value.hpp>
#include <chrono>
#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "agent/ca/request.h"
#include "agent/k8s/contents.h"

namespace underpass::controller {

struct SigningRequest {
  std::string name;
  std::string created;           // metadata.creationTimestamp, RFC 3339
  std::string signer;            // spec.signerName
  std::string user;              // spec.username, which the API server writes
  std::string node;              // ... and so, spec.extra[authentication.kubernetes.io/node-name]; empty: none
  std::set<std::string> usages;  // spec.usages
  std::string pem;               // spec.request
  std::chrono::seconds lasts{};  // spec.expirationSeconds; 0: not said
  bool approved = false;         // condition Approved
  bool over = false;             // Denied, Failed, or there is a certificate
};

k8s::Decoded<SigningRequest> decode_signing_request(const boost::json::value& object);

// What holds for all of them.
struct SigningTerms {
  std::string agents;  // the user that agents are: "system:serviceaccount:underpass-system:underpass-agent"
  std::string trust_domain = "cluster.local";
  std::chrono::seconds longest = std::chrono::hours(24);
};

// Does a pod that has not ended run there with that service account?
using RunsThere = std::function<bool(const std::string& node, std::string_view ns, std::string_view account)>;

struct SigningVerdict {
  enum class Kind {
    kSign,
    kRefuse,
    kWait,  // no such pod: it may be newer than what is known of the node
  };
  Kind kind = Kind::kRefuse;
  std::string cause;  // path → cause, where it is not signed
  ca::Asked asked;    // where it is
  std::chrono::seconds lasts{};
};

// Of one to our signer that is not over.
SigningVerdict judge(const SigningRequest& request, const SigningTerms& terms, const RunsThere& runs);

}  // namespace underpass::controller
