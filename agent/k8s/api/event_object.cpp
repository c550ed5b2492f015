// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/api/event_object.h"

#include <array>
#include <boost/json/object.hpp>
#include <cstdint>
#include <cstdio>

#include "agent/k8s/micro_time.h"

namespace underpass::k8s {
namespace json = boost::json;

namespace {

// Limits of Kubernetes' pkg/apis/core/validation/events.go.
constexpr std::size_t kNoteBytes = 1024;
constexpr std::size_t kReasonBytes = 128;
constexpr std::size_t kReporterBytes = 128;
constexpr std::size_t kNameBytes = 253;

constexpr std::string_view kController = "underpass.dev/agent";
constexpr std::string_view kAction = "Apply";

// Of the same texts the same in every version of the agent (FNV-1a).
class Hash {
 public:
  void add(std::string_view text) {
    for (const char c : text) mix(static_cast<unsigned char>(c));
    mix(0);
  }
  [[nodiscard]] std::string text() const {
    std::array<char, 17> digits{};
    std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(value_));
    return digits.data();
  }

 private:
  void mix(unsigned char byte) { value_ = (value_ ^ byte) * 0x100000001b3ULL; }
  std::uint64_t value_ = 0xcbf29ce484222325ULL;
};

// The name of a subject fits but for the last characters of a very long one, which may leave a dot or a dash.
std::string name_of(const EventSubject& subject, const std::string& hash) {
  auto name = subject.id.name.substr(0, kNameBytes - 1 - hash.size());
  while (name.ends_with('.') || name.ends_with('-')) name.pop_back();
  return name + "." + hash;
}

}  // namespace

std::string cut(std::string_view text, std::size_t bytes) {
  if (text.size() <= bytes) return std::string(text);
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) --bytes;
  return std::string(text.substr(0, bytes));
}

EventObject make_event(const EventSubject& subject, const std::string& reason, const std::string& note,
                       const std::string& node, std::chrono::system_clock::time_point now) {
  Hash hash;
  for (const auto& text : {subject.api_version, subject.kind, subject.id.ns, subject.id.name, subject.uid}) {
    hash.add(text);
  }
  hash.add(reason);
  hash.add(note);
  // Of what is in no namespace, the Events are in this one.
  const auto ns = subject.id.ns.empty() ? "default" : subject.id.ns;

  json::object regarding{{"apiVersion", subject.api_version}, {"kind", subject.kind}, {"name", subject.id.name}};
  if (!subject.id.ns.empty()) regarding["namespace"] = subject.id.ns;
  if (!subject.uid.empty()) regarding["uid"] = subject.uid;
  json::object body{{"apiVersion", "events.k8s.io/v1"},
                    {"kind", "Event"},
                    {"metadata", json::object{{"name", name_of(subject, hash.text())}, {"namespace", ns}}},
                    {"eventTime", micro_time(now)},
                    {"reportingController", json::string_view(kController.data(), kController.size())},
                    {"reportingInstance", cut(node, kReporterBytes)},
                    {"action", json::string_view(kAction.data(), kAction.size())},
                    {"reason", cut(reason, kReasonBytes)},
                    {"type", "Warning"},
                    {"note", cut(note, kNoteBytes)},
                    {"regarding", std::move(regarding)}};
  return {"/apis/events.k8s.io/v1/namespaces/" + ns + "/events", std::move(body)};
}

}  // namespace underpass::k8s
