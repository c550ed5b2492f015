// SPDX-License-Identifier: Apache-2.0
// Which pods belong to the mesh, as the agent last knew it: what the plugin goes by while the agent does not answer. In
// --state-dir, since after a reboot pods start before the agent does. A pod that is not named follows its namespace.
// There are two copies, since a file that cannot be read leaves no good choice: to let pods of the mesh start
// unguarded, or to stop everybody's.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "underpass/ids.h"
#include "underpass/result.h"

namespace underpass::cni {

struct Enrolment {
  std::set<std::string> namespaces;     // labelled underpass.dev/mesh: enabled
  std::map<NamespacedName, bool> pods;  // of this node, that say themselves whether they are in the mesh

  [[nodiscard]] bool wants(const NamespacedName& pod) const;
  bool operator==(const Enrolment&) const = default;
};

std::string encode_enrolment(const Enrolment& enrolment);
Result<Enrolment> decode_enrolment(std::string_view text);

// Both copies, `path` last, each in one step that is on the disk when it returns: whenever `path` is there, one of them
// is whole.
Result<void> write_enrolment(const std::string& path, const Enrolment& enrolment);
// Absent where `path` does not exist, whatever the copy says: so an operator can take it away. An error: neither can be
// read.
Result<std::optional<Enrolment>> read_enrolment(const std::string& path);
// No pod is held back any more. What is not there is no error.
Result<void> remove_enrolment(const std::string& path);

}  // namespace underpass::cni
