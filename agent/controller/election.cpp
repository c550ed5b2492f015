// SPDX-License-Identifier: Apache-2.0
#include "agent/controller/election.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <limits>
#include <utility>

#include "agent/k8s/micro_time.h"

namespace underpass::controller {
namespace json = boost::json;

namespace {

const json::object* member(const json::value& value, std::string_view name) {
  const auto* object = value.if_object();
  const auto* found = object == nullptr ? nullptr : object->if_contains(name);
  return found == nullptr ? nullptr : found->if_object();
}

std::string text(const json::object& object, std::string_view name) {
  const auto* found = object.if_contains(name);
  return found != nullptr && found->is_string() ? std::string(found->get_string()) : "";
}

// Within what the API server takes, so that no sum or comparison overflows.
std::int64_t number(const json::object& object, std::string_view name) {
  const auto* found = object.if_contains(name);
  const auto* whole = found == nullptr ? nullptr : found->if_int64();
  return whole == nullptr ? 0 : std::clamp<std::int64_t>(*whole, 0, std::numeric_limits<std::int32_t>::max());
}

}  // namespace

Election::Spec Election::read(const json::value& found) {
  Spec out;
  if (const auto* metadata = member(found, "metadata")) out.version = text(*metadata, "resourceVersion");
  const auto* spec = member(found, "spec");
  if (spec == nullptr) return out;
  out.holder = text(*spec, "holderIdentity");
  out.renewed = text(*spec, "renewTime");
  out.acquired = text(*spec, "acquireTime");
  out.transitions = number(*spec, "leaseTransitions");
  out.duration = std::chrono::seconds(number(*spec, "leaseDurationSeconds"));
  return out;
}

std::optional<json::value> Election::answer(const json::value& found, Time now, WallTime wall) {
  const auto spec = read(found);
  if (spec != seen_) {
    seen_ = spec;
    seen_since_ = now;
  }
  const bool ours = spec.holder == terms_.identity;
  if (!ours) renewed_.reset();
  const bool taken = !ours && !spec.holder.empty();
  if (taken && now - seen_since_ < (spec.duration.count() > 0 ? spec.duration : terms_.duration)) return std::nullopt;
  return lease(found, {.version = {},
                       .holder = terms_.identity,
                       .renewed = k8s::micro_time(wall),
                       .acquired = ours ? spec.acquired : k8s::micro_time(wall),
                       .transitions = spec.transitions + (ours || found.is_null() ? 0 : 1),
                       .duration = terms_.duration});
}

void Election::wrote(bool done, Time began) {
  if (done) renewed_ = began;
}

std::optional<json::value> Election::release(const json::value& found, WallTime wall) const {
  auto spec = read(found);
  if (spec.holder != terms_.identity) return std::nullopt;
  spec.holder.clear();
  spec.renewed = k8s::micro_time(wall);
  spec.duration = std::chrono::seconds(1);
  return lease(found, spec);
}

json::value Election::lease(const json::value& found, const Spec& spec) const {
  json::object metadata;
  if (const auto* known = member(found, "metadata")) metadata = *known;
  metadata["namespace"] = terms_.lease.ns;
  metadata["name"] = terms_.lease.name;
  return json::object{{"apiVersion", "coordination.k8s.io/v1"},
                      {"kind", "Lease"},
                      {"metadata", std::move(metadata)},
                      {"spec", json::object{{"holderIdentity", spec.holder},
                                            {"leaseDurationSeconds", spec.duration.count()},
                                            {"acquireTime", spec.acquired},
                                            {"renewTime", spec.renewed},
                                            {"leaseTransitions", spec.transitions}}}};
}

}  // namespace underpass::controller
