// SPDX-License-Identifier: Apache-2.0
// The plugin lists of a folder, as a runtime would load them, and our entry in one of them. A single-plugin file is
// turned into a list beside it, and put away under a name that nothing loads, to be put back.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/cni/node_folder.h"
#include "agent/cni/plugin_list.h"
#include "underpass/result.h"

namespace underpass::cni {

// What stands behind the name of a single-plugin file while a list made from it counts.
inline constexpr std::string_view kPutAway = ".underpass-saved";

class ListFolder {
 public:
  struct File {
    std::string name;
    std::string text;
    Result<PluginList> list;  // of a single-plugin file: what libcni makes of it

    [[nodiscard]] bool is_list() const { return name.ends_with(".conflist"); }
    [[nodiscard]] bool names_us() const { return is_list() && list && list->names_us(); }
    [[nodiscard]] std::string made_from() const { return names_us() ? list->made_from() : ""; }
  };

  static Result<ListFolder> open(const std::string& path);

  // True where somebody is writing one of them: what is here is not to be judged now.
  [[nodiscard]] bool being_written() const { return being_written_; }
  [[nodiscard]] const std::vector<File>& files() const { return files_; }
  // The first that is valid. Where that is a list of ours whose owner has written the single-plugin file again: that
  // one.
  [[nodiscard]] const File* in_use() const;
  // Where the entry stands that is for `file`.
  [[nodiscard]] static std::string list_name(const File& file);
  [[nodiscard]] bool has_entry(const File& file, const ListEntry& entry) const;

  // False where the owner was faster: look again.
  Result<bool> add_entry(const File& file, const ListEntry& entry) const;
  Result<bool> remove_entry(const File& file) const;

  [[nodiscard]] std::string path_of(const std::string& name) const { return folder_.path_of(name); }

 private:
  explicit ListFolder(NodeFolder folder) : folder_(std::move(folder)) {}
  Result<void> read_all();
  [[nodiscard]] const File* find(const std::string& name) const;
  Result<bool> put_away(const File& file, const ListEntry& entry) const;
  Result<bool> put_back(const File& file) const;

  NodeFolder folder_;
  std::vector<File> files_;
  bool being_written_ = false;
};

}  // namespace underpass::cni
