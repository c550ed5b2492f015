// SPDX-License-Identifier: Apache-2.0
#include "agent/ca/keeper.h"

#include <algorithm>
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
constexpr std::chrono::days kLongestWarning(30);
constexpr std::size_t kMostNamed = 5;

double random_fraction() {
  thread_local std::mt19937_64 generator{std::random_device{}()};
  return std::uniform_real_distribution<>(0, 1)(generator);
}

bool is_valid(const CertificatePtr& certificate, WallTime now) {
  return certificate && out_of_time(certificate, now).empty();
}

WallTime last_third(const CertificatePtr& certificate) {
  const auto end = not_after(certificate);
  const WallTime made = not_before(certificate) + kBackdated;
  return end - (end - made) / 3;
}

// Of what authorities have, which last for years.
WallTime warning_from(const CertificatePtr& certificate) {
  const auto end = not_after(certificate);
  return end - std::min<WallTime::duration>((end - not_before(certificate)) / 3, kLongestWarning);
}

}  // namespace

Keeper::Keeper(KeeperOptions options) : options_(std::move(options)), folder_(options_.folder) {}

WallTime Keeper::now() const { return options_.clock ? options_.clock() : std::chrono::system_clock::now(); }

void Keeper::set_wanted(const std::set<std::string>& identities) {
  std::erase_if(entries_, [&](const auto& entry) { return !identities.contains(entry.first); });
  std::erase_if(given_, [&](const auto& one) { return !identities.contains(one.first); });
  for (const auto& identity : identities) entries_.try_emplace(identity);
}

Keeper::Step Keeper::step() {
  Step step;
  if (entries_.empty()) return step;
  const auto now = this->now();
  if (now < last_) {  // the clock went back, and pauses would last as much longer
    try_again_at_once();
    next_upkeep_ = now;
  }
  last_ = now;
  look(now, step);

  std::size_t made = 0;
  for (auto& [identity, entry] : entries_) {
    if (!is_due(entry, now)) continue;
    if (made == options_.at_once) {
      step.more = true;
      break;
    }
    ++made;
    renew(identity, entry, now);
  }
  for (const auto& [identity, entry] : entries_) {
    const auto place = given_.find(identity);
    if (!is_valid(entry.pair.certificate, now)) {
      if (place != given_.end()) {
        given_.erase(place);
        step.changed = true;
        step.news.push_back("certificate-ended identity=" + identity);
      }
    } else if (place == given_.end() || place->second.chain != entry.chain) {
      given_[identity] = {.chain = entry.chain, .key = to_pem(entry.pair.key)};
      step.changed = true;
    }
  }
  return step;
}

bool Keeper::must_read(const std::string& fingerprint, WallTime now) const {
  if (!was_read_ || !problem_.empty() || fingerprint != fingerprint_) return true;
  if (opened_->next && *opened_->next <= now && next_upkeep_ <= now) return true;
  const auto& authority = opened_->authority;
  return now >= authority.ends || now < not_before(authority.issuer.certificate);
}

void Keeper::look(WallTime now, Step& step) {
  auto fingerprint = folder_.fingerprint();
  if (!must_read(fingerprint, now)) return;
  fingerprint_ = std::move(fingerprint);
  was_read_ = true;
  auto opened = open_authority(folder_, options_.upkeep, now, !opened_);
  if (!opened) {
    if (problem_.empty()) since_ = now;
    problem_ = opened.error().message;
    return;
  }
  next_upkeep_ = opened->problem.empty() ? now : now + kLongestPause;
  if (!std::exchange(problem_, "").empty()) step.news.push_back("ca-good-again folder=" + folder_.path());
  if (!opened->done.empty()) fingerprint_.clear();  // it was of the folder before that
  step.news.insert(step.news.end(), opened->done.begin(), opened->done.end());
  adopt(std::move(*opened), step);
}

void Keeper::adopt(Opened opened, Step& step) {
  opened_ = std::move(opened);
  auto bundle = to_pem(opened_->authority.bundle);
  if (bundle != bundle_) {
    if (!bundle_.empty()) step.news.push_back("trust-bundle-changed folder=" + folder_.path());
    bundle_ = std::move(bundle);
    step.changed = true;
  }
  try_again_at_once();
}

void Keeper::try_again_at_once() {
  for (auto& [identity, entry] : entries_) {
    entry.next_try = {};
    entry.pause = {};
  }
}

bool Keeper::is_due(const Entry& entry, WallTime now) const {
  if (entry.next_try > now) return false;
  if (!is_valid(entry.pair.certificate, now)) return true;
  if (problem_.empty() && !same(entry.issuer, opened_->authority.issuer.certificate)) return true;
  if (entry.renewal > now) return false;
  // Where the authority itself ends, a new one would end with it, as the present one does.
  const auto end = not_after(entry.pair.certificate);
  return !problem_.empty() || std::min(now + options_.upkeep.svid_life, opened_->authority.ends) > end;
}

void Keeper::renew(const std::string& identity, Entry& entry, WallTime now) {
  const auto made = make(identity, entry, now);
  ++(made ? counts_.succeeded : counts_.failed);
  entry.problem = made ? "" : made.error().message;
  entry.pause = made ? seconds(0) : std::clamp(entry.pause * 2, kFirstPause, kLongestPause);
  entry.next_try = made ? WallTime() : now + entry.pause;
}

Result<void> Keeper::make(const std::string& identity, Entry& entry, WallTime now) {
  if (!problem_.empty()) return fail(problem_);
  const auto& authority = opened_->authority;
  const auto lasts = std::min<WallTime::duration>(options_.upkeep.svid_life, authority.ends - now);
  auto svid = make_svid(authority.issuer, identity, {.now = now, .lasts = std::chrono::duration_cast<seconds>(lasts)});
  if (!svid) return std::unexpected(svid.error());
  if (auto good = check_issued(authority, svid->certificate, now); !good) return good;
  const auto random = options_.random ? options_.random() : random_fraction();
  entry.pair = std::move(*svid);
  entry.issuer = authority.issuer.certificate;
  std::vector chain{entry.pair.certificate};
  chain.insert(chain.end(), authority.chain.begin(), authority.chain.end());
  entry.chain = to_pem(chain);
  entry.renewal = now + std::chrono::duration_cast<WallTime::duration>(lasts * (0.5 - kSpread * random));
  return {};
}

Result<void> Keeper::rotate_root() const { return ca::rotate_root(folder_, options_.upkeep, now()); }

std::vector<Row> Keeper::rows() const {
  std::vector<Row> out;
  if (opened_) {
    const auto& authority = opened_->authority;
    for (const auto& root : authority.bundle) {
      Row row{.kind = Kind::kRoot, .details = describe(root), .pem = to_pem({&root, 1})};
      row.problem = out_of_time(root, now());
      out.push_back(std::move(row));
    }
    for (const auto& one : authority.chain) {
      Row row{.kind = Kind::kIntermediate, .details = describe(one), .pem = to_pem({&one, 1})};
      row.problem = out_of_time(one, now());
      if (same(one, authority.issuer.certificate) && row.problem.empty()) row.problem = problem_;
      if (authority.root && same(one, authority.issuer.certificate)) row.renewal = half_life(one);
      out.push_back(std::move(row));
    }
  }
  for (const auto& [identity, entry] : entries_) {
    Row row{.identity = identity, .problem = entry.problem, .pem = given_.contains(identity) ? entry.chain : ""};
    if (given_.contains(identity)) {
      row.details = describe(entry.pair.certificate);
      row.renewal = entry.renewal;
    }
    out.push_back(std::move(row));
  }
  return out;
}

std::vector<Problem> Keeper::problems() const {
  std::vector<Problem> out;
  if (entries_.empty()) return out;
  add_problems_of_authority(now(), out);
  add_problems_of_entries(now(), out);
  return out;
}

void Keeper::add_problems_of_authority(WallTime now, std::vector<Problem>& out) const {
  if (!problem_.empty())
    out.push_back({.text = "ca " + problem_ + ", since " + time_text(since_) +
                           "; nothing is signed, and certificates that there are stay in use until they end"});
  if (!opened_) return;
  if (!opened_->problem.empty()) out.push_back({.text = "ca " + opened_->problem});
  const auto& authority = opened_->authority;
  auto all = authority.chain;
  all.insert(all.end(), authority.bundle.begin(), authority.bundle.end());
  for (const auto& one : all) {
    const bool retired = authority.retired && same(*authority.retired, one);
    if (now < warning_from(one) || retired) continue;
    const auto end = not_after(one);
    out.push_back({.text = "ca " + folder_.path() + ": \"" + describe(one).subject + "\" " +
                           (now < end ? "ends at " : "ended at ") + time_text(end) + "; put another into its place",
                   .urgent = end - now < kUrgent});
  }
}

std::string Keeper::cause_of(const Entry& entry) const {
  if (!problem_.empty()) return "its authority is not good";  // said already
  if (!entry.problem.empty()) return entry.problem;
  return opened_ ? "its authority ends at " + time_text(opened_->authority.ends) : "it has no authority yet";
}

void Keeper::add_problems_of_entries(WallTime now, std::vector<Problem>& out) const {
  std::size_t concerned = 0;
  for (const auto& [identity, entry] : entries_) {
    const bool valid = is_valid(entry.pair.certificate, now);
    if (!valid && entry.problem.empty()) continue;  // its turn has not come
    if (valid && now < last_third(entry.pair.certificate)) continue;
    if (++concerned > kMostNamed) continue;
    if (valid) {
      const auto end = not_after(entry.pair.certificate);
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
