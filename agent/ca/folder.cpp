// SPDX-License-Identifier: Apache-2.0
#include "agent/ca/folder.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

namespace underpass::ca {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLock = "lock";
constexpr const char* kUnfinished = ".replacing.new";  // being written: nothing of it counts
constexpr const char* kFinished = ".replacing";        // whole: its files take their places
constexpr std::size_t kLongestFile = std::size_t{1} << 20;
constexpr int kLockTries = 40;
constexpr int kLockPauseMs = 5;

bool is_key(std::string_view name) { return name == kCaKey || name == kRootKey || name == kNextRootKey; }

Result<void> check_owner(const std::string& path, const struct stat& facts) {
  if (facts.st_uid == 0 || facts.st_uid == ::geteuid()) return {};
  return fail(path + ": is user " + std::to_string(facts.st_uid) + "'s: must be root's");
}

Result<void> check_mode(const std::string& path, const struct stat& facts, bool secret) {
  std::array<char, 16> mode{};
  std::snprintf(mode.data(), mode.size(), "0%03o", facts.st_mode & 07777U);
  if (secret && (facts.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return fail(path + ": mode " + mode.data() + ": a key must be its owner's alone (0600)");
  // A mounted Secret is a folder as /tmp is: its files are their owners' all the same.
  const bool sticky = S_ISDIR(facts.st_mode) && (facts.st_mode & S_ISVTX) != 0;
  if (!sticky && (facts.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return fail(path + ": mode " + mode.data() + ": others may write it");
  return check_owner(path, facts);
}

Result<std::string> read_whole(int fd, const std::string& path) {
  std::string text;
  std::array<char, 16384> chunk{};
  for (;;) {
    const ssize_t got = ::read(fd, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(path);
    if (got == 0) return text;
    text.append(chunk.data(), static_cast<std::size_t>(got));
    if (text.size() > kLongestFile) return fail(path + ": longer than " + std::to_string(kLongestFile) + " bytes");
  }
}

Result<void> write_file(const std::string& path, std::string_view text) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR));
  if (!fd) return fail_errno(path);
  while (!text.empty()) {
    const ssize_t written = ::write(fd.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(path);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fsync(fd.get()) != 0) return fail_errno(path);
  return {};
}

Result<void> sync_folder(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return fail_errno(path);
  return {};
}

// Names that start with a dot are the file system's or a mount's own.
bool has_strangers(const std::string& path) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    const auto name = entry.path().filename().string();
    if (!name.starts_with('.') && name != kLock) return true;
  }
  return false;
}

}  // namespace

Result<Files> Folder::read() const {
  Files out;
  struct stat facts{};
  if (::stat(path_.c_str(), &facts) != 0) return errno == ENOENT ? Result<Files>(out) : fail_errno(path_);
  if (!S_ISDIR(facts.st_mode)) return fail(path_ + ": is not a folder");
  if (auto good = check_mode(path_, facts, false); !good) return std::unexpected(good.error());
  for (const char* name : kFileNames) {
    const auto path = path_of(name);
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd && errno == ENOENT) continue;
    if (!fd || ::fstat(fd.get(), &facts) != 0) return fail_errno(path);
    if (!S_ISREG(facts.st_mode)) return fail(path + ": is not a file");
    if (auto good = check_mode(path, facts, is_key(name)); !good) return std::unexpected(good.error());
    auto text = read_whole(fd.get(), path);
    if (!text) return std::unexpected(text.error());
    out.emplace(name, std::move(*text));
  }
  if (out.empty() && has_strangers(path_))
    return fail(path_ + ": is not empty, and has none of root-cert.pem, ca-cert.pem, cert-chain.pem and ca-key.pem");
  return out;
}

std::string Folder::fingerprint() const {
  std::string out;
  for (const auto& path : {path_, path_of(kFinished)}) {
    struct stat facts{};
    out += ::stat(path.c_str(), &facts) == 0 ? std::to_string(facts.st_ino) + ":" + std::to_string(facts.st_mode) : "-";
    out += "\n";
  }
  for (const char* name : kFileNames) {
    struct stat facts{};
    if (::stat(path_of(name).c_str(), &facts) == 0)
      for (const auto number :
           {static_cast<std::int64_t>(facts.st_ino), static_cast<std::int64_t>(facts.st_size),
            static_cast<std::int64_t>(facts.st_mode), static_cast<std::int64_t>(facts.st_uid),
            static_cast<std::int64_t>(facts.st_mtim.tv_sec), static_cast<std::int64_t>(facts.st_mtim.tv_nsec),
            static_cast<std::int64_t>(facts.st_ctim.tv_sec), static_cast<std::int64_t>(facts.st_ctim.tv_nsec)})
        out += std::to_string(number) + ":";
    out += "\n";
  }
  return out;
}

bool Folder::has_lock() const { return ::access(path_of(kLock).c_str(), F_OK) == 0; }

Result<UniqueFd> Folder::lock() const {
  std::error_code error;
  if (const auto parent = fs::path(path_).parent_path(); !parent.empty()) fs::create_directories(parent, error);
  if (error) return fail(path_ + ": " + error.message());
  if (::mkdir(path_.c_str(), S_IRWXU) != 0 && errno != EEXIST) return fail_errno(path_);
  const auto path = path_of(kLock);
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR));
  if (!fd) return fail_errno(path);
  for (int left = kLockTries; left > 0; --left) {
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
    if (errno != EWOULDBLOCK && errno != EINTR) return fail_errno(path);
    ::poll(nullptr, 0, kLockPauseMs);  // milliseconds, while another agent writes
  }
  return fail(path + ": another process holds it");
}

Result<void> Folder::finish() const {
  const auto from = path_of(kFinished);
  std::error_code error;
  fs::remove_all(path_of(kUnfinished), error);
  if (error) return fail(path_of(kUnfinished) + ": " + error.message());
  if (!fs::exists(from, error)) return error ? fail(from + ": " + error.message()) : Result<void>();
  for (const char* name : kFileNames) {
    const auto next = from + "/" + name;
    struct stat facts{};
    if (::stat(next.c_str(), &facts) != 0) continue;  // not changed, or in its place already
    const auto place = path_of(name);
    if (facts.st_size == 0) {
      if (::unlink(place.c_str()) != 0 && errno != ENOENT) return fail_errno(place);
      if (::unlink(next.c_str()) != 0) return fail_errno(next);
    } else if (::rename(next.c_str(), place.c_str()) != 0) {
      return fail_errno(place);
    }
  }
  if (auto done = sync_folder(path_); !done) return done;
  if (::rmdir(from.c_str()) != 0) return fail_errno(from);
  return sync_folder(path_);
}

Result<void> Folder::replace(const Files& files) const {
  if (auto done = finish(); !done) return done;
  const auto next = path_of(kUnfinished);
  if (::mkdir(next.c_str(), S_IRWXU) != 0) return fail_errno(next);
  for (const auto& [name, text] : files)
    if (auto done = write_file(next + "/" + name, text); !done) return done;
  if (auto done = sync_folder(next); !done) return done;
  if (::rename(next.c_str(), path_of(kFinished).c_str()) != 0) return fail_errno(path_of(kFinished));
  if (auto done = sync_folder(path_); !done) return done;
  return finish();
}

}  // namespace underpass::ca
