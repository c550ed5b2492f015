// SPDX-License-Identifier: Apache-2.0
// A thousand policies as a namespace may have them: one in ten a DENY, by principal, by namespace, by address block and
// by port. Nobody who is measured is let in by any of them but the last.
#pragma once

#include <string>

namespace underpass::bench {

// Policy `number` of a namespace, as an object. `version`: it names somebody else in each. `labels`: of the pods that
// it is for, as JSON; empty: all.
std::string policy_text(const std::string& ns, int number, int version = 0, const std::string& labels = "");
// Lets in the service accounts of a namespace and an address. By its name it is the last.
std::string last_policy_text(const std::string& ns, const std::string& from_namespace, const std::string& from_ip);

}  // namespace underpass::bench
