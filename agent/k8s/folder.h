// SPDX-License-Identifier: Apache-2.0
// The objects of a folder's *.yaml files, brought up to date on request. Knows files and decoders, but neither inotify
// nor timers: when to look is dir_source's business. A file that did not change is not read again.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "agent/k8s/contents.h"
#include "agent/k8s/decode.h"
#include "agent/k8s/read_file.h"

namespace underpass::k8s {

inline constexpr std::size_t kMaxFileBytes = std::size_t{16} << 20;

class Folder {
 public:
  Folder(std::filesystem::path path, DecodeOptions options) : path_(std::move(path)), options_(options) {}

  // Reads what changed. `touched`: names that are read even if they look unchanged. True if contents() are new.
  bool rescan(int dir_fd, const std::set<std::string>& touched);
  // The same where nothing but `touched` can have changed, and what links of the folder lead to. Costs as much as there
  // is of that.
  bool refresh(int dir_fd, const std::set<std::string>& touched);
  // The folder cannot be read. What it had stays.
  bool lose(const std::string& cause);
  // Changes may have been missed: the next rescan reads every file.
  void forget_stamps();

  [[nodiscard]] bool lost() const { return contents_.lost.has_value(); }
  // Some file was not read because it was being written.
  [[nodiscard]] bool waits_for_writer() const;
  [[nodiscard]] const Contents& contents() const { return contents_; }

 private:
  struct Entry {
    std::optional<FileStamp> stamp;  // of what `file` was made from
    bool being_written = false;
    bool held_something = false;  // when it was last read in full
    std::shared_ptr<const File> file;
  };

  enum class Outcome { kUnchanged, kChanged, kGone };
  Outcome read(int dir_fd, const std::string& name, bool touched, Entry& entry) const;
  bool take(int dir_fd, const std::string& name, bool touched);
  bool finish(bool changed);
  static Outcome set_unreadable(Entry& entry, const std::string& path, std::string cause);

  std::filesystem::path path_;
  DecodeOptions options_;
  std::map<std::string, Entry> entries_;
  std::set<std::string> links_;
  Contents contents_;
};

// What the text of one file holds; `path` is how messages call it.
File decode_file(const std::string& path, std::string_view text, const DecodeOptions& options);

}  // namespace underpass::k8s
