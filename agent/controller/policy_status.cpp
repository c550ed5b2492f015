// SPDX-License-Identifier: Apache-2.0
#include "agent/controller/policy_status.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <utility>

#include "agent/k8s/contents.h"
#include "agent/k8s/field.h"
#include "agent/k8s/micro_time.h"

namespace underpass::controller {
namespace json = boost::json;

namespace {

constexpr std::size_t kLongestMessage = 1024;

const json::value* find(const json::value& value, std::string_view name) {
  const auto* object = value.if_object();
  return object == nullptr ? nullptr : object->if_contains(name);
}

bool is_text(const json::value* value, std::string_view text) {
  return value != nullptr && value->is_string() && std::string_view(value->get_string()) == text;
}

// Not within a character: the API server would keep another text, which would then be written again and again.
std::string cut(const std::string& message) {
  auto end = std::min(message.size(), kLongestMessage);
  while (end > 0 && end < message.size() && (static_cast<unsigned char>(message[end]) & 0xc0) == 0x80) --end;
  return message.substr(0, end);
}

// Of the same generation, where the API server keeps that.
bool says_the_same(const json::value& condition, const json::object& wanted, std::int64_t generation) {
  for (const char* name : {"status", "reason", "message"})
    if (!is_text(find(condition, name), std::string_view(wanted.at(name).as_string()))) return false;
  const auto* seen = find(condition, "observedGeneration");
  return seen == nullptr || *seen == json::value(generation);
}

}  // namespace

std::string refusal_of(const k8s::ApiKind& kind, k8s::Received received) {
  const auto file = k8s::decode_received(kind, std::move(received));
  for (const auto& one : file->unreadable) return one.cause;
  for (const auto& item : file->items)
    if (!item.object)
      return (item.object.error().path.empty() ? "" : item.object.error().path + ": ") + item.object.error().cause;
  return "";
}

std::optional<json::value> status_patch(const json::value& object, const std::string& refusal,
                                        std::chrono::system_clock::time_point now) {
  const auto* metadata = find(object, "metadata");
  const auto* generation_value = metadata == nullptr ? nullptr : find(*metadata, "generation");
  const auto* generation = generation_value == nullptr ? nullptr : generation_value->if_int64();
  const auto* version = metadata == nullptr ? nullptr : find(*metadata, "resourceVersion");
  if (version == nullptr) return std::nullopt;

  const bool good = refusal.empty();
  json::object wanted{{"type", kAccepted},
                      {"status", good ? "True" : "False"},
                      {"reason", good ? "Accepted" : "Invalid"},
                      {"message", good ? std::string("every agent understands it") : cut(refusal)}};
  json::array conditions;
  const auto* status = find(object, "status");
  const auto* present = status == nullptr ? nullptr : find(*status, "conditions");
  std::string since = k8s::micro_time(now);
  if (present != nullptr && present->is_array()) {
    for (const auto& condition : present->get_array()) {
      if (!is_text(find(condition, "type"), kAccepted)) {
        conditions.push_back(condition);
        continue;
      }
      if (says_the_same(condition, wanted, generation == nullptr ? 0 : *generation)) return std::nullopt;
      const auto* before = find(condition, "lastTransitionTime");
      const bool is_as_before = is_text(find(condition, "status"), std::string_view(wanted.at("status").as_string()));
      if (before != nullptr && before->is_string() && is_as_before) since = std::string(before->get_string());
    }
  }
  wanted["lastTransitionTime"] = since;
  if (generation != nullptr) wanted["observedGeneration"] = *generation;
  conditions.push_back(std::move(wanted));
  return json::object{{"metadata", {{"resourceVersion", *version}}},
                      {"status", {{"conditions", std::move(conditions)}}}};
}

}  // namespace underpass::controller
