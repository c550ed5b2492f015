// SPDX-License-Identifier: Apache-2.0
// What is known of one kind, and how lists, events and bookmarks change it. Pure: no I/O, no clock. A list takes effect
// when it is complete, as the difference to what there was; until then what there was is what is served. What did not
// change stays the same object.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "agent/k8s/api/object_reader.h"
#include "agent/k8s/contents.h"
#include "underpass/ids.h"
#include "underpass/result.h"

namespace underpass::k8s {

class Replica {
 public:
  // From an object to its file; null: it is none of ours. Called only where it may have changed.
  using Decode = std::function<std::shared_ptr<const File>(Received&&)>;
  // The file of an object is another now; null: it is gone.
  using Changed = std::function<void(const std::string& path, const std::shared_ptr<const File>& file)>;

  struct Entry {
    std::string uid;
    std::string resource_version;
    bool deleting = false;  // metadata.deletionTimestamp
    std::shared_ptr<const File> file;
  };

  Replica(Decode decode, Changed changed) : decode_(std::move(decode)), changed_(std::move(changed)) {}

  // A new list replaces one that was begun and not ended.
  void begin_list();
  // Fails where the object has no name.
  Result<void> list(Received&& received);
  void end_list(const std::string& resource_version);
  void drop_list();

  // ADDED, MODIFIED or DELETED; what is older than what is known of this object changes nothing. Fails where the object
  // has no name, or for another type.
  Result<void> event(std::string_view type, Received&& received);
  void bookmark(const std::string& resource_version);

  // From where to watch on; empty: a list is needed.
  [[nodiscard]] const std::string& position() const { return position_; }
  void forget_position() { position_.clear(); }
  // The kind is not there any more, nor are its objects.
  void clear();

  [[nodiscard]] const Entry* find(const NamespacedName& id) const;
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  using Entries = std::map<NamespacedName, Entry>;

  // What `received` comes to, with the file of `known` where that says the same.
  Entry take(Received&& received, const Entry* known);
  void put(const NamespacedName& id, Received&& received);
  void remove(const NamespacedName& id, const std::string& resource_version);
  void advance(const std::string& resource_version);

  Decode decode_;
  Changed changed_;
  Entries entries_;
  Entries listed_;  // of the list that is being read
  std::string position_;
  // Lately deleted, so that a late event does not bring one back; the oldest are forgotten.
  std::map<NamespacedName, std::string> deleted_;
  std::deque<NamespacedName> deleted_order_;
};

// Both are numbers and `a` is the smaller one. Kubernetes lets resource versions of one kind be compared so
// (KEP-5504, "Comparable Resource Version").
bool is_older(const std::string& a, const std::string& b);

// The same but for being another object.
bool equal(const File& a, const File& b);

}  // namespace underpass::k8s
