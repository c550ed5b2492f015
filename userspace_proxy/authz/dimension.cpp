// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/authz/dimension.h"

#include <utility>

namespace underpass::authz {

Dimension::Dimension(Fact fact, std::size_t clauses)
    : fact_(std::move(fact)),
      asking_(words_for(clauses)),
      open_(words_for(clauses), ~Word{0}),
      empty_is_present_(fact_.kind == Fact::Kind::kHeader) {}

void Dimension::add(const Requirement& requirement, std::size_t clause) {
  const bool is_host = fact_.kind == Fact::Kind::kHost;
  const auto indexes_of = [&](const model::StringMatch& match) -> Indexes& {
    const bool with_port = is_host && has_port(match);
    wants_port_ |= with_port;
    return with_port ? with_port_ : plain_;
  };
  set_bit(asking_, clause);
  if (!requirement.match.values.empty()) clear_bit(open_, clause);
  for (const auto& match : requirement.match.values) indexes_of(match).values.add(match, clause);
  for (const auto& match : requirement.match.not_values) indexes_of(match).not_values.add(match, clause);
  has_not_values_ |= !requirement.match.not_values.empty();
}

void Dimension::finish() {
  for (auto* indexes : {&plain_, &with_port_}) {
    indexes->values.finish();
    indexes->not_values.finish();
  }
}

}  // namespace underpass::authz
