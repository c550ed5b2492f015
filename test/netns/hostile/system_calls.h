// SPDX-License-Identifier: Apache-2.0
// What a hostile worker asks of the kernel besides its sockets: files, memory of others, namespaces, processes, BPF.
#pragma once

#include <string>
#include <vector>

namespace underpass::test {

// Names of the tries.
std::vector<std::string> system_call_tries();
// How the try with this name ended: the name of the error, or "ok" where it was let.
std::string try_system_call(const std::string& name);

}  // namespace underpass::test
