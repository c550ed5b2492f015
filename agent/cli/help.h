// SPDX-License-Identifier: Apache-2.0
// The texts of --help that say more than a list of options: what is shown, what its columns mean, examples, exit codes.
#pragma once

#include <string_view>

namespace underpass::cli::help {

extern const char* const kProgram;
extern const char* const kProgramMore;

extern const char* const kStatus;
extern const char* const kStatusMore;
extern const char* const kReady;
extern const char* const kReadyMore;
extern const char* const kCheck;
extern const char* const kCheckMore;
extern const char* const kPods;
extern const char* const kPodsMore;
extern const char* const kConnections;
extern const char* const kConnectionsMore;
extern const char* const kFlows;
extern const char* const kFlowsMore;
extern const char* const kPolicies;
extern const char* const kPoliciesMore;
extern const char* const kCerts;
extern const char* const kCertsMore;
extern const char* const kRotateRoot;
extern const char* const kRotateRootMore;
extern const char* const kServices;
extern const char* const kServicesMore;
extern const char* const kExplain;
extern const char* const kExplainMore;
extern const char* const kProxy;
extern const char* const kProxyConfig;
extern const char* const kProxyConfigMore;
extern const char* const kMap;
extern const char* const kMapList;
extern const char* const kMapListMore;
extern const char* const kMapDump;
extern const char* const kMapDumpMore;
extern const char* const kRelearn;
extern const char* const kRelearnMore;
extern const char* const kDetach;
extern const char* const kDetachMore;
extern const char* const kAttach;
extern const char* const kAttachMore;
extern const char* const kVersion;

}  // namespace underpass::cli::help
