// SPDX-License-Identifier: Apache-2.0
// What the fake API server holds: objects by kind and name under one growing resourceVersion, and the changes that led
// there, as far back as its history goes. Whatever is older than the history can neither be listed nor watched from.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "underpass/ids.h"

namespace underpass::test {

struct FakeResource {
  std::string group;  // empty: core
  std::vector<std::string> versions;
  std::string plural;
  std::string kind;
  bool namespaced = true;
  bool custom = false;  // there as long as its CustomResourceDefinition is

  // "authorizationpolicies.security.istio.io".
  [[nodiscard]] std::string full_name() const { return group.empty() ? plural : plural + "." + group; }
  // "/apis/security.istio.io/v1", "/api/v1".
  [[nodiscard]] std::string group_path(const std::string& version) const;
  // "security.istio.io/v1", "v1".
  [[nodiscard]] std::string api_version(const std::string& version) const;
};

// All that the server can know, whether their definitions are there or not.
const std::vector<FakeResource>& fake_resources();
// Throws where there is none.
const FakeResource& fake_resource(std::string_view kind, std::string_view group);

// One version of an object, as text, since bytes that are no JSON may be in it.
struct FakeObject {
  NamespacedName id;
  std::uint64_t version = 0;
  std::string node;  // spec.nodeName
  std::string uid;
  std::string created;
  // What stands after kind and apiVersion, before and after the resourceVersion.
  std::string head, tail;

  // `version`: that of the event which tells of it; a deletion has one of its own.
  [[nodiscard]] std::string text(const std::string& prefix, std::uint64_t as_version) const;
};
using FakeObjectPtr = std::shared_ptr<const FakeObject>;
using FakeObjectMap = std::map<NamespacedName, FakeObjectPtr>;

struct FakeChange {
  std::uint64_t version = 0;
  const FakeResource* resource = nullptr;
  FakeObjectPtr before;  // null: it is made
  FakeObjectPtr after;   // null: it is deleted
};

class FakeObjects {
 public:
  // Makes or replaces. `from` → `to`: bytes of the text that are others than JSON would allow.
  void put(const boost::json::value& object, std::string_view from = {}, std::string_view to = {});
  // False where there was none.
  bool remove(const FakeResource& resource, const NamespacedName& id);

  // The versions of a custom kind that are served; empty: its definition is not there.
  void define(const FakeResource& resource, std::vector<std::string> versions);
  // Its objects go first, as with the real one.
  void undefine(const FakeResource& resource);
  [[nodiscard]] bool serves(const FakeResource& resource, const std::string& version) const;

  [[nodiscard]] std::uint64_t version() const { return version_; }
  // The oldest version from which can be watched.
  [[nodiscard]] std::uint64_t oldest() const { return oldest_; }
  void keep_history(std::size_t changes);
  void forget_history();
  // As etcd restored from a backup: versions begin again.
  void restart_versions_at(std::uint64_t version);

  [[nodiscard]] const FakeObjectMap& objects(const FakeResource& resource) const;
  // As they were then; nothing where that is too long ago.
  [[nodiscard]] std::optional<FakeObjectMap> objects_at(const FakeResource& resource, std::uint64_t version) const;
  [[nodiscard]] const std::deque<FakeChange>& history() const { return history_; }
  // The object as JSON, in this version of its group.
  [[nodiscard]] static std::string text(const FakeResource& resource, const std::string& version,
                                        const FakeObject& object, std::uint64_t as_version);

 private:
  void record(FakeChange change);

  std::uint64_t version_ = 1000;
  std::uint64_t oldest_ = 1000;
  std::size_t longest_history_ = 10'000;
  std::uint64_t next_uid_ = 1;
  std::map<const FakeResource*, FakeObjectMap> objects_;
  std::map<const FakeResource*, std::vector<std::string>> defined_;
  std::deque<FakeChange> history_;
};

}  // namespace underpass::test
