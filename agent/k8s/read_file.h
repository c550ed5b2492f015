// SPDX-License-Identifier: Apache-2.0
// Reading a file that anybody may be writing, replacing or abusing at this moment: never waits (FIFOs, devices), never
// reads without bound, and never returns a text that a writer is still in the middle of.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>

namespace underpass::k8s {

// By what a changed file is told from an unchanged one.
struct FileStamp {
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;

  bool operator==(const FileStamp&) const = default;
};

FileStamp make_stamp(const struct stat& status);

struct FileText {
  std::string text;
  FileStamp stamp;
};

struct ReadError {
  enum class Kind {
    kGone,     // there is no such name any more
    kWriting,  // somebody has it open for writing: ask again
    kFailed,
  };
  Kind kind = Kind::kFailed;
  std::string cause;
};

// `name` in the open folder `dir_fd`; symbolic links are followed.
std::expected<FileText, ReadError> read_file(int dir_fd, const std::string& name, std::size_t max_bytes);

}  // namespace underpass::k8s
