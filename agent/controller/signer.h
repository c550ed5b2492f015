// SPDX-License-Identifier: Apache-2.0
// Answers CertificateSigningRequests to underpass.dev/workload, as signing.h judges them: approves and signs, or denies
// with the reason. One whose pod is not known yet is looked at again for a while. Of the leader alone.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "agent/ca/authority.h"
#include "agent/controller/signing.h"
#include "agent/k8s/api/api_client.h"
#include "agent/k8s/api/object_reader.h"

namespace boost::asio {
class io_context;
}

namespace underpass::controller {

struct SignerOptions {
  std::chrono::seconds pod_patience{30};   // so long a pod may be newer than what is known of its node
  std::chrono::milliseconds retry{1'000};  // of what waits
  std::size_t at_once = 4;                 // requests that are being answered
};

class Signer {
 public:
  struct Hooks {
    std::function<const ca::Authority*()> authority;  // null: nothing is signed now
    std::function<SigningTerms()> terms;
    RunsThere runs;
  };
  struct Counts {
    std::uint64_t issued = 0;
    std::uint64_t denied = 0;
    std::uint64_t failed = 0;  // writes that did; each is tried again
    std::size_t waiting = 0;
  };

  static std::unique_ptr<Signer> make(boost::asio::io_context& io, k8s::ApiClient& client, SignerOptions options,
                                      Hooks hooks);
  virtual ~Signer() = default;

  // Of a CertificateSigningRequest that is new, or another.
  virtual void see(k8s::Received&& received) = 0;
  virtual void forget(const std::string& name) = 0;
  // The hooks may say something else now.
  virtual void wake() = 0;
  [[nodiscard]] virtual Counts counts() const = 0;
};

}  // namespace underpass::controller
