// SPDX-License-Identifier: Apache-2.0
#include "test/support/http_policy_reference.h"

#include <algorithm>
#include <boost/json/value.hpp>
#include <cctype>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace underpass::test {
namespace {

using authz::Peer;
using authz::Subject;
using authz::Verdict;
using model::AuthorizationPolicy;
using model::IpBlock;
using model::Match;
using model::PolicyCondition;
using model::PolicyOperation;
using model::PolicyRule;
using model::PolicySource;
using model::StringMatch;
using Action = AuthorizationPolicy::Action;
using Kind = StringMatch::Kind;
using Texts = std::vector<std::string>;  // the values that something has: none, one, or those of a list

bool ends(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// "{*}" is characters but "/", at least one; "{**}" is any characters.
bool fits_template(const std::string& wanted, const std::string& path) {
  if (wanted.empty()) return path.empty();
  if (wanted.rfind("{**}", 0) == 0) {
    for (std::size_t taken = 0; taken <= path.size(); ++taken)
      if (fits_template(wanted.substr(4), path.substr(taken))) return true;
    return false;
  }
  if (wanted.rfind("{*}", 0) == 0) {
    for (std::size_t taken = 1; taken <= path.size() && path[taken - 1] != '/'; ++taken)
      if (fits_template(wanted.substr(3), path.substr(taken))) return true;
    return false;
  }
  return !path.empty() && path[0] == wanted[0] && fits_template(wanted.substr(1), path.substr(1));
}

// "To be a valid path template, the path must not contain *, {, or } outside of a supported operator. No other
// characters are allowed in the path segment with the path template operator." "If a path contains {**}, it must be the
// last operator."
bool is_valid_template(const std::string& text) {
  if (text.empty() || text[0] != '/') return false;
  std::istringstream stream(text.substr(1));
  int operators = 0;
  bool after_rest = false;
  for (std::string segment; std::getline(stream, segment, '/');) {
    if (segment == "{*}" || segment == "{**}") {
      if (after_rest) return false;
      ++operators;
      after_rest = segment == "{**}";
      continue;
    }
    if (segment.empty() || segment.find_first_of("*{}?#\"<>\\^`| ") != std::string::npos) return false;
  }
  return operators > 0;
}

bool equals(const StringMatch& wanted, const std::string& actual) {
  switch (wanted.kind) {
    case Kind::kExact:
      return actual == wanted.text;
    case Kind::kPrefix:
      return actual.rfind(wanted.text, 0) == 0;
    case Kind::kSuffix:
      return ends(actual, wanted.text);
    case Kind::kPresent:
      return !actual.empty();
    case Kind::kTemplate:
      return fits_template(wanted.text, actual);
  }
  return false;
}

bool equals(const IpBlock& wanted, const IpAddress& actual) {
  if ((wanted.base.is_v4() && wanted.prefix >= 96) != actual.is_v4()) return false;
  const auto a = wanted.base.to_abi();
  const auto b = actual.to_abi();
  for (int bit = 0; bit < wanted.prefix; ++bit) {
    const int mask = 0x80 >> (bit % 8);
    if ((a.bytes[bit / 8] & mask) != (b.bytes[bit / 8] & mask)) return false;
  }
  return true;
}

bool equals(std::uint16_t wanted, std::uint16_t actual) { return wanted == actual; }

// "A list of values. If not set, any value is allowed", and "a list of negative match of values".
template <typename T, typename Is>
bool fits_if(const Match<T>& match, const Is& is) {
  if (std::ranges::any_of(match.not_values, is)) return false;
  return match.values.empty() || std::ranges::any_of(match.values, is);
}

bool fits(const Match<StringMatch>& match, const Texts& actual) {
  return fits_if(match, [&](const auto& wanted) {
    return std::ranges::any_of(actual, [&](const auto& text) { return equals(wanted, text); });
  });
}

template <typename T, typename Actual>
bool fits_one(const Match<T>& match, const Actual& actual) {
  return fits_if(match, [&](const auto& wanted) { return equals(wanted, actual); });
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

Texts unless_empty(std::string text) { return text.empty() ? Texts{} : Texts{std::move(text)}; }

struct Who {
  Texts principal, ns, account, trust_domain;
  explicit Who(const std::string& identity) {
    if (identity.rfind("spiffe://", 0) != 0) return;
    const auto name = identity.substr(9);
    principal = {name};
    Texts parts;
    std::istringstream stream(name);
    for (std::string part; std::getline(stream, part, '/');) parts.push_back(part);
    if (!parts.empty() && !parts[0].empty()) trust_domain = {parts[0]};
    if (parts.size() != 5 || parts[1] != "ns" || parts[2].empty() || parts[3] != "sa" || ends(name, "/")) return;
    ns = {parts[2]};
    account = {parts[2] + "/" + parts[4]};
  }
};

class Reading {
 public:
  // `subject` null: it is no HTTP.
  Reading(const HttpPolicySet& set, const Peer& peer, const Subject* subject)
      : set_(set), peer_(peer), subject_(subject), who_(peer.identity) {
    std::map<NamespacedName, const AuthorizationPolicy*> by_name;
    for (const auto& policy : set.policies) by_name[policy.id] = &policy;
    for (const auto& [id, policy] : by_name) policies_.push_back(policy);
  }

  Verdict verdict(bool with_custom) {
    Verdict out;
    if (!set_.closed_by.empty()) return {.kind = Verdict::Kind::kDeny, .decided_by = set_.closed_by};
    const auto is_custom = [](const auto& policy) { return policy.action == Action::kCustom && !policy.dry_run; };
    const auto asked = with_custom ? matching(is_custom) : std::vector<Matched>{};
    if (!asked.empty()) {
      const auto& first = asked.front();
      if (subject_ == nullptr) return {.kind = Verdict::Kind::kDeny, .decided_by = first.name()};
      for (const auto& one : asked)
        if (one.policy->provider != first.policy->provider) {
          return {.kind = Verdict::Kind::kDeny, .decided_by = one.name() + ": another provider than " + first.name()};
        }
      return {.kind = Verdict::Kind::kAsk, .provider = first.policy->provider, .decided_by = first.name()};
    }
    for (const auto& one : matching([](const auto& policy) { return policy.action == Action::kAudit; }))
      out.audited.push_back(one.name());
    for (const auto& one : matching([](const auto& policy) {
           return policy.dry_run && (policy.action == Action::kDeny || policy.action == Action::kCustom);
         }))
      out.would_deny.push_back(one.name());
    if (is_refused_by_default(true)) out.would_deny.emplace_back("no ALLOW policy matches");

    // "If there are any DENY policies that match the request, deny the request." "If there are no ALLOW policies for
    // the workload, allow the request." "If any of the ALLOW policies match the request, allow the request." "Deny the
    // request."
    const auto denied = matching([](const auto& policy) { return policy.action == Action::kDeny && !policy.dry_run; });
    if (!denied.empty()) {
      out.kind = Verdict::Kind::kDeny;
      out.decided_by = denied.front().name();
    } else if (is_refused_by_default(false)) {
      out.kind = Verdict::Kind::kDeny;
      out.decided_by = "no ALLOW policy matches";
    }
    return out;
  }

 private:
  struct Matched {
    const AuthorizationPolicy* policy;
    std::size_t rule;
    [[nodiscard]] std::string name() const {
      return policy->id.ns + "/" + policy->id.name + " rule " + std::to_string(rule);
    }
  };

  template <typename Is>
  std::vector<Matched> matching(const Is& is) const {
    std::vector<Matched> out;
    for (const auto* policy : policies_) {
      if (!is(*policy)) continue;
      for (std::size_t i = 0; i < policy->rules.size(); ++i)
        if (matches(*policy, policy->rules[i])) out.push_back({policy, i});
    }
    return out;
  }

  bool is_refused_by_default(bool dry_run) const {
    const auto is_allow = [&](const auto& policy) {
      return policy.action == Action::kAllow && policy.dry_run == dry_run;
    };
    return std::ranges::any_of(policies_, [&](const auto* policy) { return is_allow(*policy); }) &&
           matching(is_allow).empty();
  }

  bool matches(const AuthorizationPolicy& policy, const PolicyRule& rule) const {
    const bool wide = policy.action == Action::kDeny || policy.action == Action::kCustom;
    if (subject_ == nullptr && !wide) {
      for (const auto& operation : rule.to)
        if (operation.needs_http()) return false;
      for (const auto& condition : rule.when)
        if (condition.needs_http()) return false;
    }
    const auto is_source = [&](const auto& source) { return matches_source(source, wide); };
    const auto is_operation = [&](const auto& operation) { return matches_operation(operation, wide); };
    const auto is_condition = [&](const auto& condition) { return matches_condition(condition, wide); };
    return (rule.from.empty() || std::ranges::any_of(rule.from, is_source)) &&
           (rule.to.empty() || std::ranges::any_of(rule.to, is_operation)) &&
           std::ranges::all_of(rule.when, is_condition);
  }

  bool matches_source(const PolicySource& source, bool wide) const {
    if (!fits(source.principals, who_.principal) || !fits(source.namespaces, who_.ns)) return false;
    if (!fits(source.service_accounts, who_.account) || !fits(source.trust_domains, who_.trust_domain)) return false;
    if (!fits_one(source.ip_blocks, peer_.client_ip)) return false;
    if (!fits_one(source.remote_ip_blocks, peer_.remote_ip)) return false;
    if (subject_ == nullptr) return source.request_principals.empty() || wide;
    return fits_request_principal(source.request_principals);
  }

  bool matches_operation(const PolicyOperation& operation, bool wide) const {
    if (!fits_one(operation.ports, peer_.server_port)) return false;
    if (subject_ == nullptr) return wide || !operation.needs_http();
    if (!fits_if(operation.hosts, [&](const auto& wanted) { return equals_host(wanted); })) return false;
    if (!fits(operation.methods, {subject_->request.method})) return false;
    for (const auto* list : {&operation.paths.values, &operation.paths.not_values})
      for (const auto& path : *list)
        if (path.kind == Kind::kTemplate && !is_valid_template(path.text)) return wide;
    return fits(operation.paths, unless_empty(std::string(subject_->path)));
  }

  bool equals_host(StringMatch wanted) const {
    wanted.text = lower(wanted.text);
    const std::string host(subject_->host);
    if (host.empty()) return false;
    // Of "[::1]:80" the last colon behind the bracket.
    const auto port_of = [](const std::string& text) -> std::string {
      const auto colon = text.rfind(':');
      if (colon == std::string::npos) return "";
      const auto open = text.find('[');
      const auto close = text.rfind(']');
      if (close != std::string::npos && close > colon) return "";
      if (open != std::string::npos && close == std::string::npos) return "";
      return text.substr(colon);
    };
    if (port_of(wanted.text).empty()) return equals(wanted, host);
    const auto port = port_of(subject_->request.authority);
    return port.size() > 1 && equals(wanted, host + port);
  }

  // Issuer and subject, each for itself (istiod, requestPrincipalGenerator): a value is cut at its last "/".
  bool fits_request_principal(const Match<StringMatch>& match) const {
    const std::string whole = subject_->claims == nullptr ? "" : subject_->claims->principal;
    const auto cut = whole.find('\xff');
    return fits_if(match, [&](const StringMatch& wanted) {
      if (whole.empty()) return false;
      if (wanted.kind == Kind::kPresent) return true;
      const auto issuer = whole.substr(0, cut), subject = whole.substr(cut + 1);
      const auto slash = wanted.text.rfind('/');
      if (slash == std::string::npos) {
        if (wanted.kind == Kind::kPrefix) return issuer.rfind(wanted.text, 0) == 0;
        return wanted.kind == Kind::kSuffix && equals(wanted, subject);
      }
      const auto first = wanted.text.substr(0, slash), second = wanted.text.substr(slash + 1);
      if (wanted.kind == Kind::kPrefix) return issuer == first && subject.rfind(second, 0) == 0;
      if (wanted.kind == Kind::kSuffix) return equals({Kind::kSuffix, first}, issuer) && subject == second;
      return issuer == first && subject == second;
    });
  }

  bool matches_condition(const PolicyCondition& condition, bool wide) const {
    using Key = PolicyCondition::Key;
    const auto* claims = subject_ == nullptr ? nullptr : subject_->claims;
    if (condition.key == Key::kUnsupported) return wide;
    if (condition.needs_http() && subject_ == nullptr) return wide;
    switch (condition.key) {
      case Key::kSourceIp:
        return fits_one(condition.blocks, peer_.client_ip);
      case Key::kRemoteIp:
        return fits_one(condition.blocks, peer_.remote_ip);
      case Key::kDestinationIp:
        return fits_one(condition.blocks, peer_.server_ip);
      case Key::kDestinationPort:
        return fits_one(condition.ports, peer_.server_port);
      case Key::kSourceNamespace:
        return fits(condition.strings, who_.ns);
      case Key::kSourcePrincipal:
        return fits(condition.strings, who_.principal);
      case Key::kHeader:
        return fits_header(condition);
      case Key::kRequestPrincipal:
        return fits_request_principal(condition.strings);
      case Key::kAudiences:
        return fits(condition.strings, claims == nullptr ? Texts{} : claims->audiences);
      case Key::kPresenter:
        return fits(condition.strings, claims == nullptr ? Texts{} : unless_empty(claims->presenter));
      case Key::kClaim:
        return fits(condition.strings, claims == nullptr ? Texts{} : claim(claims->all, condition.members));
      case Key::kUnsupported:
        break;
    }
    return false;
  }

  bool fits_header(const PolicyCondition& condition) const {
    std::optional<std::string> value;
    const auto& fields = subject_->request.fields;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (fields.at(i).name != condition.members.at(0)) continue;
      const std::string text(fields.at(i).value);
      value = value ? *value + "," + text : text;
    }
    if (condition.members.at(0) == "host" && !subject_->request.authority.empty()) value = subject_->request.authority;
    return fits_if(condition.strings, [&](const auto& wanted) {
      return value && (wanted.kind == Kind::kPresent || equals(wanted, *value));
    });
  }

  static Texts claim(const boost::json::object& all, const std::vector<std::string>& way) {
    boost::json::value at = all;
    for (const auto& member : way) {
      if (!at.is_object() || !at.as_object().contains(member)) return {};
      auto next = at.as_object().at(member);
      at = std::move(next);
    }
    Texts out;
    if (at.is_string() && (way == Texts{"scope"} || way == Texts{"permission"})) {
      std::istringstream stream(std::string(at.as_string()));
      for (std::string word; std::getline(stream, word, ' ');)
        if (!word.empty()) out.push_back(word);
    } else if (at.is_string()) {
      out.emplace_back(at.as_string());
    } else if (at.is_array()) {
      for (const auto& element : at.as_array())
        if (element.is_string()) out.emplace_back(element.as_string());
    }
    return out;
  }

  const HttpPolicySet& set_;
  const Peer& peer_;
  const Subject* subject_;
  Who who_;
  std::vector<const AuthorizationPolicy*> policies_;
};

}  // namespace

Verdict judge_plainly(const HttpPolicySet& set, const Peer& peer, const Subject& subject, Stage stage) {
  return Reading(set, peer, &subject).verdict(stage == Stage::kBeforeCustom);
}

Verdict judge_tcp_plainly(const HttpPolicySet& set, const Peer& peer) {
  return Reading(set, peer, nullptr).verdict(true);
}

}  // namespace underpass::test
