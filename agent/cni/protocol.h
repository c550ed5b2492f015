// SPDX-License-Identifier: Apache-2.0
// What the plugin underpass-cni asks the agent, over a packet socket (SOCK_SEQPACKET) in the run folder: one JSON
// message with the network namespace as a descriptor beside it (the agent may see other paths than the runtime), one
// JSON answer, and before that kTaken, so that an agent that hangs is told from one that has to wait. For both ends;
// the plugin is linked statically and has little else of the agent.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "underpass/ids.h"
#include "underpass/ip_address.h"
#include "underpass/result.h"

namespace underpass::cni {

inline constexpr std::string_view kSocketName = "cni.sock";           // in --run-dir
inline constexpr std::string_view kEnrolmentName = "enrolment.json";  // in --state-dir
inline constexpr std::string_view kPluginName = "underpass-cni";      // type of the plugin, and its file in the bin dir
inline constexpr std::size_t kMaxMessage = 64 * 1024;
inline constexpr std::string_view kTaken = R"({"taken":true})";

enum class Command { kAdd, kCheck, kDel };

struct Request {
  Command command = Command::kAdd;
  std::string container_id;    // CNI_CONTAINERID: of the sandbox
  std::string interface;       // CNI_IFNAME
  NamespacedName pod;          // K8S_POD_NAMESPACE, K8S_POD_NAME of CNI_ARGS
  std::string uid;             // K8S_POD_UID; empty where the runtime does not say it
  std::vector<IpAddress> ips;  // of prevResult, those of the sandbox's interfaces

  bool operator==(const Request&) const = default;
};

// Nothing, or why the pod may not start now.
struct Answer {
  bool ok = false;
  std::string reason;

  bool operator==(const Answer&) const = default;
};

// As CNI_COMMAND has it.
std::string_view name_of(Command command);

std::string encode_request(const Request& request);
Result<Request> decode_request(std::string_view text);

std::string encode_answer(const Answer& answer);
// The question itself could not be taken: another version of this protocol, too many at once. For the plugin that is as
// if there were no agent.
std::string encode_refusal(std::string_view cause);
// A refusal is an error.
Result<Answer> decode_answer(std::string_view text);

}  // namespace underpass::cni
