// SPDX-License-Identifier: Apache-2.0
// A set of ports, as those that are in it or those that are not, so that "all but 80" is as small as "80".
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <set>
#include <utility>

#include "underpass/model/policy.h"

namespace underpass::compile {

class PortSet {
 public:
  using Ports = std::set<std::uint16_t>;

  PortSet() = default;  // none
  static PortSet only(Ports ports) { return {std::move(ports), false}; }
  static PortSet all_but(Ports ports) { return {std::move(ports), true}; }

  // What a Match lets through.
  static PortSet of(const model::Match<std::uint16_t>& match) {
    auto excluded = all_but({match.not_values.begin(), match.not_values.end()});
    if (match.values.empty()) return excluded;
    return only({match.values.begin(), match.values.end()}) & excluded;
  }

  // Of listed() all are in the set, or none; of the other ports none, or all.
  [[nodiscard]] const Ports& listed() const { return listed_; }
  [[nodiscard]] bool has_others() const { return inverted_; }

  friend PortSet operator~(PortSet a) { return {std::move(a.listed_), !a.inverted_}; }

  friend PortSet operator&(const PortSet& a, const PortSet& b) {
    if (a.inverted_ && b.inverted_) {
      auto either = a.listed_;
      either.insert(b.listed_.begin(), b.listed_.end());
      return all_but(std::move(either));
    }
    const auto& listing = a.inverted_ ? b : a;
    const auto& other = a.inverted_ ? a : b;
    Ports both;
    std::ranges::copy_if(listing.listed_, std::inserter(both, both.end()),
                         [&](std::uint16_t port) { return other.listed_.contains(port) != other.inverted_; });
    return only(std::move(both));
  }

  friend PortSet operator|(const PortSet& a, const PortSet& b) { return ~(~a & ~b); }

 private:
  PortSet(Ports listed, bool inverted) : listed_(std::move(listed)), inverted_(inverted) {}

  Ports listed_;
  bool inverted_ = false;
};

}  // namespace underpass::compile
