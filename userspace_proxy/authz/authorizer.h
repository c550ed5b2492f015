// SPDX-License-Identifier: Apache-2.0
// Whether a request may pass, by the AuthorizationPolicies of the pod that it is for, with Istio's semantics: CUSTOM,
// then DENY, then ALLOW; an ALLOW policy that applies makes everything that none matches denied; AUDIT and dry run are
// told and change nothing. Made once for a routing table; what a connection is known by is looked up once per
// connection, so that a request costs its own dimensions alone, and a thousand rules little more than one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "underpass/ip_address.h"
#include "underpass/routing_table.h"
#include "userspace_proxy/http/message.h"
#include "userspace_proxy/jwt/token.h"

namespace underpass::authz {

// A connection. As in the kernel: without an account no value of principals, namespaces, serviceAccounts and
// trustDomains matches, and all of their not-forms hold.
struct Peer {
  std::string identity;  // spiffe://...; empty: unauthenticated
  IpAddress client_ip;   // of the packet
  IpAddress remote_ip;   // of the client; the same where there is no proxy in between
  IpAddress server_ip;
  std::uint16_t server_port = 0;
};

// A request after its normalisation (http/normal_form.h): what is matched is what is forwarded.
struct Subject {
  const http::Request& request;
  std::string_view host;                // of the authority, in lower case, without port
  std::string_view path;                // without query
  const jwt::Claims* claims = nullptr;  // of the token that was verified; null: none came
};

// What a policy that only tells (dry run, AUDIT) has to tell.
struct Notice {
  NamespacedName policy;  // empty: no ALLOW policy matches, of which some are in dry run
  bool audited = false;   // an AUDIT policy matches; else it would have been denied

  bool operator==(const Notice&) const = default;
};

struct Verdict {
  enum class Kind { kAllow, kDeny, kAsk };
  Kind kind = Kind::kAllow;
  std::string provider;  // of kAsk: the CUSTOM policies that match ask it; if it agrees, decide_after_custom()
  // Which policy decided: "shop/allow-web rule 0", as access log and flag tell it; empty: none did, or by default: "no
  // ALLOW policy matches".
  std::string decided_by;
  std::vector<std::string> would_deny;  // dry run, in the same words
  std::vector<std::string> audited;
  // What of these the kernel's programs have not told already, to be counted: the first dry-run and the first AUDIT
  // policy by a rule that asks for HTTP, and that no ALLOW matches where some in dry run ask for it.
  std::vector<Notice> notices;
};

// What became of one rule with one of its sources and one of its operations.
struct Explanation {
  std::string clause;  // "ALLOW shop/allow-web rule 0 from 1 to 0": which of the rule's `from` and `to`
  bool matches = false;
  bool decides = false;              // of those that match the one that the verdict is from
  std::vector<std::string> misses;   // why it does not match: "methods: POST is not GET, HEAD"
  std::vector<std::string> ignored;  // what a rule that denies asks for and nothing can be told of
};

class Rules;

class Authorizer {
 public:
  // `set` must outlive it. The mesh's trust domain is told for nothing yet: every identity says its own.
  Authorizer(const HttpPolicySet& set, const std::string& trust_domain);
  ~Authorizer();
  Authorizer(const Authorizer&) = delete;
  Authorizer& operator=(const Authorizer&) = delete;

  // What a connection is known by. Good while the authorizer lives.
  class Known {
   public:
    Known();
    ~Known();
    Known(Known&&) noexcept;
    Known& operator=(Known&&) noexcept;

   private:
    friend class Authorizer;
    struct Bits;
    std::unique_ptr<Bits> bits_;
  };
  [[nodiscard]] Known know(const Peer& peer) const;

  [[nodiscard]] Verdict decide(const Known& peer, const Subject& subject) const;
  // Without CUSTOM: its provider has agreed.
  [[nodiscard]] Verdict decide_after_custom(const Known& peer, const Subject& subject) const;
  // A connection that is no HTTP: ALLOW and AUDIT rules with HTTP parts match nothing, DENY rules match without them,
  // and CUSTOM denies (istiod for a TCP listener: "more restrictive than requested").
  [[nodiscard]] Verdict decide_tcp(const Known& peer) const;

  // Whether there may be a request on this connection that passes. False: nothing can, whatever it turns out to speak.
  [[nodiscard]] bool may_pass(const Known& peer) const;

  // For people: all rules in the order in which they count. It is slow. Of a set that is closed none.
  [[nodiscard]] std::vector<Explanation> explain(const Peer& peer, const Subject& subject) const;

 private:
  std::unique_ptr<Rules> rules_;
};

}  // namespace underpass::authz
