// SPDX-License-Identifier: Apache-2.0
// A folder of the host in which others write too: files are replaced in one step that is on the disk when it returns,
// with the owner, mode and labels of what they replace, and never over somebody's newer version. What we are in the
// middle of has a hidden name without an extension that libcni would load.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace underpass::cni {

class NodeFolder {
 public:
  // Ours alone among the processes that use this class, while it lives. An error where it is not there.
  static Result<NodeFolder> open(const std::string& path);

  struct Text {
    std::string text;
    bool being_written = false;  // then there is no text yet
  };
  // Absent where there is no such file.
  [[nodiscard]] Result<std::optional<Text>> read(const std::string& name) const;
  [[nodiscard]] Result<std::vector<std::string>> names() const;  // sorted, of files and links
  [[nodiscard]] bool has(const std::string& name) const;

  // False, and nothing is changed, where the file is no longer `before`: its owner was faster.
  Result<bool> replace(const std::string& name, std::string_view before, std::string_view text) const;
  // A file under a new name, or in the place of another, with the looks of `model`.
  Result<void> put(const std::string& name, std::string_view text, const std::string& model) const;
  Result<void> put(const std::string& name, std::string_view text, unsigned mode) const;
  Result<void> rename(const std::string& from, const std::string& to) const;
  Result<void> remove(const std::string& name) const;  // what is not there is no error

  [[nodiscard]] std::string path_of(const std::string& name) const { return path_ + "/" + name; }

 private:
  static Result<NodeFolder> open_unlocked(const std::string& path);
  NodeFolder(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Result<void> write_new(std::string_view text, int model, unsigned mode) const;
  Result<void> sync() const;

  UniqueFd fd_;
  std::string path_;
};

// How our unfinished files are called.
inline constexpr std::string_view kUnfinished = ".underpass-cni.unfinished";

}  // namespace underpass::cni
