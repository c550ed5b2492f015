// SPDX-License-Identifier: Apache-2.0
#include "test/support/fake_api_watch.h"

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

namespace underpass::test {
namespace {

using What = Fault::What;

std::string line(const std::string& type, const std::string& object) {
  return R"({"type":")" + type + R"(","object":)" + object + "}\n";
}

std::string error_line(unsigned status, std::uint64_t wanted, std::uint64_t oldest) {
  const auto answer =
      status == 410
          ? status_answer(410, "Expired",
                          "too old resource version: " + std::to_string(wanted) + " (" + std::to_string(oldest) + ")")
          : usual_answer(status, {});
  return line("ERROR", answer.body.substr(0, answer.body.find_last_not_of('\n') + 1));
}

const NamespacedName& id_of(const FakeChange& change) { return (change.before ? change.before : change.after)->id; }

// Changes of one object that stand side by side change places.
void swap_neighbours(std::vector<FakeChange>& changes) {
  for (std::size_t i = 0; i + 1 < changes.size(); ++i) {
    if (id_of(changes[i]) == id_of(changes[i + 1])) std::swap(changes[i], changes[i + 1]), ++i;
  }
}

}  // namespace

FakeWatch::FakeWatch(FakeCall call, const FakeObjects& objects, std::optional<Fault> fault)
    : call_(std::move(call)), objects_(objects), fault_(std::move(fault)) {}

void FakeWatch::begin() {
  begun_ = true;
  position_ = std::strtoull(call_.parameter("resourceVersion").c_str(), nullptr, 10);
}

std::string FakeWatch::take() {
  std::string out;
  if (then_ != Then::kGoOn) return out;
  if (!begun_) {
    begin();
    if (position_ == 0) {
      position_ = objects_.version();
      for (const auto& [id, object] : objects_.objects(*call_.resource)) {
        if (call_sees(call_, *object)) add("ADDED", *object, object->version, out);
      }
    }
  }
  if (position_ < objects_.oldest()) {  // kube-apiserver says so inside the watch
    then_ = Then::kEnd;
    return out + error_line(410, position_, objects_.oldest());
  }
  misbehave(out);
  const auto& history = objects_.history();
  auto at = std::ranges::upper_bound(history, position_, {}, &FakeChange::version);
  std::vector<FakeChange> due;
  for (; at != history.end(); ++at) {
    if (at->resource == call_.resource) due.push_back(*at);
  }
  position_ = std::max(position_, objects_.version());
  if (is(What::kSwap)) swap_neighbours(due);
  for (const auto& change : due) {
    if (then_ != Then::kGoOn) break;
    tell(change, out);
  }
  if (then_ == Then::kGoOn && !objects_.serves(*call_.resource, call_.version)) then_ = Then::kEnd;
  return out;
}

// To whoever sees a part of the objects, one that comes into it is new, and one that leaves it is gone.
void FakeWatch::tell(const FakeChange& change, std::string& out) {
  const bool before = change.before && call_sees(call_, *change.before);
  const bool after = change.after && call_sees(call_, *change.after);
  if (!before && !after) return;
  const auto& object = after ? *change.after : *change.before;
  const char* type = !after ? "DELETED" : before || is(What::kModifiedNotAdded) ? "MODIFIED" : "ADDED";
  std::string event;
  add(type, object, change.version, event);
  if (is(What::kReset) && sent_ > fault_->after) {
    event.resize(event.size() / 2);
    then_ = Then::kReset;
  }
  out += event;
  if (is(What::kDuplicates) || (is(What::kDeletedTwice) && !after)) out += event;
  if (then_ == Then::kGoOn) misbehave(out);
}

void FakeWatch::add(const char* type, const FakeObject& object, std::uint64_t version, std::string& out) {
  ++sent_;
  out += line(type, text_for(call_, object, version));
}

void FakeWatch::misbehave(std::string& out) {
  if (!fault_ || done_ || sent_ < fault_->after) return;
  done_ = true;
  switch (fault_->what) {
    case What::kErrorEvent:
      out += error_line(fault_->status, position_, objects_.version());
      then_ = Then::kEnd;
      break;
    case What::kEnd:
      then_ = Then::kEnd;
      break;
    case What::kCut:
      then_ = Then::kCut;
      break;
    case What::kSilence:
      then_ = Then::kSilence;
      break;
    case What::kBlackHole:
      then_ = Then::kBlackHole;
      break;
    case What::kLine:
      out += fault_->body + "\n";
      break;
    default:
      break;
  }
}

std::string FakeWatch::bookmark() const {
  const auto version = is(What::kOldBookmarks) ? position_ - std::min<std::uint64_t>(position_ - 1, 5) : position_;
  const bool partial = call_.accept.find("as=PartialObjectMetadata") != std::string::npos;
  return line("BOOKMARK",
              R"({"kind":")" + (partial ? "PartialObjectMetadata" : call_.resource->kind) + R"(","apiVersion":")" +
                  (partial ? "meta.k8s.io/v1" : call_.resource->api_version(call_.version)) +
                  R"(","metadata":{"resourceVersion":")" + std::to_string(version) + R"(","creationTimestamp":null}})");
}

}  // namespace underpass::test
