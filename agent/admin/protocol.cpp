// SPDX-License-Identifier: Apache-2.0
#include "agent/admin/protocol.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

namespace underpass::admin {
namespace {

namespace json = boost::json;

constexpr std::chrono::milliseconds kLongestTimeout = std::chrono::hours(1);

std::string_view to_text(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNotFound:
      return "not-found";
    case ErrorCode::kUsage:
      return "usage";
    case ErrorCode::kFailed:
      break;
  }
  return "failed";
}

// A code of a newer agent is a failure to an older client.
ErrorCode parse_error_code(std::string_view text) {
  if (text == "not-found") return ErrorCode::kNotFound;
  if (text == "usage") return ErrorCode::kUsage;
  return ErrorCode::kFailed;
}

std::string to_line(const json::value& value) {
  std::string line = json::serialize(value);
  line += '\n';
  return line;
}

// Absent where there is no such member, or null.
const json::value* find_argument(const json::object& request, std::string_view name) {
  const json::value* value = request.if_contains(name);
  return value != nullptr && !value->is_null() ? value : nullptr;
}

}  // namespace

std::string socket_path(const std::string& run_dir) { return run_dir + "/admin.sock"; }

std::string encode_answer(const Answer& answer) {
  json::object line;
  if (answer) {
    line["result"] = *answer;
  } else {
    line["error"] = json::object{{"code", to_text(answer.error().code)}, {"message", answer.error().message}};
  }
  return to_line(line);
}

std::string encode_request(const json::object& request) { return to_line(request); }

std::expected<json::object, CommandError> decode_request(std::string_view line) {
  json::error_code error;
  json::value value = json::parse(line, error);
  if (error) return refuse(ErrorCode::kUsage, "request is not JSON: " + error.message());
  json::object* request = value.if_object();
  if (request == nullptr) return refuse(ErrorCode::kUsage, "request is not a JSON object");
  const json::value* command = request->if_contains("command");
  if (command == nullptr || !command->is_string() || command->get_string().empty()) {
    return refuse(ErrorCode::kUsage, R"(request has no "command": name one, as in {"command": "status"})");
  }
  return std::move(*request);
}

Result<Answer> decode_answer(std::string_view line) {
  json::error_code error;
  json::value value = json::parse(line, error);
  if (error) return fail("answer is not JSON: " + error.message());
  json::object* answer = value.if_object();
  if (answer == nullptr) return fail("answer is not a JSON object");
  if (json::value* result = answer->if_contains("result")) return Answer(std::move(*result));

  const json::value* problem = answer->if_contains("error");
  const json::object* fields = problem != nullptr ? problem->if_object() : nullptr;
  const json::value* code = fields != nullptr ? fields->if_contains("code") : nullptr;
  const json::value* message = fields != nullptr ? fields->if_contains("message") : nullptr;
  if (code == nullptr || !code->is_string() || message == nullptr || !message->is_string()) {
    return fail(R"(answer has neither a "result" nor an "error")");
  }
  return Answer(refuse(parse_error_code(code->get_string()), std::string(message->get_string())));
}

json::object encode_scope(std::string_view command, const Scope& scope) {
  json::object request{{"command", command}, {"timeout", scope.timeout.count()}};
  if (scope.ns) {
    request["namespace"] = *scope.ns;
  } else {
    request["node"] = true;
  }
  return request;
}

std::expected<Scope, CommandError> decode_scope(const json::object& request) {
  Scope scope;
  const json::value* node = find_argument(request, "node");
  if (node != nullptr && !node->is_bool()) return refuse(ErrorCode::kUsage, "node: not a boolean");
  const bool whole_node = node != nullptr && node->get_bool();

  if (const json::value* ns = find_argument(request, "namespace")) {
    if (!ns->is_string() || ns->get_string().empty()) return refuse(ErrorCode::kUsage, "namespace: not a name");
    if (whole_node) return refuse(ErrorCode::kUsage, "namespace and node: only one of them can be meant");
    scope.ns = std::string(ns->get_string());
  } else if (!whole_node) {
    return refuse(ErrorCode::kUsage, R"(neither "namespace" nor "node": true is given)");
  }

  if (const json::value* timeout = find_argument(request, "timeout")) {
    json::error_code error;
    const auto milliseconds = timeout->to_number<std::int64_t>(error);
    if (error || milliseconds < 0 || milliseconds > kLongestTimeout.count()) {
      return refuse(ErrorCode::kUsage, "timeout: not a number of milliseconds from 0 to " +
                                           std::to_string(kLongestTimeout.count()) + " (one hour)");
    }
    scope.timeout = std::chrono::milliseconds(milliseconds);
  }
  return scope;
}

std::expected<std::string, CommandError> decode_instance(const json::object& request) {
  const auto* instance = request.if_contains("instance");
  if (instance == nullptr) return "";
  if (!instance->is_string()) return refuse(ErrorCode::kUsage, "instance: must be a text");
  return std::string(instance->get_string());
}

json::object encode_retirement(const Retirement& retirement) {
  return {{"command", "retire"},
          {"instance", retirement.instance},
          {"pid", retirement.pid},
          {"listeners", retirement.listeners}};
}

std::expected<Retirement, CommandError> decode_retirement(const json::object& request) {
  auto instance = decode_instance(request);
  if (!instance) return std::unexpected(instance.error());
  const auto* pid = request.if_contains("pid");
  if (instance->empty() || pid == nullptr || !pid->is_int64())
    return refuse(ErrorCode::kUsage, "retire: needs the instance and the pid of who takes over");
  const auto* listeners = request.if_contains("listeners");
  return Retirement{.instance = std::move(*instance),
                    .pid = pid->get_int64(),
                    .listeners = listeners != nullptr && listeners->is_bool() && listeners->get_bool()};
}

json::object encode_listeners(const ipc::Listeners& listeners) {
  json::array names;
  for (const auto& [name, fd] : listeners) names.emplace_back(name);
  return {{"listeners", std::move(names)}};
}

ipc::Listeners decode_listeners(const json::value& answer, std::vector<UniqueFd> descriptors) {
  const auto* object = answer.if_object();
  const auto* names = object != nullptr ? object->if_contains("listeners") : nullptr;
  if (names == nullptr || !names->is_array() || names->get_array().size() != descriptors.size()) return {};
  ipc::Listeners listeners;
  for (std::size_t i = 0; i < descriptors.size(); ++i) {
    const auto& name = names->get_array()[i];
    if (!name.is_string()) return {};
    listeners.emplace(std::string(name.get_string()), std::move(descriptors[i]));
  }
  return listeners;
}

json::object encode_pod(std::string_view command, const NamespacedName& pod) {
  return {{"command", command}, {"namespace", pod.ns}, {"pod", pod.name}};
}

std::expected<NamespacedName, CommandError> decode_pod(const json::object& request) {
  NamespacedName pod;
  for (const auto& [name, text] : {std::pair("namespace", &pod.ns), std::pair("pod", &pod.name)}) {
    const json::value* value = find_argument(request, name);
    if (value == nullptr || !value->is_string() || value->get_string().empty())
      return refuse(ErrorCode::kUsage, std::string(name) + ": not a name");
    *text = std::string(value->get_string());
  }
  return pod;
}

}  // namespace underpass::admin
