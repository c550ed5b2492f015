// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/plugin_call.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <cstdlib>
#include <optional>
#include <utility>

namespace underpass::cni {
namespace {

namespace json = boost::json;

constexpr std::int64_t kLongestTimeout = 120;  // kubelet gives a sandbox two minutes

std::unexpected<CniError> refuse(CniCode code, std::string message) {
  return std::unexpected(CniError{code, std::move(message)});
}

std::optional<Command> command_of(std::string_view name) {
  for (const auto command : {Command::kAdd, Command::kCheck, Command::kDel})
    if (name_of(command) == name) return command;
  return std::nullopt;
}

std::optional<json::object> parse(std::string_view input) {
  json::error_code error;
  json::parse_options deep;
  deep.max_depth = 500;
  auto value = json::parse({input.data(), input.size()}, error, {}, deep);
  if (error || !value.is_object()) return std::nullopt;
  return std::move(value.get_object());
}

std::string text_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains({name.data(), name.size()});
  const auto* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string() : std::string(text->data(), text->size());
}

// False where it is there and no text.
bool take_text(const json::object& object, std::string_view name, std::string& out) {
  const auto* value = object.if_contains({name.data(), name.size()});
  if (value == nullptr) return true;
  if (!value->is_string() || value->get_string().empty()) return false;
  out = text_of(object, name);
  return true;
}

std::expected<Settings, CniError> decode_settings(const json::object& object) {
  Settings settings;
  if (!take_text(object, "agentSocket", settings.socket))
    return refuse(CniCode::kConfiguration, "agentSocket: not a path");
  if (!take_text(object, "enrolment", settings.enrolment))
    return refuse(CniCode::kConfiguration, "enrolment: not a path");
  if (const auto* value = object.if_contains("timeoutSeconds")) {
    const auto* number = value->if_int64();
    if (number == nullptr || *number < 1 || *number > kLongestTimeout)
      return refuse(CniCode::kConfiguration,
                    "timeoutSeconds: must be a whole number from 1 to " + std::to_string(kLongestTimeout));
    settings.timeout = std::chrono::seconds(*number);
  }
  return settings;
}

void take_args(std::string_view args, Request& request) {
  while (!args.empty()) {
    const auto end = std::min(args.find(';'), args.size());
    const auto pair = args.substr(0, end);
    args.remove_prefix(std::min(end + 1, args.size()));
    const auto equals = pair.find('=');
    if (equals == std::string_view::npos) continue;
    const auto name = pair.substr(0, equals);
    const std::string value(pair.substr(equals + 1));
    if (name == "K8S_POD_NAMESPACE") request.pod.ns = value;
    if (name == "K8S_POD_NAME") request.pod.name = value;
    if (name == "K8S_POD_UID") request.uid = value;
  }
  if (request.pod.ns.empty() || request.pod.name.empty()) request.pod = {};
}

// Whether ips[].interface leads to an interface inside the sandbox. Without one it is the pod's.
bool in_sandbox(const json::object& ip, const json::array* interfaces) {
  const auto* index = ip.if_contains("interface");
  if (index == nullptr || index->is_null() || interfaces == nullptr) return true;
  const auto* at = index->if_int64();
  if (at == nullptr || *at < 0 || *at >= static_cast<std::int64_t>(interfaces->size())) return false;
  const auto* interface = (*interfaces)[static_cast<std::size_t>(*at)].if_object();
  return interface != nullptr && !text_of(*interface, "sandbox").empty();
}

std::vector<IpAddress> addresses_of(const json::object& result) {
  const auto* ips = result.if_contains("ips");
  if (ips == nullptr || !ips->is_array()) return {};
  const auto* named = result.if_contains("interfaces");
  const auto* interfaces = named == nullptr ? nullptr : named->if_array();
  std::vector<IpAddress> out;
  for (const auto& entry : ips->get_array()) {
    const auto* ip = entry.if_object();
    if (ip == nullptr || !in_sandbox(*ip, interfaces)) continue;
    const auto text = text_of(*ip, "address");
    if (const auto address = IpAddress::parse(text.substr(0, text.find('/')))) out.push_back(*address);
  }
  return out;
}

}  // namespace

bool is_supported(std::string_view version) { return std::ranges::find(kCniVersions, version) != kCniVersions.end(); }

Environment Environment::of_process() {
  const auto get = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  return {.command = get("CNI_COMMAND"),
          .container_id = get("CNI_CONTAINERID"),
          .netns = get("CNI_NETNS"),
          .interface = get("CNI_IFNAME"),
          .args = get("CNI_ARGS")};
}

std::string version_of(std::string_view input) {
  const auto object = parse(input);
  return object ? text_of(*object, "cniVersion") : "";
}

std::expected<Call, CniError> decode_call(const Environment& environment, std::string_view input) {
  const auto command = command_of(environment.command);
  if (!command) return refuse(CniCode::kEnvironment, "CNI_COMMAND: \"" + environment.command + "\" is not known");
  auto object = parse(input);
  if (!object) return refuse(CniCode::kNotJson, "standard input: not a JSON object");

  Call call{.version = text_of(*object, "cniVersion"),
            .request = {},
            .netns = environment.netns,
            .settings = {},
            .result = {}};
  if (!is_supported(call.version))
    return refuse(CniCode::kVersion, "cniVersion: \"" + call.version + "\": must be 0.3.1, 0.4.0, 1.0.0 or 1.1.0");
  const auto settings = decode_settings(*object);
  if (!settings) return std::unexpected(settings.error());
  call.settings = *settings;
  call.request.command = *command;
  call.request.container_id = environment.container_id;
  call.request.interface = environment.interface;
  take_args(environment.args, call.request);

  if (environment.container_id.empty()) return refuse(CniCode::kEnvironment, "CNI_CONTAINERID: is missing");
  if (*command != Command::kDel && environment.netns.empty())
    return refuse(CniCode::kEnvironment, "CNI_NETNS: is missing");
  auto* previous = object->if_contains("prevResult");
  if (previous != nullptr && previous->is_object()) {
    call.request.ips = addresses_of(previous->get_object());
    previous->get_object()["cniVersion"] = call.version;
    call.result = json::serialize(*previous);
  } else if (*command != Command::kDel) {
    return refuse(CniCode::kConfiguration,
                  "prevResult: is missing: underpass-cni makes no interface, it must be the last of a list");
  }
  return call;
}

}  // namespace underpass::cni
