// SPDX-License-Identifier: Apache-2.0
// A container runtime as far as CNI goes: picks the first list of a folder, and runs its real plugins one after another
// as libcni does (each gets the result of the one before; CHECK and DEL get that of ADD, DEL in the other order; what a
// sandbox was made with is kept in a cache folder).
// Written after the specification, and knows nothing of the installer.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "test/support/process.h"

namespace underpass::test {

struct CniList {
  std::string file;
  std::string name;
  std::string version;
  boost::json::array plugins;

  [[nodiscard]] std::vector<std::string> types() const;
};

struct CniSandbox {
  std::string id;
  std::string netns;  // path
  std::string args;   // CNI_ARGS
};

struct CniOutcome {
  bool ok = false;
  boost::json::value result;  // of ADD
  std::string plugin;         // that failed
  int code = 0;
  std::string message;
};

class CniRuntime {
 public:
  struct Folders {
    std::filesystem::path conf;
    std::vector<std::filesystem::path> bin;
    std::filesystem::path cache;
  };
  // By which list a sandbox ends.
  enum class EndsBy {
    kMadeWith,  // as CRI-O does
    kToday,     // as containerd does
  };

  // Plugins run in `host_netns`, so that what they make stays there.
  CniRuntime(Folders folders, std::string host_netns)
      : folders_(std::move(folders)), host_netns_(std::move(host_netns)) {}

  // Nothing where the folder has no list that is valid.
  static std::optional<CniList> load(const std::filesystem::path& conf_dir);
  // Waits a moment where its owner is writing it.
  [[nodiscard]] CniList load() const;
  // Whether each plugin of the list could be run.
  [[nodiscard]] bool has_programs(const CniList& list) const;

  CniOutcome add(const CniSandbox& sandbox);
  CniOutcome check(const CniSandbox& sandbox) const;
  CniOutcome del(const CniSandbox& sandbox, EndsBy list = EndsBy::kMadeWith);

 private:
  [[nodiscard]] std::optional<std::filesystem::path> find(const std::string& type) const;
  [[nodiscard]] CniOutcome run(const std::string& command, const CniList& list, const boost::json::value& plugin,
                               const boost::json::value* previous, const CniSandbox& sandbox) const;

  struct Cached {
    CniList list;
    boost::json::value result;
  };
  [[nodiscard]] std::optional<Cached> cached(const std::string& id) const;

  [[nodiscard]] std::filesystem::path cache_file(const std::string& id) const;

  Folders folders_;
  std::string host_netns_;
  mutable std::mutex mutex_;
  std::map<std::string, Cached> cache_;
};

}  // namespace underpass::test
