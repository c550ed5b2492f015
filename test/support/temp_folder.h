// SPDX-License-Identifier: Apache-2.0
// A folder for one test, and the ways in which people and tools change the files in one.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>

#include "underpass/unique_fd.h"

namespace underpass::test {

inline void require(bool ok, std::string_view what) {
  if (!ok) throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

inline void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const auto count = ::write(fd, text.data(), text.size());
    require(count > 0, "write");
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

class TempFolder {
 public:
  // `name`: whose it is. One that a killed test leaves is swept as a sandbox is (traces.h).
  explicit TempFolder(const std::string& name = "unit")
      : path_((std::filesystem::temp_directory_path() /
               ("up-test-" + std::to_string(::getpid()) + "-" + name + "-XXXXXX"))
                  .string()) {
    require(::mkdtemp(path_.data()) != nullptr, path_);
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  [[nodiscard]] std::filesystem::path path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path() / name; }

  // As a shell's ">": truncated, written, closed.
  void write(std::string_view name, std::string_view text) const { write_all(open_to_write(name).get(), text); }

  // Truncated and left open, as by a writer that is not done.
  [[nodiscard]] UniqueFd open_to_write(std::string_view name) const {
    UniqueFd fd(::open((*this / name).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    require(static_cast<bool>(fd), name);
    return fd;
  }

  // As editors do: a hidden file beside it, renamed over it.
  void replace(std::string_view name, std::string_view text) const {
    const std::filesystem::path whole(name);
    const auto hidden = whole.parent_path() / ("." + whole.filename().string() + ".tmp");
    write(hidden.string(), text);
    std::filesystem::rename(path() / hidden, path() / whole);
  }

  void remove(std::string_view name) const { require(std::filesystem::remove_all(*this / name) > 0, name); }

 private:
  std::string path_;
};

}  // namespace underpass::test
