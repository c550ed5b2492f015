// SPDX-License-Identifier: Apache-2.0
// Verifier: the rules of several RequestAuthentications put together, and what becomes of a request by them. A token
// belongs to the rules that look in the place where it was and have its issuer; of several the first that takes it
// counts. A token that belongs to no rule is refused, as one that is not good is.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "userspace_proxy/jwt/good_tokens.h"
#include "userspace_proxy/jwt/outputs.h"
#include "userspace_proxy/jwt/parts.h"
#include "userspace_proxy/jwt/places.h"
#include "userspace_proxy/jwt/token.h"

namespace underpass::jwt {

namespace {

constexpr std::size_t kMaxTokens = 8;  // of one request

// A rule that counts, with its keys, or why it has none.
struct Rule {
  model::JwtRule asks;
  std::string object;  // "RequestAuthentication shop/jwt: jwtRules[0]", for the log
  std::shared_ptr<const KeySet> keys;
  Refusal no_keys;

  [[nodiscard]] bool allows(const std::vector<std::string>& audiences) const {
    return asks.audiences.empty() || std::ranges::any_of(audiences, [&](const std::string& audience) {
             return std::ranges::count(asks.audiences, audience) != 0;
           });
  }
};

Rule make_rule(const model::JwtRule& asks, std::string object, const RoutingTable& table) {
  Rule rule{.asks = asks, .object = std::move(object), .keys = nullptr, .no_keys = {}};
  const auto fetched = table.jwks.find(asks.jwks_uri);
  if (asks.jwks.empty() && fetched == table.jwks.end()) {
    rule.no_keys = {.message = "Jwks remote fetch is failed",
                    .cause = "no keys were fetched yet from " + asks.jwks_uri};
    return rule;
  }
  auto keys = KeySet::parse(asks.jwks.empty() ? fetched->second : asks.jwks);
  if (keys) {
    rule.keys = std::move(*keys);
  } else {
    const auto from = asks.jwks.empty() ? asks.jwks_uri : "jwks";
    rule.no_keys = {.message = "Jwks doesn't have any valid public key", .cause = from + ": " + keys.error().message};
  }
  return rule;
}

double seconds_of(std::chrono::system_clock::time_point when) {
  return std::chrono::duration<double>(when.time_since_epoch()).count();
}

// A good token of a request.
struct Taken {
  const Rule* rule = nullptr;
  std::shared_ptr<const Claims> claims;
};

// The part between the dots.
std::string_view payload_of(std::string_view token) {
  const auto first = token.find('.') + 1;
  return token.substr(first, token.find('.', first) - first);
}

void put_out(http::Request& request, const Taken& taken, std::string_view token) {
  const auto& asks = taken.rule->asks;
  if (!asks.output_payload_to_header.empty()) request.fields.set(asks.output_payload_to_header, payload_of(token));
  for (const auto& [header, claim] : asks.output_claims)
    if (const auto value = claim_as_field(taken.claims->all, claim)) request.fields.set(header, *value);
}

Outcome refused(const Refusal& why) {
  return {.ok = false,
          .cause = std::string(why.message) + (why.cause.empty() ? "" : ": " + why.cause),
          .message = std::string(why.message),
          .claims = nullptr};
}

}  // namespace

struct Verifier::State {
  std::vector<Rule> rules;
  std::vector<Place> places;
  std::vector<std::vector<std::size_t>> rules_of;  // a place
  std::set<std::string> outputs;                   // headers
  mutable GoodTokens good;

  void add(Rule rule);
  [[nodiscard]] std::expected<Taken, Refusal> check(const Found& found, double now) const;
  [[nodiscard]] std::optional<Taken> remembered(const Found& found, const Digest& digest, double now) const;
  [[nodiscard]] std::expected<std::size_t, Refusal> find_rule(std::size_t place, const Parts& parts, double now) const;
  [[nodiscard]] static std::optional<Refusal> check_with(const Rule& rule, const Parts& parts, double now);
};

void Verifier::State::add(Rule rule) {
  const auto number = rules.size();
  for (auto& place : places_of(rule.asks)) {
    const auto index = static_cast<std::size_t>(std::ranges::find(places, place) - places.begin());
    if (index == places.size()) {
      places.push_back(std::move(place));
      rules_of.emplace_back();
    }
    if (std::ranges::count(rules_of[index], number) == 0) rules_of[index].push_back(number);
  }
  if (!rule.asks.output_payload_to_header.empty()) outputs.insert(rule.asks.output_payload_to_header);
  for (const auto& output : rule.asks.output_claims) outputs.insert(output.header);
  rules.push_back(std::move(rule));
}

// What is cheap first, as Envoy does; so a token that nobody signed may be told that it is expired.
std::optional<Refusal> Verifier::State::check_with(const Rule& rule, const Parts& parts, double now) {
  if (auto problem = parts.lifetime.problem_at(now)) return problem;
  if (!rule.allows(parts.claims->audiences)) return Refusal{.message = "Audiences in Jwt are not allowed", .cause = ""};
  if (!rule.keys) return rule.no_keys;
  return rule.keys->check(parts);
}

std::expected<std::size_t, Refusal> Verifier::State::find_rule(std::size_t place, const Parts& parts,
                                                               double now) const {
  std::optional<Refusal> first;
  for (const auto number : rules_of[place]) {
    const auto& rule = rules[number];
    if (rule.asks.issuer != parts.issuer) continue;
    auto problem = check_with(rule, parts, now);
    if (!problem) return number;
    if (first) continue;
    first = Refusal{.message = problem->message,
                    .cause = rule.object + (problem->cause.empty() ? "" : ": " + problem->cause)};
  }
  if (!first) first = Refusal{.message = "Jwt issuer is not configured", .cause = ""};
  return std::unexpected(std::move(*first));
}

std::optional<Taken> Verifier::State::remembered(const Found& found, const Digest& digest, double now) const {
  const auto known = good.find(digest);
  if (!known || std::ranges::count(rules_of[found.place], known->rule) == 0 || known->lifetime.problem_at(now))
    return std::nullopt;
  return Taken{.rule = &rules[known->rule], .claims = {known, &known->claims}};
}

std::expected<Taken, Refusal> Verifier::State::check(const Found& found, double now) const {
  const auto digest = good.digest_of(found.token);
  if (digest) {
    if (auto known = remembered(found, *digest, now)) return std::move(*known);
  }
  const auto parts = take_apart(found.token);
  if (!parts) return std::unexpected(parts.error());
  const auto number = find_rule(found.place, *parts, now);
  if (!number) return std::unexpected(number.error());
  auto entry = std::make_shared<Good>();
  entry->rule = *number;
  entry->lifetime = parts->lifetime;
  entry->claims = std::move(*parts->claims);
  Taken taken{.rule = &rules[*number], .claims = {entry, &entry->claims}};
  if (digest) {
    entry->digest = *digest;
    good.put(std::move(entry));
  }
  return taken;
}

Verifier::Verifier(std::span<const model::RequestAuthentication> authentications, const RoutingTable& table)
    : state_(std::make_unique<State>()) {
  for (const auto& object : authentications)
    for (std::size_t i = 0; i < object.rules.size(); ++i)
      state_->add(make_rule(object.rules[i],
                            "RequestAuthentication " + object.id.to_string() + ": jwtRules[" + std::to_string(i) + "]",
                            table));
}

Verifier::~Verifier() = default;

Outcome Verifier::verify(http::Request& request, std::chrono::system_clock::time_point now) const {
  for (const auto& header : state_->outputs) request.fields.remove(header);
  const auto found = find_tokens(request, state_->places, kMaxTokens + 1);
  if (found.size() > kMaxTokens)
    return refused({.message = "Found multiple Jwt tokens", .cause = "more than " + std::to_string(kMaxTokens)});
  std::vector<Taken> taken;
  std::vector<Found> gone;
  for (const auto& each : found) {
    auto good = state_->check(each, seconds_of(now));
    if (!good) return refused(good.error());
    if (!good->rule->asks.forward_original_token) gone.push_back(each);
    taken.push_back(std::move(*good));
  }
  if (!gone.empty()) remove_tokens(request, state_->places, gone);
  for (std::size_t i = 0; i < taken.size(); ++i) put_out(request, taken[i], found[i].token);
  Outcome outcome;
  if (!taken.empty()) outcome.claims = std::move(taken.back().claims);
  return outcome;
}

}  // namespace underpass::jwt
