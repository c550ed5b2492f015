// SPDX-License-Identifier: Apache-2.0
#include "agent/ca/keeper.h"

#include <openssl/x509.h>

#include <algorithm>
#include <iterator>
#include <random>
#include <utility>

#include "agent/ca/issue.h"

namespace underpass::ca {
namespace {

using std::chrono::seconds;

constexpr seconds kFirstPause(1);
constexpr seconds kLongestPause(60);
constexpr double kSpread = 0.1;  // of a life: so much before its half a renewal may come
constexpr std::chrono::hours kUrgent(1);
constexpr std::size_t kMostNamed = 5;

double random_fraction() {
  thread_local std::mt19937_64 generator{std::random_device{}()};
  return std::uniform_real_distribution<>(0, 1)(generator);
}

bool is_valid(const std::optional<Issued>& held, WallTime now) {
  return held && out_of_time(held->pair.certificate, now).empty();
}

WallTime last_third(const Issued& issued) {
  const auto end = not_after(issued.pair.certificate);
  return end - (end - issued.issued) / 3;
}

}  // namespace

Keeper::Keeper(KeeperOptions options) : options_(std::move(options)) {}

WallTime Keeper::now() const { return options_.clock ? options_.clock() : std::chrono::system_clock::now(); }

void Keeper::set_wanted(const std::set<std::string>& identities) {
  std::erase_if(entries_, [&](const auto& entry) {
    const bool gone = !identities.contains(entry.first);
    if (gone && entry.second.asked) --asked_;
    return gone;
  });
  std::erase_if(given_, [&](const auto& one) { return !identities.contains(one.first); });
  for (const auto& identity : identities)
    if (const auto [entry, is_new] = entries_.try_emplace(identity); is_new) remember(identity, entry->second);
}

void Keeper::remember(const std::string& identity, Entry& entry) {
  const auto known = options_.remembered.find(identity);
  if (known == options_.remembered.end()) return;
  auto chain = parse_certificates(known->second.chain);
  auto key = parse_key(known->second.key);
  options_.remembered.erase(known);
  if (!chain || !key || describe(chain->front()).identity != identity) return;
  if (X509_check_private_key(chain->front().get(), key->get()) != 1) {
    (void)openssl_cause();
    return;
  }
  hold(entry, {.pair = {.certificate = chain->front(), .key = *key},
               .chain = *chain,
               .issued = not_before(chain->front()) + kBackdated});
}

Keeper::Step Keeper::step() {
  Step step;
  if (entries_.empty()) return step;
  const auto now = this->now();
  if (now < last_) try_again_at_once();  // the clock went back, and pauses would last as much longer
  last_ = now;
  if (options_.issuer->look(now, step.news)) try_again_at_once();
  if (options_.issuer->trust_bundle() != bundle_) {
    bundle_ = options_.issuer->trust_bundle();
    step.changed = true;
  }

  stepping_ = true;
  std::size_t made = 0;
  for (auto& [identity, entry] : entries_) {
    if (!is_due(entry, now)) continue;
    if (made + asked_ >= options_.issuer->at_once()) {
      step.more = asked_ == 0;
      break;
    }
    renew(identity, entry, now);
    if (!entry.asked) ++made;
  }
  stepping_ = false;
  give(step, now);
  return step;
}

void Keeper::give(Step& step, WallTime now) {
  for (const auto& [identity, entry] : entries_) {
    const auto place = given_.find(identity);
    if (!is_valid(entry.held, now)) {
      if (place != given_.end()) {
        given_.erase(place);
        step.changed = true;
        step.news.push_back("certificate-ended identity=" + identity);
      }
    } else if (place == given_.end() || place->second.chain != entry.chain) {
      given_[identity] = {.chain = entry.chain, .key = to_pem(entry.held->pair.key)};
      step.changed = true;
    }
  }
}

void Keeper::try_again_at_once() {
  for (auto& [identity, entry] : entries_) {
    entry.next_try = {};
    entry.pause = {};
  }
}

bool Keeper::is_due(const Entry& entry, WallTime now) const {
  if (entry.asked || entry.next_try > now) return false;
  if (!is_valid(entry.held, now)) return true;
  const auto& issuer = *options_.issuer;
  const bool good = issuer.obstacle().empty();
  if (good && issuer.is_outdated(*entry.held, now)) return true;
  if (entry.renewal > now) return false;
  // Where the issuer itself ends, a new one would end with it, as the present one does.
  const auto end = not_after(entry.held->pair.certificate);
  return !good || std::min(now + options_.svid_life, issuer.ends()) > end;
}

void Keeper::renew(const std::string& identity, Entry& entry, WallTime now) {
  entry.asked = true;
  ++asked_;
  options_.issuer->issue(identity, now, [this, identity](Result<Issued> made) {
    const auto found = entries_.find(identity);
    if (found == entries_.end() || !found->second.asked) return;  // not wanted any more
    take(found->second, std::move(made));
    if (!stepping_ && options_.wake) options_.wake();
  });
}

void Keeper::take(Entry& entry, Result<Issued> made) {
  entry.asked = false;
  --asked_;
  ++(made ? counts_.succeeded : counts_.failed);
  entry.problem = made ? "" : made.error().message;
  entry.pause = made ? seconds(0) : std::clamp(entry.pause * 2, kFirstPause, kLongestPause);
  entry.next_try = made ? WallTime() : now() + entry.pause;
  if (made) hold(entry, std::move(*made));
}

void Keeper::hold(Entry& entry, Issued issued) {
  const auto random = options_.random ? options_.random() : random_fraction();
  const auto lasts = not_after(issued.pair.certificate) - issued.issued;
  entry.renewal = issued.issued + std::chrono::duration_cast<WallTime::duration>(lasts * (0.5 - kSpread * random));
  entry.chain = to_pem(issued.chain);
  entry.held = std::move(issued);
}

std::vector<Row> Keeper::rows() const {
  auto out = options_.issuer->rows(now());
  for (const auto& [identity, entry] : entries_) {
    Row row{.identity = identity, .problem = entry.problem, .pem = given_.contains(identity) ? entry.chain : ""};
    if (given_.contains(identity)) {
      row.details = describe(entry.held->pair.certificate);
      row.renewal = entry.renewal;
    }
    out.push_back(std::move(row));
  }
  return out;
}

std::vector<Problem> Keeper::problems() const {
  if (entries_.empty()) return {};
  auto out = options_.issuer->problems(now());
  add_problems_of_entries(now(), out);
  return out;
}

std::string Keeper::cause_of(const Entry& entry) const {
  if (auto obstacle = options_.issuer->obstacle(); !obstacle.empty()) return obstacle;  // said at length already
  if (!entry.problem.empty()) return entry.problem;
  if (entry.asked) return "it was asked for, and there is no answer yet";
  return options_.issuer->trust_bundle().empty() ? "it has no authority yet"
                                                 : "its authority ends at " + time_text(options_.issuer->ends());
}

void Keeper::add_problems_of_entries(WallTime now, std::vector<Problem>& out) const {
  std::size_t concerned = 0;
  for (const auto& [identity, entry] : entries_) {
    const bool valid = is_valid(entry.held, now);
    if (!valid && entry.problem.empty() && options_.issuer->obstacle().empty()) continue;  // its turn has not come
    if (valid && now < last_third(*entry.held)) continue;
    if (++concerned > kMostNamed) continue;
    if (valid) {
      const auto end = not_after(entry.held->pair.certificate);
      out.push_back({.text = "certificate " + identity + ": is not renewed: " + cause_of(entry) + "; it ends at " +
                             time_text(end),
                     .urgent = end - now < kUrgent});
    } else {
      out.push_back({.text = "certificate " + identity + ": there is none: " + cause_of(entry) +
                             "; other nodes are neither reached nor believed",
                     .urgent = true});
    }
  }
  if (concerned > kMostNamed)
    out.push_back({.text = "certificates: " + std::to_string(concerned - kMostNamed) + " more are not renewed"});
}

}  // namespace underpass::ca
