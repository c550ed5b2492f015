// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/api/replica.h"

#include <algorithm>
#include <type_traits>
#include <utility>
#include <variant>

namespace underpass::k8s {
namespace {

constexpr std::size_t kDeletedKept = 1024;

bool is_number(const std::string& text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

template <typename T>
bool same(const T& a, const T& b) {
  return a == b;
}
template <typename T>
bool same(const std::shared_ptr<const T>& a, const std::shared_ptr<const T>& b) {
  return a == b || *a == *b;
}

bool equal(const Decoded<Object>& a, const Decoded<Object>& b) {
  if (a.has_value() != b.has_value()) return false;
  if (!a) return a.error().path == b.error().path && a.error().cause == b.error().cause;
  return a->index() == b->index() && std::visit(
                                         [&](const auto& object) {
                                           using T = std::remove_cvref_t<decltype(object)>;
                                           return same(object, std::get<T>(*b));
                                         },
                                         *a);
}

}  // namespace

bool is_older(const std::string& a, const std::string& b) {
  if (!is_number(a) || !is_number(b)) return false;
  const auto digits = [](const std::string& text) {
    const auto first = std::min(text.find_first_not_of('0'), text.size());
    return std::string_view(text).substr(first);
  };
  const auto x = digits(a);
  const auto y = digits(b);
  return x.size() != y.size() ? x.size() < y.size() : x < y;
}

bool equal(const File& a, const File& b) {
  const auto same_item = [](const Item& x, const Item& y) {
    return x.kind == y.kind && x.id == y.id && x.place == y.place && x.uid == y.uid && equal(x.object, y.object);
  };
  const auto same_text = [](const Unreadable& x, const Unreadable& y) {
    return x.place == y.place && x.cause == y.cause;
  };
  return a.path == b.path && std::ranges::equal(a.items, b.items, same_item) &&
         std::ranges::equal(a.unreadable, b.unreadable, same_text);
}

const Replica::Entry* Replica::find(const NamespacedName& id) const {
  const auto found = entries_.find(id);
  return found == entries_.end() ? nullptr : &found->second;
}

Replica::Entry Replica::take(Received&& received, const Entry* known) {
  Entry entry{.uid = received.uid,
              .resource_version = received.resource_version,
              .deleting = received.deleting,
              .file = nullptr};
  const bool unchanged = known != nullptr && !entry.resource_version.empty() &&
                         known->resource_version == entry.resource_version && known->uid == entry.uid;
  if (!unchanged) entry.file = decode_(std::move(received));
  if (unchanged || (entry.file && known != nullptr && equal(*entry.file, *known->file))) entry.file = known->file;
  return entry;
}

void Replica::begin_list() { listed_.clear(); }
void Replica::drop_list() { listed_.clear(); }

Result<void> Replica::list(Received&& received) {
  NamespacedName id{received.ns, received.name};
  if (id.name.empty()) return fail("an object has no metadata.name");
  auto entry = take(std::move(received), find(id));
  if (entry.file) listed_.insert_or_assign(std::move(id), std::move(entry));
  return {};
}

void Replica::end_list(const std::string& resource_version) {
  auto before = std::exchange(entries_, std::exchange(listed_, {}));
  deleted_.clear();
  deleted_order_.clear();
  position_ = resource_version;
  for (const auto& [id, entry] : before) {
    if (!entries_.contains(id)) changed_(entry.file->path, nullptr);
  }
  for (const auto& [id, entry] : entries_) {
    const auto known = before.find(id);
    if (known == before.end() || known->second.file != entry.file) changed_(entry.file->path, entry.file);
  }
}

void Replica::clear() {
  begin_list();
  end_list("");
}

void Replica::advance(const std::string& resource_version) {
  if (!resource_version.empty() && !is_older(resource_version, position_)) position_ = resource_version;
}

void Replica::bookmark(const std::string& resource_version) { advance(resource_version); }

Result<void> Replica::event(std::string_view type, Received&& received) {
  const NamespacedName id{received.ns, received.name};
  const auto version = received.resource_version;
  if (id.name.empty()) return fail("an object has no metadata.name");
  const auto* known = find(id);
  const bool late = known != nullptr && is_older(version, known->resource_version);
  if (type == "DELETED") {
    if (!late) remove(id, version);
  } else if (type == "ADDED" || type == "MODIFIED") {
    if (!late) put(id, std::move(received));
  } else {
    return fail("an event of type \"" + std::string(type.substr(0, 64)) + "\"");
  }
  advance(version);
  return {};
}

void Replica::put(const NamespacedName& id, Received&& received) {
  // Nothing comes after its deletion but a new object, with a higher version.
  if (const auto gone = deleted_.find(id); gone != deleted_.end()) {
    const auto& version = received.resource_version;
    if (version == gone->second || is_older(version, gone->second)) return;
  }
  const auto known = entries_.find(id);
  auto entry = take(std::move(received), known == entries_.end() ? nullptr : &known->second);
  if (!entry.file) return;
  const bool news = known == entries_.end() || known->second.file != entry.file;
  auto& kept = entries_.insert_or_assign(id, std::move(entry)).first->second;
  if (news) changed_(kept.file->path, kept.file);
}

void Replica::remove(const NamespacedName& id, const std::string& resource_version) {
  const auto known = entries_.find(id);
  if (known == entries_.end()) return;
  const auto file = known->second.file;
  entries_.erase(known);
  if (deleted_.insert_or_assign(id, resource_version).second) deleted_order_.push_back(id);
  if (deleted_order_.size() > kDeletedKept) {
    deleted_.erase(deleted_order_.front());
    deleted_order_.pop_front();
  }
  changed_(file->path, nullptr);
}

}  // namespace underpass::k8s
