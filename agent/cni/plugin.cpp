// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/plugin.h"

#include <fcntl.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <optional>
#include <utility>

#include "agent/cni/enrolment_file.h"
#include "agent/cni/plugin_ask.h"
#include "underpass/unique_fd.h"

namespace underpass::cni {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

constexpr milliseconds kWaitForOthers{2000};  // a pod that is not in the mesh, as far as the file knows
constexpr milliseconds kWaitAtEnd{1000};      // DEL

PluginOutcome to_outcome(std::string_view version, const CniError& error) {
  return {.exit_code = 1,
          .output = json::serialize(json::object{
              {"cniVersion", is_supported(version) ? version : "1.0.0"},
              {"code", static_cast<int>(error.code)},
              {"msg", error.message},
          })};
}

PluginOutcome tell_versions(std::string_view input) {
  const auto asked = version_of(input);
  json::array versions;
  for (const auto version : kCniVersions) versions.emplace_back(version);
  return {.exit_code = 0,
          .output = json::serialize(json::object{
              {"cniVersion", asked.empty() ? "1.0.0" : asked},
              {"supportedVersions", std::move(versions)},
          })};
}

// What the file says of a pod, and why it cannot say anything.
struct Membership {
  bool in_mesh = false;
  std::string damage;

  [[nodiscard]] bool may_be_in_mesh() const { return in_mesh || !damage.empty(); }
};

Membership look_up(const std::string& path, const NamespacedName& pod) {
  const auto known = read_enrolment(path);
  if (!known) return {.in_mesh = false, .damage = known.error().message};
  return {.in_mesh = *known && (*known)->wants(pod), .damage = {}};
}

CniError without_agent(const Call& call, const Membership& membership, const Error& absence) {
  const auto& pod = call.request.pod;
  std::string message = "Pod " + pod.to_string();
  message += membership.in_mesh ? " is in the mesh" : " may be in the mesh (" + membership.damage + ")";
  message += ", and the Underpass agent of this node does not answer (" + absence.message +
             "): it is tried again until the agent runs. To let pods start without the mesh meanwhile, delete " +
             call.settings.enrolment + " on the node";
  return {.code = CniCode::kTryLater, .message = std::move(message)};
}

// Nothing: the pod may go on.
std::optional<CniError> judge(const Call& call) {
  if (call.request.pod.name.empty()) return std::nullopt;
  const auto membership = look_up(call.settings.enrolment, call.request.pod);
  const milliseconds timeout = call.settings.timeout;
  const Patience patience{.to_take = membership.may_be_in_mesh() ? timeout : std::min(timeout, kWaitForOthers),
                          .to_answer = timeout};
  const UniqueFd netns(::open(call.netns.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  const Result<Answer> answer = netns ? ask_agent(call.settings.socket, call.request, netns.get(), patience)
                                      : fail_errno("it was not asked: open " + call.netns);
  if (answer && answer->ok) return std::nullopt;
  if (answer) return CniError{.code = CniCode::kTryLater, .message = answer->reason};
  if (!membership.may_be_in_mesh()) return std::nullopt;
  return without_agent(call, membership, answer.error());
}

// Whatever happens, it is done: a runtime would try for ever, and the pod could never end.
PluginOutcome end_sandbox(const Environment& environment, std::string_view input) {
  const auto call = decode_call(environment, input);
  if (!call || call->request.pod.name.empty()) return {};
  const UniqueFd netns(call->netns.empty() ? -1 : ::open(call->netns.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  static_cast<void>(
      ask_agent(call->settings.socket, call->request, netns.get(), {.to_take = kWaitAtEnd, .to_answer = kWaitAtEnd}));
  return {};
}

}  // namespace

PluginOutcome run_plugin(const Environment& environment, std::string_view input) {
  if (environment.command == "VERSION") return tell_versions(input);
  // The node's network does not depend on us, and what is ours on it the agent finds by itself.
  if (environment.command == "STATUS" || environment.command == "GC") return {};
  if (environment.command == name_of(Command::kDel)) return end_sandbox(environment, input);
  const auto call = decode_call(environment, input);
  if (!call) return to_outcome(version_of(input), call.error());
  if (const auto problem = judge(*call)) return to_outcome(call->version, *problem);
  return {.exit_code = 0, .output = call->request.command == Command::kAdd ? call->result : ""};
}

}  // namespace underpass::cni
