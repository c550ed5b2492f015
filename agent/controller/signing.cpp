// SPDX-License-Identifier: Apache-2.0
#include "agent/controller/signing.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "agent/k8s/base64.h"
#include "agent/k8s/decode.h"
#include "agent/k8s/decode_metadata.h"
#include "underpass/spiffe_id.h"

namespace underpass::controller {
namespace {

using k8s::Field;

// The one value of that key.
std::string decode_extra(const Field& extra, std::string_view key) {
  const auto values = extra[key].elements();
  if (values.size() > 1) extra[key].refuse("more than one value");
  return values.empty() ? "" : values.front().string().value_or("");
}

void decode_status(const Field& status, SigningRequest& out) {
  for (const auto& condition : status["conditions"].elements()) {
    const auto type = condition["type"].string().value_or("");
    if (type == "Approved") out.approved = true;
    if (type == "Denied" || type == "Failed") out.over = true;
  }
  if (!status["certificate"].string().value_or("").empty()) out.over = true;
}

SigningVerdict refuse(std::string cause) {
  return {.kind = SigningVerdict::Kind::kRefuse, .cause = std::move(cause), .asked = {}};
}

}  // namespace

k8s::Decoded<SigningRequest> decode_signing_request(const boost::json::value& object) {
  k8s::Findings findings;
  const Field root(object, findings);
  const auto spec = root["spec"];
  SigningRequest out;
  out.name = root["metadata"]["name"].string().value_or("");
  out.created = k8s::decode_created(root["metadata"]);
  out.signer = spec["signerName"].string().value_or("");
  out.user = spec["username"].string().value_or("");
  out.node = decode_extra(spec["extra"], "authentication.kubernetes.io/node-name");
  for (const auto& usage : spec["usages"].elements()) out.usages.insert(usage.string().value_or(""));
  const auto text = spec["request"];
  auto pem = k8s::decode_base64(text.string().value_or(""));
  if (!pem || pem->empty()) text.refuse_field("no text in base64");
  out.pem = std::move(pem).value_or("");
  out.lasts =
      std::chrono::seconds(spec["expirationSeconds"].integer(0, std::numeric_limits<std::int32_t>::max()).value_or(0));
  decode_status(root["status"], out);
  if (findings.error) return std::unexpected(std::move(*findings.error));
  return out;
}

SigningVerdict judge(const SigningRequest& request, const SigningTerms& terms, const RunsThere& runs) {
  if (request.user != terms.agents) return refuse("spec.username: \"" + request.user + "\" is no agent");
  if (request.node.empty())
    return refuse("spec.extra: the API server says no authentication.kubernetes.io/node-name (Kubernetes 1.30)");
  if (request.usages != std::set<std::string>(ca::kUsages.begin(), ca::kUsages.end()))
    return refuse("spec.usages: must be digital signature, client auth and server auth");
  auto asked = ca::parse_request(request.pem);
  if (!asked) return refuse("spec.request: " + asked.error().message);
  const auto id = parse_spiffe_id(asked->identity);
  if (!id || id->trust_domain != terms.trust_domain)
    return refuse("spec.request: " + asked->identity + " is not of the trust domain " + terms.trust_domain);
  if (!runs(request.node, id->ns, id->account))
    return {.kind = SigningVerdict::Kind::kWait,
            .cause = "spec.request: Node " + request.node + " runs no pod with ServiceAccount " + std::string(id->ns) +
                     "/" + std::string(id->account),
            .asked = {}};
  const auto lasts = request.lasts.count() == 0 ? terms.longest : std::min(request.lasts, terms.longest);
  return {.kind = SigningVerdict::Kind::kSign, .cause = "", .asked = std::move(*asked), .lasts = lasts};
}

}  // namespace underpass::controller
