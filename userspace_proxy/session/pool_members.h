// SPDX-License-Identifier: Apache-2.0
// What pools of connections have in common: groups by key, each with a list of members.
#pragma once

#include <vector>

namespace underpass::session {

// Whoever loses a member may look for another, in a group that is new: so they are gathered before they are visited.
template <typename Groups, typename Visit>
void visit_members(Groups& groups, Visit visit) {
  using Member = typename decltype(Groups::mapped_type::members)::value_type;
  std::vector<Member*> all;
  for (auto& [key, group] : groups)
    for (auto& member : group.members) all.push_back(&member);
  for (auto* member : all) visit(*member);
}

// Those that ended must be gone.
template <typename Groups>
void drop_empty(Groups& groups) {
  std::erase_if(groups, [](const auto& entry) { return entry.second.members.empty() && entry.second.waiting.empty(); });
}

// It is the first that is asked.
template <typename Member>
void put_first(Member& member) {
  auto& members = member.group().members;
  if (&members.front() != &member) members.splice(members.begin(), members, member.place);
}

}  // namespace underpass::session
