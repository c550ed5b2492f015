// SPDX-License-Identifier: Apache-2.0
// Policies in the snapshot: what stays in force while a text is wrong, what is refused, and that whoever compiles them
// hears of both.
#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <string>

#include "agent/k8s/folder.h"
#include "agent/state/store.h"

namespace underpass::state {
namespace {

std::string policy(const std::string& name, const std::string& spec) {
  return "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: " + name +
         ", namespace: shop}, spec: {" + spec + "}}\n---\n";
}
std::string peers(const std::string& name, const std::string& mode) {
  return "{apiVersion: security.istio.io/v1beta1, kind: PeerAuthentication, metadata: {name: " + name +
         ", namespace: shop}, spec: {mtls: {mode: " + mode + "}}}\n---\n";
}
std::string tokens(const std::string& name, const std::string& issuer) {
  return "{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {name: " + name +
         ", namespace: shop}, spec: {jwtRules: [{issuer: " + issuer + ", jwksUri: 'https://idp/keys'}]}}\n---\n";
}
std::string mesh(const std::string& domain, const std::string& name = "default") {
  return "{apiVersion: underpass.dev/v1alpha1, kind: Mesh, metadata: {name: " + name +
         "}, spec: {trustDomain: " + domain + "}}\n---\n";
}

class Fed {
 public:
  // What changed, as far as policies are concerned.
  bool feed(const std::string& text) {
    k8s::Contents contents;
    contents.files.push_back(std::make_shared<const k8s::File>(k8s::decode_file("a.yaml", text, {})));
    changed = store_.update(contents);
    return store_.take_changes().policies;
  }

  [[nodiscard]] const model::Snapshot& snapshot() const { return *store_.snapshot(); }

  [[nodiscard]] std::string problems() const {
    std::string out;
    for (const auto& diagnostic : snapshot().diagnostics) {
      out += diagnostic.state == model::Diagnostic::State::kStale ? "stale " : "refused ";
      out += k8s::object_name(diagnostic.kind, diagnostic.id) + " " + diagnostic.path + ": " + diagnostic.cause + "\n";
    }
    return out;
  }

  bool changed = false;

 private:
  Store store_{[] { return std::chrono::system_clock::time_point{}; }};
};

TEST_CASE("policies: a wrong text leaves the last good one in force") {
  Fed fed;
  CHECK(fed.feed(policy("web", "action: DENY, rules: [{}]") + peers("web", "STRICT") + tokens("web", "idp") +
                 mesh("a.example")));
  const auto good = fed.snapshot();
  REQUIRE(good.authorization_policies.size() == 1);
  CHECK(good.authorization_policies.at({"shop", "web"})->rules.size() == 1);
  CHECK(good.peer_authentications.at({"shop", "web"})->mode == model::MtlsMode::kStrict);
  CHECK(good.request_authentications.at({"shop", "web"})->rules.at(0).issuer == "idp");
  CHECK(good.mesh->trust_domain == "a.example");

  CHECK(fed.feed(policy("web", "action: DENY, rules: [{frm: []}]") + peers("web", "strict") + tokens("web", "''") +
                 mesh("A")));
  CHECK(fed.snapshot().authorization_policies == good.authorization_policies);
  CHECK(fed.snapshot().peer_authentications == good.peer_authentications);
  CHECK(fed.snapshot().request_authentications == good.request_authentications);
  CHECK(fed.snapshot().mesh == good.mesh);
  CHECK(fed.problems() ==
        "stale AuthorizationPolicy shop/web spec.rules[0].frm: unknown field\n"
        "stale Mesh default spec.trustDomain: \"A\": not an RFC 1123 subdomain (a-z, 0-9, - and ., at most 253)\n"
        "stale PeerAuthentication shop/web spec.mtls.mode: \"strict\": must be one of UNSET, DISABLE, PERMISSIVE, "
        "STRICT\n"
        "stale RequestAuthentication shop/web spec.jwtRules[0].issuer: \"\": must not be empty\n");

  CHECK(fed.feed("{"));  // another reason
  CHECK(fed.snapshot().authorization_policies == good.authorization_policies);
  CHECK(fed.snapshot().mesh == good.mesh);
  CHECK(fed.feed(policy("web", "action: DENY, rules: [{}]") + peers("web", "STRICT") + tokens("web", "idp") +
                 mesh("a.example")));
  CHECK(fed.snapshot() == good);
  CHECK(fed.feed(""));
  CHECK(fed.snapshot().authorization_policies.empty());
  CHECK(fed.snapshot().peer_authentications.empty());
  CHECK(fed.snapshot().request_authentications.empty());
  CHECK_FALSE(fed.snapshot().mesh.has_value());
}

TEST_CASE("policies: one that never was good is refused, and that is news") {
  for (const auto& text :
       {policy("web", "rules: [{frm: []}]"), peers("web", "strict"), tokens("web", "''"), mesh("A")}) {
    CAPTURE(text);
    Fed fed;
    CHECK(fed.feed(text));
    CHECK(fed.problems().starts_with("refused "));
    CHECK(fed.snapshot().authorization_policies.empty());
    CHECK(fed.snapshot().peer_authentications.empty());
    CHECK(fed.snapshot().request_authentications.empty());
    CHECK_FALSE(fed.snapshot().mesh.has_value());
    CHECK_FALSE(fed.feed(text));
    CHECK_FALSE(fed.changed);
    CHECK(fed.feed(""));  // it no longer closes its scope
    CHECK(fed.problems().empty());
  }
}

TEST_CASE("policies: what did not change is no news and the same object") {
  Fed fed;
  const auto text = policy("web", "") + peers("web", "STRICT") + tokens("web", "idp") + mesh("a.example");
  const std::string pod = "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}}\n---\n";
  CHECK(fed.feed(text));
  const auto before = fed.snapshot();
  CHECK_FALSE(fed.feed("# moved\n" + text));
  CHECK_FALSE(fed.changed);
  CHECK_FALSE(fed.feed(text + pod));
  CHECK(fed.changed);
  CHECK_FALSE(fed.feed(text + "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}, spec: []}\n"));
  CHECK(fed.changed);
  CHECK(fed.snapshot().authorization_policies == before.authorization_policies);  // by address
  CHECK(fed.snapshot().peer_authentications == before.peer_authentications);
  CHECK(fed.snapshot().request_authentications == before.request_authentications);
  CHECK(fed.feed(policy("web", "rules: [{}]") + peers("web", "STRICT") + tokens("web", "idp") + mesh("a.example")));
  CHECK(fed.snapshot().peer_authentications == before.peer_authentications);
  CHECK(fed.snapshot().authorization_policies != before.authorization_policies);
}

TEST_CASE("policies: there is one Mesh") {
  Fed fed;
  CHECK(fed.feed(mesh("a.example") + mesh("b.example", "other") + mesh("c.example")));
  CHECK(fed.snapshot().mesh->trust_domain == "a.example");
  CHECK(fed.problems() ==
        "refused Mesh default a.yaml:5: already defined at a.yaml:1: only the first one counts\n"
        "refused Mesh other metadata.name: \"other\": must be \"default\": there is one Mesh\n");
  CHECK(fed.feed(mesh("a.example")));
  CHECK(fed.snapshot().mesh->trust_domain == "a.example");  // the other's end is not its own
  CHECK(fed.problems().empty());
}

}  // namespace
}  // namespace underpass::state
