// SPDX-License-Identifier: Apache-2.0
// What AuthorizationPolicy, PeerAuthentication and RequestAuthentication are made of. Stricter than the API server
// where leniency would make a rule match more than was meant: a list's element that does not parse is an error and
// never left out, nor is anything that is not known.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agent/k8s/field.h"
#include "underpass/model/policy.h"

namespace underpass::k8s {

inline constexpr std::string_view kMissing = "missing";
inline constexpr std::string_view kEmpty = "must not be empty";

// Of what is in force or not there.
void refuse_dry_run(const Field& metadata);
// A string that is there and not empty.
std::string decode_text(const Field& field);
std::uint16_t decode_port_text(const Field& field);
model::StringMatch decode_string_match(const Field& field);
// ... of a principal, which policies write without spiffe://.
model::StringMatch decode_principal(const Field& field);
// "web" or "shop/web", as "shop/web"; `ns` is the policy's namespace. No wildcards (Istio).
std::string decode_account(const Field& field, const std::string& ns);
// "10.0.0.0/8", or an address alone.
model::IpBlock decode_ip_block(const Field& field);

// ... of a host, in lower case: hosts are the same in both.
model::StringMatch decode_host(const Field& field);
// ... of a path, which alone may be a template: "/a/{*}/b/{**}".
model::StringMatch decode_path(const Field& field);
// A field's name as HTTP allows it (RFC 9110, section 5.1), in lower case.
std::string decode_header_name(const Field& field);

// Whether a field says where a message ends, to whom it goes, or what becomes of the connection (RFC 9110 §7, RFC 9112
// §6): nothing of ours is put into one. `name` in lower case.
bool is_framing_header(std::string_view name);
inline constexpr std::string_view kFramingHeader = "HTTP itself needs this header";

// What `decode` makes of each element.
template <typename Decode>
auto decode_each(const Field& list, const Decode& decode) {
  const auto elements = list.elements();
  std::vector<decltype(decode(list))> out;
  out.reserve(elements.size());
  for (const auto& element : elements) out.push_back(decode(element));
  return out;
}

// The same for a list that may be left out, but not be empty: the one means everything, the other looks like nothing.
template <typename Decode>
auto decode_some(const Field& list, const Decode& decode) {
  auto out = decode_each(list, decode);
  if (list.present() && out.empty()) list.refuse_field(kEmpty);
  return out;
}

// The two lists of what must and what must not match, either of which may be left out or empty.
template <typename Decode>
auto decode_match(const Field& parent, std::string_view values, std::string_view not_values, const Decode& decode) {
  return model::Match<decltype(decode(parent))>{decode_each(parent[values], decode),
                                                decode_each(parent[not_values], decode)};
}

// spec.selector.matchLabels.
std::map<std::string, std::string> decode_selector(const Field& selector);

// spec.targetRef and spec.targetRefs, by which Istio's objects name waypoints and gateways.
void refuse_targets(const Field& spec);

// The members that an object of these kinds has, and those of its spec, and no others: a field one line too far to the
// left would else be none.
void expect_object(const Field& root, std::initializer_list<std::string_view> spec_members);

}  // namespace underpass::k8s
