// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/remotes.h"

namespace underpass::compile {

std::string to_text(const Remotes& remotes) {
  std::string out;
  for (const auto& [key, row] : remotes) {
    out += "up_remotes " + key.ip.to_string() + (key.port == 0 ? "" : " port " + std::to_string(key.port));
    out += " " + row.pod.to_string() + " identity=" + std::to_string(row.identity);
    out += row.tunnel == model::Tunnel::kHbone ? " tunnel=hbone\n" : " tunnel=none\n";
  }
  return out;
}

}  // namespace underpass::compile
