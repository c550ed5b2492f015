// SPDX-License-Identifier: Apache-2.0
// For one fact that clauses ask about: which of them it satisfies.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

#include "userspace_proxy/authz/clause_bits.h"
#include "userspace_proxy/authz/requirements.h"
#include "userspace_proxy/authz/value_index.h"

namespace underpass::authz {

class Dimension {
 public:
  Dimension(Fact fact, std::size_t clauses);

  [[nodiscard]] const Fact& fact() const { return fact_; }
  // Whether the clause asks here already: one that asks for the same fact twice needs two dimensions.
  [[nodiscard]] bool has(std::size_t clause) const { return has_bit(asking_, clause); }
  // Clauses in order.
  void add(const Requirement& requirement, std::size_t clause);
  void finish();

  // Takes out of `clauses` those that the fact does not satisfy. `tell` calls what it is given with each value of the
  // fact, not at all if there is none, and whether that is a host with its port. `room` has as many words.
  template <typename Tell>
  void narrow(Words clauses, Words room, const Tell& tell) const {
    if (!have_common(clauses, asking_)) return;
    std::ranges::copy(open_, room.begin());
    tell([&](std::string_view value, bool has_port) {
      (has_port ? with_port_ : plain_).values.find(value, empty_is_present_, [&](const auto& row) {
        row.set_in(room);
      });
    });
    if (has_not_values_) {
      tell([&](std::string_view value, bool has_port) {
        (has_port ? with_port_ : plain_).not_values.find(value, empty_is_present_, [&](const auto& row) {
          row.clear_in(room);
        });
      });
    }
    for (std::size_t i = 0; i < clauses.size(); ++i) clauses[i] &= room[i];
  }

  [[nodiscard]] bool wants_port() const { return wants_port_; }

 private:
  struct Indexes {
    ValueIndex values;
    ValueIndex not_values;
  };

  Fact fact_;
  std::vector<Word> asking_;
  std::vector<Word> open_;  // those to whom any value is right, as far as their `values` are concerned
  Indexes plain_;
  Indexes with_port_;  // hosts that a policy names with a port
  bool empty_is_present_;
  bool has_not_values_ = false;
  bool wants_port_ = false;
};

}  // namespace underpass::authz
