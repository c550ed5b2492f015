// SPDX-License-Identifier: Apache-2.0
#include "agent/ca/folder_issuer.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "agent/ca/issue.h"

namespace underpass::ca {
namespace {

using std::chrono::seconds;

constexpr seconds kUpkeepPause(60);

}  // namespace

bool FolderIssuer::must_read(const std::string& fingerprint, WallTime now) const {
  if (!was_read_ || !problem_.empty() || fingerprint != fingerprint_) return true;
  if (opened_->next && *opened_->next <= now && next_upkeep_ <= now) return true;
  const auto& authority = opened_->authority;
  return now >= authority.ends || now < not_before(authority.issuer.certificate);
}

bool FolderIssuer::look(WallTime now, std::vector<std::string>& news) {
  if (now < last_) next_upkeep_ = now;  // the clock went back
  last_ = now;
  auto fingerprint = folder_.fingerprint();
  if (!must_read(fingerprint, now)) return false;
  fingerprint_ = std::move(fingerprint);
  was_read_ = true;
  auto opened = open_authority(folder_, options_, now, !opened_);
  if (!opened) {
    if (problem_.empty()) since_ = now;
    problem_ = opened.error().message;
    return false;
  }
  next_upkeep_ = opened->problem.empty() ? now : now + kUpkeepPause;
  if (!std::exchange(problem_, "").empty()) news.push_back("ca-good-again folder=" + folder_.path());
  if (!opened->done.empty()) fingerprint_.clear();  // it was of the folder before that
  news.insert(news.end(), opened->done.begin(), opened->done.end());
  opened_ = std::move(*opened);
  auto bundle = to_pem(opened_->authority.bundle);
  if (bundle != bundle_) {
    if (!bundle_.empty()) news.push_back("trust-bundle-changed folder=" + folder_.path());
    bundle_ = std::move(bundle);
  }
  return true;
}

std::string FolderIssuer::obstacle() const { return problem_.empty() ? "" : "its authority is not good"; }

bool FolderIssuer::is_outdated(const Issued& issued, WallTime /*now*/) const {
  const auto& present = opened_->authority.issuer.certificate;
  if (issued.chain.size() > 1) return !same(issued.chain[1], present);
  return X509_check_issued(present.get(), issued.pair.certificate.get()) != X509_V_OK;  // the root itself
}

Result<Issued> FolderIssuer::make(const std::string& identity, WallTime now) const {
  if (!problem_.empty()) return fail(problem_);
  const auto& authority = opened_->authority;
  const auto lasts = std::min<WallTime::duration>(options_.svid_life, authority.ends - now);
  auto svid = make_svid(authority.issuer, identity, {.now = now, .lasts = std::chrono::duration_cast<seconds>(lasts)});
  if (!svid) return std::unexpected(svid.error());
  if (auto good = check_issued(authority, svid->certificate, now); !good) return std::unexpected(good.error());
  Issued out{.pair = std::move(*svid), .chain = {}, .issued = now};
  out.chain.push_back(out.pair.certificate);
  out.chain.insert(out.chain.end(), authority.chain.begin(), authority.chain.end());
  return out;
}

void FolderIssuer::issue(const std::string& identity, WallTime now, Done done) { done(make(identity, now)); }

std::vector<Row> FolderIssuer::rows(WallTime now) const {
  if (!opened_) return {};
  const auto& authority = opened_->authority;
  auto out = rows_of(Kind::kRoot, authority.bundle, now);
  auto between = rows_of(Kind::kIntermediate, authority.chain, now);
  for (std::size_t i = 0; i < between.size(); ++i) {
    if (!same(authority.chain[i], authority.issuer.certificate)) continue;
    if (between[i].problem.empty()) between[i].problem = problem_;
    if (authority.root) between[i].renewal = half_life(authority.chain[i]);
  }
  std::ranges::move(between, std::back_inserter(out));
  return out;
}

std::vector<Problem> FolderIssuer::problems(WallTime now) const {
  std::vector<Problem> out;
  if (!problem_.empty())
    out.push_back({.text = "ca " + problem_ + ", since " + time_text(since_) +
                           "; nothing is signed, and certificates that there are stay in use until they end"});
  if (!opened_) return out;
  if (!opened_->problem.empty()) out.push_back({.text = "ca " + opened_->problem});
  const auto& authority = opened_->authority;
  auto all = authority.chain;
  for (const auto& one : authority.bundle)
    if (!authority.retired || !same(*authority.retired, one)) all.push_back(one);
  std::ranges::move(problems_of_ends(folder_.path(), all, now), std::back_inserter(out));
  return out;
}

}  // namespace underpass::ca
