// SPDX-License-Identifier: Apache-2.0
// The certificates of an agent whose issuer is somebody else, for the agent after it: so that a restart, or an upgrade
// on a hundred nodes, asks nobody for anything, and finds them also while nobody answers. In a file of root's alone on
// a tmpfs (--run-dir): a reboot, which ends the pods, ends their keys.
#pragma once

#include <string>

#include "agent/ca/keeper.h"
#include "underpass/result.h"

namespace underpass::ca {

struct Remembered {
  std::string trust_bundle;
  CertificateMap certificates;
};

std::string remembered_path(const std::string& run_dir);

// Nothing where there is no file. An error is one of a file that is not as we wrote it, or that others may read.
Result<Remembered> load_remembered(const std::string& path);
Result<void> save_remembered(const std::string& path, const std::string& trust_bundle,
                             const CertificateMap& certificates);

}  // namespace underpass::ca
