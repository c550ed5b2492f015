// SPDX-License-Identifier: Apache-2.0
#include "agent/ca/issuer.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace underpass::ca {
namespace {

constexpr std::chrono::hours kUrgent(1);
constexpr std::chrono::days kLongestWarning(30);

}  // namespace

WallTime warning_from(const CertificatePtr& certificate) {
  const auto end = not_after(certificate);
  return end - std::min<WallTime::duration>((end - not_before(certificate)) / 3, kLongestWarning);
}

std::vector<Row> rows_of(Kind kind, const std::vector<CertificatePtr>& certificates, WallTime now) {
  std::vector<Row> out;
  for (const auto& one : certificates) {
    Row row{.kind = kind, .details = describe(one), .pem = to_pem({&one, 1})};
    row.problem = out_of_time(one, now);
    out.push_back(std::move(row));
  }
  return out;
}

std::vector<Problem> problems_of_ends(const std::string& place, const std::vector<CertificatePtr>& certificates,
                                      WallTime now) {
  std::vector<Problem> out;
  for (const auto& one : certificates) {
    if (now < warning_from(one)) continue;
    const auto end = not_after(one);
    out.push_back({.text = "ca " + place + ": \"" + describe(one).subject + "\" " +
                           (now < end ? "ends at " : "ended at ") + time_text(end) + "; put another into its place",
                   .urgent = end - now < kUrgent});
  }
  return out;
}

}  // namespace underpass::ca
